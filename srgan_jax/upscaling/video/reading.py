"""Videos in: upright frames, and the packets of all other streams.

One file is opened once and all its streams get times on one clock, whose zero
is when the first of them starts. Frames are RGB or RGBA [H, W, C], uint8, or
uint16 where the file has more than 8 bits.
"""

from collections.abc import Collection, Iterator
import contextlib
import fractions
import pathlib
from typing import Any, NamedTuple

import av
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
import numpy as np

from srgan_jax import cli
from srgan_jax.upscaling.video import cropping, formats
from srgan_jax.upscaling.video.containers import is_cover

# Rounding and chroma as good as swscale has them.
QUALITY = (
  Interpolation.BICUBIC
  | Interpolation.ACCURATE_RND
  | Interpolation.FULL_CHR_H_INT
  | Interpolation.FULL_CHR_H_INP
)

# A jump of all times by more is a cut in the recording, not a pause; as ffmpeg
# takes it. Seconds.
_LONGEST_PAUSE = 10
_JUMPS = 0x200  # the flag of formats that do (AVFMT_TS_DISCONT)

# A file that ends earlier than it says is damaged. Seconds.
_LEAST_MISSING = 1


class Frame(NamedTuple):
  """A frame.

  Attributes:
    pixels: as above, turned upright.
    time: when it is shown, seconds.
    duration: how long, as the file says, seconds.
    colors: what the numbers mean.
    format: FFmpeg's name of the pixel format it was stored in.
    is_turned: whether rows were columns.
    side_data: the kinds of what came with it.
  """

  pixels: np.ndarray
  time: fractions.Fraction
  duration: fractions.Fraction
  colors: formats.Colors
  format: str
  is_turned: bool
  side_data: frozenset[SideDataType]


class Step(NamedTuple):
  """A frame, None at the end, and the other streams' packets before it."""

  frame: Frame | None
  packets: list[av.Packet]


class Reader:
  """A video file, open for reading.

  Attributes:
    container: PyAV's.
    video: the stream whose frames are read: the first that is no cover.
    zero: when the result's clock starts, in the file's time, seconds.
    rate: mean frames a second.
    base: seconds a tick, of the frames' times in the file.
    damage: the first thing that could not be read, or ''.
  """

  def __init__(self, source: pathlib.Path):
    """Opens a file.

    Raises:
      ValueError: one line, where it is missing or no video.
    """
    self._source = source
    try:
      self.container = av.open(
        f'file:{source}', metadata_errors='surrogateescape'
      )
    except (av.FFmpegError, OSError) as error:
      raise ValueError(f'{source}: {cli.reason(error)}') from None
    videos = [s for s in self.container.streams.video if not is_cover(s)]
    if not videos:
      self.container.close()
      raise ValueError(f'{source}: has no video')
    self.video = videos[0]
    if self.video.codec_context is None:
      self.container.close()
      raise ValueError(f'{source}: its video codec is not known')
    self.video.thread_type = 'AUTO'
    starts = [
      stream.start_time * stream.time_base
      for stream in (self.video, *self.container.streams.audio)
      if stream.start_time is not None and stream.time_base
    ]
    self._margins = cropping.margins(self.container, self.video)
    self.zero = min(starts, default=fractions.Fraction(0))
    self.rate = (
      self.video.average_rate
      or self.video.guessed_rate
      or fractions.Fraction(25)
    )
    self.base = self.video.time_base or fractions.Fraction(1, 90_000)
    self.damage = ''
    self._clock = _Clock(
      -self.zero, jumps=bool(self.container.format.flags & _JUMPS)
    )
    self._reformatter = VideoReformatter()
    self._deinterlacer: _Deinterlacer | None = None

  def __enter__(self) -> 'Reader':
    return self

  def __exit__(self, *_: object) -> None:
    self.container.close()

  @property
  def frames(self) -> int | None:
    """How many there are, about; None where that is not known."""
    seconds = (self.container.duration or 0) / av.time_base
    return self.video.frames or int(seconds * self.rate) or None

  def covers(self, indices: Collection[int]) -> dict[int, bytes]:
    """The files of some covers, by the index of their streams."""
    found: dict[int, bytes] = {}
    if not indices:
      return found
    with av.open(f'file:{self._source}') as container:
      streams = [container.streams[index] for index in indices]
      for packet in container.demux(*streams):
        if packet.size:
          found.setdefault(packet.stream_index, bytes(packet))
        if len(found) == len(streams):
          break
    return found

  def steps(self, kept: Collection[int]) -> Iterator[Step]:
    """Frames in the order they are shown, to the end of the file.

    Args:
      kept: indices of the other streams whose packets are wanted.

    Raises:
      ValueError: where there are none, or they cannot be made RGB.
    """
    decoder = self._decoder()
    packets: list[av.Packet] = []
    last = None
    for packet in self._packets(kept):
      if packet is not None and packet.stream_index != self.video.index:
        packets.append(packet)
        continue
      for decoded in self._decode(decoder, packet):
        last = self._frame(decoded, last)
        yield Step(last, packets)
        packets = []
    if last is None:
      why = self.damage or 'no frame can be decoded'
      raise ValueError(f'{self._source}: {why}')
    yield Step(None, packets)

  def _decoder(self) -> Any:
    """FFmpeg's own decoder of VP8 and VP9 leaves transparency aside."""
    if self.video.metadata.get('alpha_mode') == '1':
      name = {'vp8': 'libvpx', 'vp9': 'libvpx-vp9'}.get(
        self.video.codec_context.name
      )
      if name:
        return av.CodecContext.create(name, 'r')
    return self.video.codec_context

  def _packets(self, kept: Collection[int]) -> Iterator[av.Packet | None]:
    """On the result's clock; None for the video's end."""
    streams = [
      stream
      for stream in self.container.streams
      if stream.index in kept or stream is self.video
    ]
    try:
      for packet in self.container.demux(*streams):
        if packet.size or packet.pts is not None:
          self._clock.correct(packet)
          yield packet
    except av.FFmpegError as error:
      self._note(cli.reason(error))
    missing = _end(self.container, streams) - self.zero - self._clock.end
    if missing > _LEAST_MISSING and not self._clock.has_jumped:
      self._note(f'the last {float(missing):.1f} s are missing')
    yield None

  def _decode(
    self, decoder: Any, packet: av.Packet | None
  ) -> Iterator[av.VideoFrame]:
    decoded: list[av.VideoFrame | None] = []
    try:
      decoded += decoder.decode(packet)
    except EOFError:
      pass
    except av.FFmpegError as error:
      self._note(cli.reason(error))
    if packet is None:
      decoded.append(None)
    for frame in decoded:
      if frame is not None and frame.is_corrupt:
        self._note('a frame is incomplete')
      if frame is not None and frame.interlaced_frame:
        self._deinterlacer = self._deinterlacer or _Deinterlacer()
      if self._deinterlacer:
        yield from self._deinterlacer.frames(frame)
      elif frame is not None:
        yield frame

  def _note(self, damage: str) -> None:
    self.damage = self.damage or damage

  def _frame(self, decoded: av.VideoFrame, last: Frame | None) -> Frame:
    base = decoded.time_base or self.base
    ticks = decoded.pts if decoded.pts is not None else decoded.dts
    if ticks is None:
      time = last.time + last.duration if last else fractions.Fraction(0)
    else:
      time = ticks * fractions.Fraction(base)
    if last:
      time = max(time, last.time + self.base)
    duration = decoded.duration * fractions.Fraction(base) or 1 / self.rate
    name = decoded.format.name
    kind = formats.describe(name)
    colors = formats.colors_of(decoded, kind, self._source)
    rgb = self._reformatter.reformat(
      decoded,
      format=formats.ARRAYS[kind.bits > 8, kind.has_alpha],
      src_colorspace=formats.MATRICES.get(colors.matrix),
      src_color_range=colors.range,
      dst_color_range=ColorRange.JPEG,
      interpolation=QUALITY,
    )
    side_data = formats.side_data(decoded)
    matrix = side_data.get(SideDataType.DISPLAYMATRIX)
    pixels, is_turned = _upright(self._margins.cut(rgb.to_ndarray()), matrix)
    kinds = frozenset(side_data)
    return Frame(pixels, time, duration, colors, name, is_turned, kinds)


class _Clock:
  """Gives packets the result's times.

  Broadcasts and joined recordings jump in time; all their streams do, so that
  one offset brings them back.

  Attributes:
    has_jumped: whether that was so.
    end: of all packets so far, seconds.
  """

  def __init__(self, offset: fractions.Fraction, jumps: bool):
    self._offset = offset
    self._jumps = jumps
    self._ends: dict[int, fractions.Fraction] = {}
    self._last: fractions.Fraction | None = None
    self.has_jumped = False
    self.end = fractions.Fraction(0)

  def correct(self, packet: av.Packet) -> None:
    base = packet.time_base
    follows = self._jumps and packet.stream.type in ('video', 'audio')
    if follows and packet.dts is not None:
      now = packet.dts * base + self._offset
      expected = self._ends.get(packet.stream_index, self._last)
      if expected is not None and abs(now - expected) > _LONGEST_PAUSE:
        self._offset += expected - now
        now = expected
        self.has_jumped = True
      self._last = now
      self._ends[packet.stream_index] = now + (packet.duration or 0) * base
    shift = round(self._offset / base)
    if packet.pts is not None:
      packet.pts += shift
      self.end = max(self.end, (packet.pts + (packet.duration or 0)) * base)
    if packet.dts is not None:
      packet.dts += shift


class _Deinterlacer:
  """FFmpeg's filter bwdif, which leaves progressive frames as they are."""

  def __init__(self) -> None:
    self._shape: tuple[Any, ...] = ()
    self._graph: av.filter.Graph | None = None

  def frames(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
    """Those that are ready with one more, or at the end (None)."""
    shape = (frame.width, frame.height, frame.format.name) if frame else ()
    if self._graph and shape != self._shape:
      yield from self._push(None)
      self._graph = None
    if frame is None:
      return
    if self._graph is None:
      self._shape = shape
      self._graph = av.filter.Graph()
      self._graph.link_nodes(
        self._graph.add_buffer(
          width=frame.width,
          height=frame.height,
          format=frame.format,
          time_base=frame.time_base,
        ),
        self._graph.add('bwdif', 'mode=send_frame:deint=interlaced'),
        self._graph.add('buffersink'),
      ).configure()
    yield from self._push(frame)

  def _push(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
    assert self._graph
    self._graph.vpush(frame)
    with contextlib.suppress(BlockingIOError, EOFError):
      while True:
        yield self._graph.vpull()


def _end(container: Any, streams: list[Any]) -> fractions.Fraction:
  """When some streams end as the file says, seconds; 0 where it does not."""
  if all(stream.duration for stream in streams):
    return max(
      ((stream.start_time or 0) + stream.duration) * stream.time_base
      for stream in streams
    )
  end = (container.start_time or 0) + (container.duration or 0)
  return fractions.Fraction(end, av.time_base)


def _upright(
  pixels: np.ndarray, matrix: bytes | None
) -> tuple[np.ndarray, bool]:
  """Turned and mirrored as a display matrix says; whether rows were columns.

  The matrix is nine int32 a, b, u, c, d, v, x, y, w: a point (x, y) is shown at
  (a x + c y, b x + d y).
  """
  if matrix is None:
    return pixels, False
  a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
  is_turned = abs(b) > abs(a)
  if is_turned:
    pixels, a, d = pixels.swapaxes(0, 1), c, b
  if a < 0:
    pixels = pixels[:, ::-1]
  if d < 0:
    pixels = pixels[::-1]
  return np.ascontiguousarray(pixels), is_turned
