"""Videos out: frames and the other streams' packets, muxed by PyAV."""

from collections.abc import Mapping
import errno
import fractions
import pathlib
from typing import Any

import av
from av.codec.context import Flags
from av.video.reformatter import ColorRange
import numpy as np

from srgan_jax import SCALE
from srgan_jax.upscaling.video import conversion, formats, streams
from srgan_jax.upscaling.video.containers import Container, Route, is_cover
from srgan_jax.upscaling.video.reading import Frame, Reader

# FFmpeg's own errors, and the one of bad data, have other numbers.
_OF_SYSTEM = errno.errorcode.keys() - {errno.EINVAL}

_CRF = 16


class Writer:
  """A video file that is being written.

  Attributes:
    tags: the file's.
    has_flattened: whether transparency was laid over black.
    has_squared: whether pixels became square.
    damage: what of the other streams could not be read, or ''.
  """

  def __init__(
    self,
    path: pathlib.Path,
    container: Container,
    reader: Reader,
    routes: Mapping[int, Route],
    picture: formats.Choice,
    first: Frame,
    crf: int | None,
  ):
    """Lays out the file's streams and writes its header.

    `crf` is the encoder's constant quality; None for the usual.
    The source's other streams are taken over as `routes` say, by index, and its
    tags.
    """
    self._picture, self._colors, self._crf = picture, first.colors, crf
    self._set_size(container, reader, first)
    self._kind = formats.describe(picture.pixel_format)
    self._siting = conversion.siting(picture.encoder)
    self._converter = self._make_converter()
    self._base = reader.base
    self._count = 0
    self.damage = ''
    self.has_flattened = False
    self.tags = streams.kept_tags(reader.container.metadata, container)
    covers = [
      stream.index
      for stream in reader.container.streams
      if is_cover(stream) and routes[stream.index].way in ('cover', 'attach')
    ]
    options = {}
    if container.is_mp4:
      options['movflags'] = '+faststart'
      if not covers and streams.need_other_form(self.tags, container):
        options['movflags'] += '+use_metadata_tags'
      options['video_track_timescale'] = str(self._base.denominator)
    self._output = av.open(
      f'file:{path}',
      'w',
      format=container.muxer,
      metadata_errors='surrogateescape',
      container_options=options,
    )
    self._output.metadata.update(self.tags)
    self._others: dict[int, Any] = {}
    files = reader.covers(covers)
    for stream in reader.container.streams:
      if stream is reader.video:
        self._video = self._add_video(container, reader, first)
      else:
        self._add(stream, routes[stream.index].way, container, files)
    self._output.set_chapters(_chapters(reader))
    self._start()
    for index in covers:
      if index in self._others:
        self._write_cover(self._others.pop(index).stream, files[index])

  def _start(self) -> None:
    """Opens the encoders and writes the header.

    Raises:
      ValueError: what cannot be, as FFmpeg says it.
    """
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
      with av.logging.Capture() as said:
        self._output.start_encoding()
    except av.FFmpegError as error:
      if error.errno in _OF_SYSTEM:  # as that the disk is full
        raise
      said.append((0, self._picture.encoder, str(error.strerror)))
      _, who, what = said[0]
      raise ValueError(f'{who}: {what.strip()}') from None
    finally:
      av.logging.set_level(level)
    for _, who, what in said:
      if 'unreadable' in what:  # the muxer writes it all the same
        raise ValueError(f'{who}: {what.strip()}')

  def _set_size(
    self, container: Container, reader: Reader, first: Frame
  ) -> None:
    """Width, height and the pixels' aspect, 1 where the file cannot say it."""
    height, width = first.pixels.shape[:2]
    # As (H, W) and (W, H); None where it is not known.
    aspect = reader.video.sample_aspect_ratio or fractions.Fraction(1)
    aspect = 1 / aspect if first.is_turned else aspect
    encoder = av.Codec(self._picture.encoder, 'w').canonical_name
    is_kept = container.is_mp4 or encoder in ('h264', 'hevc')
    self.has_squared = aspect != 1 and not is_kept
    if self.has_squared:
      width = round(width * max(1, aspect))
      height = round(height * max(1, 1 / aspect))
    self._size = SCALE * width, SCALE * height
    self._aspect = fractions.Fraction(1) if self.has_squared else aspect

  def _make_converter(self) -> conversion.Converter:
    return conversion.Converter(
      self._size,
      self._picture.pixel_format,
      self._colors.matrix,
      self._range,
      self._siting,
    )

  def __enter__(self) -> 'Writer':
    return self

  def __exit__(self, *_: object) -> None:
    self._output.close()

  def _add_video(
    self, container: Container, reader: Reader, first: Frame
  ) -> Any:
    picture, source = self._picture, reader.video
    stream: Any = self._output.add_stream(picture.encoder, rate=reader.rate)
    context = stream.codec_context
    context.width, context.height = self._size
    context.pix_fmt = picture.pixel_format
    context.time_base = stream.time_base = self._base
    context.flags |= Flags.frame_duration
    context.sample_aspect_ratio = self._aspect
    found = self._colors
    context.colorspace = formats.RGB if self._kind.is_rgb else found.matrix
    context.color_primaries = found.primaries
    context.color_trc = found.transfer
    context.color_range = self._range
    if context.codec.canonical_name == 'hevc' and container.is_mp4:
      context.codec_tag = 'hvc1'  # the only one that Apple's players take
    context.options = self._encoder_options(context)
    stream.metadata.update(streams.tags_of_stream(source.metadata, container))
    stream.disposition = source.disposition
    return stream

  @property
  def _range(self) -> ColorRange:
    return ColorRange.JPEG if self._kind.is_rgb else ColorRange.MPEG

  def _encoder_options(self, context: Any) -> dict[str, str]:
    options = {'chroma_sample_location': self._siting}
    known = {option.name for option in context.supported_options.private}
    if 'crf' in known:
      options['crf'] = str(_CRF if self._crf is None else self._crf)
    elif self._crf is not None:
      raise ValueError(f'{self._picture.encoder} has no constant quality (crf)')
    if self._picture.encoder == 'libvpx-vp9':
      options |= {'b': '0', 'row-mt': '1'}
    if self._picture.encoder == 'libx265':
      parts = ['log-level=error', self._colors.mastering]
      options['x265-params'] = ':'.join(filter(None, parts))
    return options

  def _add(
    self,
    stream: Any,
    way: str,
    container: Container,
    files: Mapping[int, bytes],
  ) -> None:
    ways = {
      'copy': streams.Copied,
      'cover': streams.Copied,
      'sound': streams.Sound,
      'text': streams.Text,
    }
    if way == 'attach':
      data = files[stream.index] if is_cover(stream) else stream.data
      streams.attach(self._output, stream, data, container)
    elif way:
      made = ways[way](self._output, stream, container)
      self._others[stream.index] = made

  def _write_cover(self, stream: Any, data: bytes) -> None:
    packet = av.Packet(data)
    packet.stream = stream
    packet.pts = packet.dts = 0
    packet.time_base = stream.time_base
    packet.is_keyframe = True
    self._output.mux(packet)

  def write_packet(self, packet: av.Packet) -> None:
    """Writes a packet of another stream of the source."""
    try:
      for made in self._others[packet.stream_index].packets(packet):
        self._output.mux(made)
    except av.FFmpegError as error:
      if error.errno in _OF_SYSTEM:  # as that the disk is full
        raise
      self.damage = f'stream {packet.stream_index} has unreadable parts'

  def write_frame(self, pixels: np.ndarray, source: Frame) -> None:
    """Writes a frame.

    Args:
      pixels: RGB or RGBA [H, W, C], uint8 or uint16.
      source: what it was made of; shown later than the one before.
    """
    if pixels.shape[2] == 4 and not self._kind.has_alpha:
      self.has_flattened |= pixels[..., 3].min() < np.iinfo(pixels.dtype).max
      pixels = _over_black(pixels)
    frame = av.VideoFrame.from_ndarray(
      np.ascontiguousarray(pixels),
      format=formats.ARRAYS[pixels.dtype == np.uint16, pixels.shape[2] == 4],
    )
    frame.pts, frame.time_base = round(source.time / self._base), self._base
    frame = self._converter.convert(frame)
    frame.color_primaries = self._colors.primaries
    frame.color_trc = self._colors.transfer
    self._count += 1
    # Muxers take the last frame's; the others end where the next begins.
    frame.duration = round(source.duration / self._base)
    self._output.mux(self._video.encode(frame))

  def finish(self) -> None:
    """Writes what the encoders still hold, and the file's end."""
    for packet in self._video.encode(None):
      if self._count < 3:
        # Too few to be reordered; x265 leaves the time of decoding to chance.
        packet.dts = packet.pts
      self._output.mux(packet)
    for other in self._others.values():
      self._output.mux(list(other.packets(None)))
    self._output.close()


def _over_black(pixels: np.ndarray) -> np.ndarray:
  """RGBA [H, W, 4] as RGB."""
  top = np.iinfo(pixels.dtype).max
  colour, alpha = pixels[..., :3], pixels[..., 3:] / np.float32(top)
  return np.rint(colour * alpha).astype(pixels.dtype)


def _chapters(reader: Reader) -> list[Any]:
  """The source's, on the result's clock."""
  chapters = reader.container.chapters()
  for chapter in chapters:
    base = chapter['time_base'] or fractions.Fraction(1, av.time_base)
    shift = round(reader.zero / base)
    chapter['start'] = max(0, chapter['start'] - shift)
    chapter['end'] -= shift
  return chapters
