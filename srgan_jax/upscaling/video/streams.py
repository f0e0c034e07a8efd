"""The streams that go with a video's picture: sound, subtitles, covers.

Each takes the packets of one stream of the source, already on the result's
clock, and gives packets of the result's stream.
"""

from collections.abc import Iterator
import math
from typing import Any

import av

from srgan_jax.upscaling.video import tags
from srgan_jax.upscaling.video.containers import Container

# Channel layouts that all encoders know, by the number of channels.
_LAYOUTS = ('mono', 'stereo', '3.0', 'quad', '5.0', '5.1', '6.1', '7.1')
_BITS_PER_CHANNEL = 96_000  # a second, of encoders that lose something


class Copied:
  """Packets as they are."""

  def __init__(self, output: Any, stream: Any, container: Container) -> None:
    self.stream = output.add_stream_from_template(stream, opaque=True)
    _describe(self.stream, stream, container)
    self._is_sound = stream.type == 'audio'
    self._needs_zero = not container.is_mp4
    self._last: int | None = None

  def packets(self, packet: av.Packet | None) -> Iterator[av.Packet]:
    """Those of one packet of the source, or of its end (None)."""
    if packet is None or packet.size == 0:
      return
    if self._needs_zero and self._is_sound and packet.pts is not None:
      # What decoders throw away. MP4 says so; elsewhere it would be heard, and
      # push the picture back.
      if packet.pts + (packet.duration or 0) <= 0:
        return
    if packet.dts is not None and self._last is not None:
      # Later by a tick of the result at least, where a recording goes back.
      tick = math.ceil(self.stream.time_base / packet.time_base)
      packet.dts = max(packet.dts, self._last + tick)
      if packet.pts is not None:
        packet.pts = max(packet.pts, packet.dts)
    self._last = packet.dts if packet.dts is not None else self._last
    packet.stream = self.stream
    yield packet


class Sound:
  """Sound, encoded anew."""

  def __init__(self, output: Any, stream: Any, container: Container) -> None:
    self._source = stream
    context = self._source.codec_context
    codec = av.Codec(container.sound, 'w')
    rates = codec.audio_rates
    rate = context.rate
    if rates and rate not in rates:
      rate = 48_000
    self.stream = output.add_stream(container.sound, rate=rate)
    channels = min(max(context.channels, 1), len(_LAYOUTS))
    self.stream.codec_context.layout = _LAYOUTS[channels - 1]
    if not codec.lossless:
      self.stream.codec_context.bit_rate = _BITS_PER_CHANNEL * channels
    elif context.format.bytes > 2:
      self.stream.codec_context.format = 's32'
    _describe(self.stream, stream, container)

  def packets(self, packet: av.Packet | None) -> Iterator[av.Packet]:
    """Those of one packet of the source, or of its end (None)."""
    for frame in self._source.codec_context.decode(packet):
      yield from self.stream.encode(frame)
    if packet is None:
      yield from self.stream.encode(None)


class Text:
  """Subtitles of text in another form."""

  def __init__(self, output: Any, stream: Any, container: Container) -> None:
    self._source = stream
    self.stream = output.add_stream(container.text)
    context = self.stream.codec_context
    context.time_base = stream.time_base
    self._source.codec_context.open(strict=False)  # which reads the styles
    context.subtitle_header = self._source.codec_context.subtitle_header
    self.stream.time_base = stream.time_base
    _describe(self.stream, stream, container)

  def packets(self, packet: av.Packet | None) -> Iterator[av.Packet]:
    """Those of one packet of the source, or of its end (None)."""
    if packet is None or packet.size == 0:
      return
    subtitle = self._source.codec_context.decode2(packet)
    if subtitle is None:
      return
    made = self.stream.codec_context.encode_subtitle(subtitle)
    made.pts, made.dts = packet.pts, packet.pts
    made.duration, made.time_base = packet.duration, packet.time_base
    made.stream = self.stream
    yield made


def attach(output: Any, stream: Any, data: bytes, container: Container) -> None:
  """Puts a cover or an attachment into the file's header."""
  name, kind = 'attachment', 'application/octet-stream'
  if stream.type == 'video':
    name, kind = 'cover.jpg', 'image/jpeg'
    if stream.codec_context and stream.codec_context.name == 'png':
      name, kind = 'cover.png', 'image/png'
  name = stream.metadata.get('filename', name)
  attachment = output.add_attachment(
    name.encode(errors='replace').decode(),
    stream.metadata.get('mimetype', kind),
    data,
  )
  attachment.metadata.update(
    tags.kept(stream.metadata, container) | attachment.metadata
  )


def _describe(made: Any, stream: Any, container: Container) -> None:
  made.metadata.update(tags.of_stream(stream.metadata, container))
  made.disposition = stream.disposition
