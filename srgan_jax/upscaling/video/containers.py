"""What each container of video holds, and what becomes of the rest."""

import contextlib
import dataclasses
import io
import pathlib
from typing import NamedTuple

import av
from av.stream import Disposition, Stream

from srgan_jax.upscaling.video import channels


class Encoder(NamedTuple):
  """An encoder and the pixel formats it is used for, by FFmpeg's names."""

  name: str
  pixel_formats: tuple[str, ...]


# H.264 up to 8 bits, as all players know it; above, HEVC, whose 10 bits far
# more of them decode.
_H264 = Encoder('libx264', ('yuv420p', 'yuv422p', 'yuv444p'))
_H264_RGB = Encoder('libx264rgb', ('rgb24',))
_HEVC = Encoder(
  'libx265',
  ('yuv420p10le', 'yuv422p10le', 'yuv444p10le', 'gbrp10le')
  + ('yuv420p12le', 'yuv422p12le', 'yuv444p12le', 'gbrp12le'),
)
_PRORES = Encoder('prores_ks', ('yuva444p10le',))
_VP9 = Encoder(
  'libvpx-vp9', ('yuv420p', 'yuv422p', 'yuv444p', 'gbrp', 'yuva420p')
)
_VP9_ALPHA = Encoder('libvpx-vp9', ('yuva420p',))


@dataclasses.dataclass(frozen=True)
class Container:
  """A kind of file.

  Attributes:
    suffix: of its names.
    muxer: FFmpeg's name of it.
    encoders: for the picture; the first that keeps most is taken.
    sound: the encoder for sound that is not copied.
    text: the encoder for subtitles of text that are not copied.
    avoided: beginnings of the names of codecs that its muxer takes, but that
      few players expect in it.
  """

  suffix: str
  muxer: str
  encoders: tuple[Encoder, ...]
  sound: str
  text: str
  avoided: tuple[str, ...] = ()

  @property
  def is_mp4(self) -> bool:
    """Whether it is MP4 or its relative QuickTime."""
    return self.muxer in ('mp4', 'mov')

  def holds(self, stream: Stream) -> bool:
    """Whether a stream can be copied into it, as its muxer says."""
    if stream.codec_context is None:
      return False
    codec = codec_name(stream)
    if codec.startswith(self.avoided):
      return False
    if isinstance(stream, av.AudioStream):
      layout = stream.codec_context.layout
      is_misread = channels.are_misread(layout, codec, self.muxer)
      if is_misread and channels.are_kept(layout, self.sound):
        return False
    trial = av.open(io.BytesIO(), 'w', format=self.muxer)
    try:
      trial.add_stream_from_template(stream, opaque=True)
      trial.start_encoding()
    except (av.FFmpegError, ValueError):
      return False
    finally:
      with contextlib.suppress(av.FFmpegError, ValueError):
        trial.close()
    return True


_AVOIDED = ('pcm_', 'vorbis', 'webvtt', 'ttml')
_MP4 = (_H264, _H264_RGB, _HEVC)
CONTAINERS = {
  container.suffix: container
  for container in (
    Container('.mp4', 'mp4', _MP4, 'aac', 'mov_text', _AVOIDED),
    Container('.m4v', 'mp4', _MP4, 'aac', 'mov_text', _AVOIDED),
    Container('.mov', 'mov', (*_MP4, _PRORES), 'aac', 'mov_text', ('webvtt',)),
    Container(
      '.mkv', 'matroska', (*_MP4, _VP9_ALPHA, _PRORES), 'flac', 'subrip'
    ),
    Container('.webm', 'webm', (_VP9,), 'libopus', 'webvtt'),
  )
}


def of(path: pathlib.Path) -> Container:
  """The container that a file's name asks for.

  Raises:
    ValueError: naming the file, where there is none such.
  """
  container = CONTAINERS.get(path.suffix.lower())
  if container is None:
    known = ', '.join(CONTAINERS)
    raise ValueError(f'{path} must end in {known}, not {path.suffix!r}')
  return container


def codec_name(stream: Stream) -> str:
  """FFmpeg's name of a stream's codec."""
  if stream.codec_context is None:
    return getattr(stream, 'name', None) or 'no decoder'
  return stream.codec_context.codec.canonical_name


class Route(NamedTuple):
  """What becomes of a stream that is not upscaled.

  Attributes:
    way: 'copy'; 'sound' or 'text', which are encoded anew; 'cover' or 'attach',
      which are a part of the file's header; or '': left out.
    note: what is lost, or ''.
  """

  way: str
  note: str = ''

  @property
  def has_packets(self) -> bool:
    """Whether the stream has to be read along with the picture."""
    return self.way in ('copy', 'sound', 'text')


def route(stream: Stream, container: Container) -> Route:
  """What becomes of a stream, a cover or an attachment."""
  if stream.type == 'attachment' or is_cover(stream):
    return _route_attachment(stream, container)
  what = f'stream {stream.index} ({stream.type}, {codec_name(stream)})'
  if stream.type == 'video':
    return Route('', f'{what} is left out: one video stream is upscaled')
  if stream.type == 'data':
    # Chapters, which are written anew, and timecodes, which are tags.
    is_known = stream.discard == av.stream.Discard.all
    is_known |= 'timecode' in stream.metadata
    return Route('', '' if is_known else f'{what} is left out')
  if container.holds(stream):
    return Route('copy')
  if isinstance(stream, av.AudioStream) and stream.codec_context is not None:
    return _route_sound(stream, container, what)
  if stream.type == 'subtitle' and stream.codec_context is not None:
    if stream.codec_context.codec.text_sub:
      return Route('text')
  return Route('', f'{what} is left out{_elsewhere(stream)}')


def _route_sound(
  stream: av.AudioStream, container: Container, what: str
) -> Route:
  given = channels.source_layout(stream.codec_context)
  made = channels.made_layout(given, container.sound)
  elsewhere = _elsewhere(stream)
  if not made:
    why = f'its channels ({given.name}) cannot be mixed'
    return Route('', f'{what} is left out: {why}{elsewhere}')
  encoder = av.Codec(container.sound, 'w').canonical_name
  mixed = ''
  if made != given.name:
    mixed = f', its channels ({given.name}) are mixed to {made}'
  return Route('sound', f'{what} becomes {encoder}{mixed}{elsewhere}')


def _route_attachment(stream: Stream, container: Container) -> Route:
  if container.muxer == 'matroska':
    return Route('attach')
  if is_cover(stream):
    if container.muxer == 'mp4' and container.holds(stream):
      return Route('cover')
    return Route('', 'the cover is left out: .mp4 and .mkv hold it')
  name = stream.metadata.get('filename', f'{stream.index}')
  return Route('', f'the attachment {name} is left out: .mkv holds it')


def _elsewhere(stream: Stream) -> str:
  names = [
    name for name in ('.mp4', '.mov', '.mkv') if CONTAINERS[name].holds(stream)
  ]
  return f' ({", ".join(names)} would keep it)' if names else ''


def is_cover(stream: Stream) -> bool:
  """Whether it is a picture that goes with the file."""
  return bool(stream.disposition & Disposition.attached_pic)
