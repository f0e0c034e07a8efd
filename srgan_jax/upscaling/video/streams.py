"""What goes with a video's picture: sound, subtitles, covers and tags.

Each class takes the packets of one stream of the source, already on the
result's clock, and gives packets of the result's stream.
"""

from collections.abc import Iterator, Mapping
import io
import math
from typing import Any, BinaryIO

import av

from srgan_jax.upscaling.video import channels
from srgan_jax.upscaling.video.containers import Container, is_cover

_BITS_PER_CHANNEL = 96_000  # a second, of encoders that lose something
# Beginnings of the names that are true of the old file alone.
_STALE = (
  'encoder', 'duration', 'vendor_id', 'alpha_mode', 'bps', 'rotate',
  'number_of_', '_statistics_', 'major_brand', 'minor_version',
  'compatible_brands',
)  # fmt: skip


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
    made = self.stream.codec_context
    made.layout = channels.made_layout(
      channels.source_layout(context), container.sound
    )
    if not codec.lossless:
      made.bit_rate = _BITS_PER_CHANNEL * made.channels
    elif context.format.bytes > 2:
      made.format = 's32'
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
    kept_tags(stream.metadata, container) | attachment.metadata
  )


def _describe(made: Any, stream: Any, container: Container) -> None:
  made.metadata.update(tags_of_stream(stream.metadata, container))
  made.disposition = stream.disposition


def kept_tags(given: Mapping[str, str], container: Container) -> dict[str, str]:
  """The tags of a file or a stream that are true of the result too."""
  stale = _STALE if container.is_mp4 else (*_STALE, 'handler_name')
  return {
    name: value
    for name, value in given.items()
    if not name.lower().startswith(stale)
  }


def tags_of_stream(
  given: Mapping[str, str], container: Container
) -> dict[str, str]:
  """A stream's tags, with its title where the container's readers look."""
  made = kept_tags(given, container)
  title = made.get('title') or made.pop('name', '')
  if title:
    # MP4's box for it is young; many programs show the handler.
    made |= {'title': title}
    if container.is_mp4:
      made['handler_name'] = title
  return made


def lost_tags(given: Mapping[str, str], file: str | BinaryIO) -> list[str]:
  """Names of tags that a file was given and does not have."""
  with av.open(file, metadata_errors='replace') as made:
    names = {name.lower() for name in made.metadata}
  return sorted(name for name in given if name.lower() not in names)


def lost_by_streams(
  given: Mapping[int, Mapping[str, str]], file: str
) -> list[str]:
  """Lines on tags that a file's streams were given and do not have.

  `given` is by the source's index of each stream, in the file's order.
  """
  with av.open(file, metadata_errors='replace') as made:
    whole = set(made.metadata.values())
    tracks: list[Mapping[str, str]] = [
      {name.lower(): value for name, value in stream.metadata.items()}
      for stream in made.streams
      if stream.type != 'attachment' and not is_cover(stream)
    ]
  notes = []
  for (index, tags), track in zip(given.items(), tracks, strict=False):
    language = tags.get('language', 'und')
    if track.get('language', 'und') != language:
      notes.append(f'the language of stream {index} ({language}) is left out')
    lost = [
      name
      for name, value in tags.items()
      if name.lower() not in (*track, 'language')
      and value not in whole | set(track.values())
    ]
    if lost:
      names = ', '.join(sorted(lost))
      notes.append(f'tags of stream {index} are left out: {names}')
  return notes


def need_other_form(given: Mapping[str, str], container: Container) -> bool:
  """Whether MP4 needs Apple's free form of tags (mdta) to hold all of these.

  The container is MP4 or QuickTime. Other programs read the usual form better,
  and only that one holds a cover.
  """
  file = io.BytesIO()
  with av.open(file, 'w', format=container.muxer) as trial:
    trial.metadata.update(given)
    stream = trial.add_stream('mjpeg', rate=25, width=16, height=16)
    stream.pix_fmt = 'yuvj420p'
    trial.start_encoding()
  file.seek(0)
  return bool(lost_tags(given, file))
