"""ffmpeg, with frames in and out through pipes.

Decoded frames come as PPM, whose header has their size; their times are read in
the log of the filter `showinfo`. Encoded ones go as Matroska, which carries the
times (see `matroska`). Frames are uint8 RGB [H, W, 3].
"""

from collections.abc import Iterator, Sequence
import contextlib
import dataclasses
import fractions
import functools
import json
import pathlib
import queue
import re
import subprocess
import threading
from typing import IO, Any, NoReturn, cast

import numpy as np

# By suffix: ffmpeg's name of the container, the encoder, what text subtitles
# become ('copy': most kinds as they are; '': there are none).
CONTAINERS = {
  '.mp4': ('mp4', 'libx264', 'mov_text'),
  '.m4v': ('mp4', 'libx264', 'mov_text'),
  '.mov': ('mov', 'libx264', 'mov_text'),
  '.mkv': ('matroska', 'libx264', 'copy'),
  '.webm': ('webm', 'libvpx-vp9', 'webvtt'),
}
_TEXT = ('subrip', 'ass', 'ssa', 'mov_text', 'webvtt', 'text')

# Colour matrices by ffprobe's name, as the filter `scale` calls them.
_MATRICES = {
  name: name for name in ('bt709', 'smpte170m', 'bt470bg', 'smpte240m', 'fcc')
} | {'bt2020nc': 'bt2020'}
_HDR = ('smpte2084', 'arib-std-b67')

# How long to wait for a frame's time when the frame itself is there, seconds.
_PATIENCE = 60


@dataclasses.dataclass(frozen=True)
class Video:
  """What ffprobe says of the first video stream and of what goes with it.

  Attributes:
    frame_rate: the mean one, frames a second.
    frames: how many, if it is known.
    time_base: seconds a tick, of the times in the file.
    size: (width, height) as stored, before rotation.
    aspect: of a pixel, width to height, before rotation.
    matrix: ffprobe's name of the colour matrix.
    tags: ffmpeg's options that mark the result with the same colours.
    is_interlaced: whether a frame is two fields.
    subtitles: (index, codec) of each subtitle stream.
  """

  frame_rate: fractions.Fraction
  frames: int | None
  time_base: fractions.Fraction
  size: tuple[int, int]
  aspect: fractions.Fraction
  matrix: str
  tags: tuple[str, ...]
  is_interlaced: bool
  subtitles: tuple[tuple[int, str], ...]


def probe(source: pathlib.Path) -> Video:
  """Asks ffprobe.

  Raises:
    ValueError: one line, where the file is missing or no video, or in HDR.
  """
  result = subprocess.run(
    [
      *('ffprobe', '-v', 'error', '-of', 'json', '-show_format'),
      *('-show_streams', '-i', _as_file(source)),
    ],
    capture_output=True,
    text=True,
    check=False,
  )
  if result.returncode:
    lines = result.stderr.strip().splitlines() or ['ffprobe cannot read it']
    why = lines[-1].removeprefix(f'{_as_file(source)}: ')
    raise ValueError(f'{source}: {why}')
  found = json.loads(result.stdout)
  streams = found.get('streams', [])
  videos = [
    stream
    for stream in streams
    if stream.get('codec_type') == 'video'
    and not stream.get('disposition', {}).get('attached_pic')
  ]
  if not videos:
    raise ValueError(f'{source}: has no video')
  stream = videos[0]
  if stream.get('color_transfer') in _HDR:
    raise ValueError(
      f'{source}: is HDR ({stream["color_transfer"]}), which 8 bits cannot '
      'hold: bring it to SDR first'
    )
  rate = _fraction(stream.get('avg_frame_rate')) or _fraction(
    stream.get('r_frame_rate')
  )
  seconds = float(
    stream.get('duration') or found.get('format', {}).get('duration') or 0
  )
  frames = int(stream.get('nb_frames') or seconds * (rate or 0))
  height = int(stream['height'])
  matrix = stream.get('color_space')
  if matrix not in _MATRICES:
    # As players take it that are not told.
    matrix = 'bt709' if height >= 720 else 'smpte170m'
  tags = ['-colorspace', matrix, '-color_range', 'tv']
  for option, key in (
    ('-color_primaries', 'color_primaries'),
    ('-color_trc', 'color_transfer'),
  ):
    if stream.get(key, 'unknown') != 'unknown':
      tags += [option, stream[key]]
  return Video(
    frame_rate=rate or fractions.Fraction(25),
    frames=frames or None,
    time_base=_fraction(stream.get('time_base')) or fractions.Fraction(1, 1000),
    size=(int(stream['width']), height),
    aspect=_fraction(stream.get('sample_aspect_ratio'))
    or fractions.Fraction(1),
    matrix=matrix,
    tags=tuple(tags),
    is_interlaced=stream.get('field_order') in ('tt', 'bb', 'tb', 'bt'),
    subtitles=tuple(
      (stream['index'], stream.get('codec_name', 'unknown'))
      for stream in streams
      if stream.get('codec_type') == 'subtitle'
    ),
  )


class Process:
  """ffmpeg with pipes; killed where the context is left early.

  Attributes:
    errors: what it called errors so far.
    log: all other lines of its log; None at its end.
  """

  def __init__(self, command: Sequence[str]):
    # Of its own session: Ctrl-C ends this program, which then ends ffmpeg.
    self._process = subprocess.Popen(
      command,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      start_new_session=True,
    )
    self.errors: list[str] = []
    self.log: queue.Queue[str | None] = queue.Queue()
    self._listener = threading.Thread(target=self._listen, daemon=True)
    self._listener.start()

  def __enter__(self) -> 'Process':
    return self

  def __exit__(self, *_: object) -> None:
    self._process.kill()
    self._process.wait()
    self._listener.join()
    for pipe in (self._process.stdin, self._process.stdout):
      # What could not be flushed has nobody to read it.
      with contextlib.suppress(OSError):
        cast(IO[bytes], pipe).close()

  def _listen(self) -> None:
    with cast(IO[bytes], self._process.stderr) as log:
      for raw in log:
        line = raw.decode(errors='replace').strip()
        match = re.search(r'\[(error|fatal|panic)\] (.*)', line)
        if match and len(self.errors) < 100:
          self.errors.append(match[2])
        elif ' pts:' in line or 'time_base:' in line:
          self.log.put(line)
    self.log.put(None)

  def error(self, default: str) -> str:
    """Its first error, when it has ended."""
    self._listener.join()
    return self.errors[0] if self.errors else default

  def read(self, size: int) -> bytes:
    """`size` bytes of its output, fewer at the end."""
    return cast(IO[bytes], self._process.stdout).read(size)

  def read_line(self) -> bytes:
    return cast(IO[bytes], self._process.stdout).readline()

  def write(self, data: bytes, target: pathlib.Path) -> None:
    """Gives it data.

    Raises:
      ValueError: where it has ended, with its reason.
    """
    try:
      cast(IO[bytes], self._process.stdin).write(data)
    except OSError:
      self._fail(target)

  def finish(self, target: pathlib.Path) -> None:
    """Waits for its end after the last data.

    Raises:
      ValueError: where it has failed.
    """
    try:
      cast(IO[bytes], self._process.stdin).close()
    except OSError:
      self._fail(target)
    if self._process.wait():
      self._fail(target)

  def _fail(self, target: pathlib.Path) -> NoReturn:
    raise ValueError(f'{target}: {self.error("ffmpeg failed")}') from None


def decode_command(source: pathlib.Path, video: Video) -> list[str]:
  """Ffmpeg with the frames, upright, on its standard output."""
  filters = [
    # The log has each frame's time, since the pipe has not.
    'showinfo=checksum=0',
    f'scale=in_color_matrix={_MATRICES[video.matrix]}'
    ':flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp',
    'format=rgb24',
  ]
  if video.is_interlaced:
    filters.insert(0, 'bwdif=mode=send_frame:deint=interlaced')
  return [
    *('ffmpeg', '-nostdin', '-nostats', '-v', 'level+info'),
    *('-i', _as_file(source), '-map', '0:V:0', '-vf', ','.join(filters)),
    # PPM states the size, which rotation may have turned.
    *(*keep_times(), '-f', 'image2pipe', '-c:v', 'ppm', 'pipe:1'),
  ]


def frames(
  reader: Process, source: pathlib.Path, video: Video
) -> Iterator[tuple[np.ndarray, float]]:
  """Frames as uint8 RGB [H, W, 3] and their times in seconds, which rise."""
  tick = video.time_base
  last = None
  while reader.read_line() == b'P6\n':
    width, height = map(int, reader.read_line().split())
    reader.read_line()  # 255
    data = reader.read(height * width * 3)
    if len(data) < height * width * 3:
      break
    pts = None
    while pts is None:
      try:
        line = reader.log.get(timeout=_PATIENCE)
      except queue.Empty:
        line = None
      if line is None:
        raise ValueError(f'{source}: ffmpeg does not say when frames are shown')
      if match := re.search(r'config in time_base: *(\d+/\d+)', line):
        tick = _fraction(match[1]) or tick
      elif match := re.search(r'\bn: *\d+ pts: *(-?\d+|NOPTS)', line):
        pts = match[1]
    if last is None:
      time = 0.0 if pts == 'NOPTS' else float(int(pts) * tick)
    elif pts == 'NOPTS':
      time = last + float(1 / video.frame_rate)
    else:
      time = max(float(int(pts) * tick), last + float(tick))
    last = time
    yield np.frombuffer(data, np.uint8).reshape(height, width, 3), time


def encode_command(
  source: pathlib.Path,
  target: pathlib.Path,
  video: Video,
  *,
  size: tuple[int, int],
  start: float,
  container: str,
  encoder: str | None,
  crf: int,
  subtitles: Sequence[str],
) -> list[str]:
  """Ffmpeg with the frames on its standard input."""
  muxer, usual_encoder, _ = CONTAINERS[container]
  is_turned = size == video.size and size[0] != size[1]  # (H, W), (W, H)
  aspect = 1 / video.aspect if is_turned else video.aspect
  filters = (
    f'scale=out_color_matrix={_MATRICES[video.matrix]}:out_range=tv'
    ':flags=bicubic+accurate_rnd+full_chroma_int',
    'format=yuv420p',
    f'setsar={aspect.numerator}/{aspect.denominator}',
  )
  ticks = video.time_base.denominator
  command = [
    *('ffmpeg', '-nostats', '-v', 'level+error', '-y'),
    # Frames are large: few in queues, none read ahead.
    *('-probesize', '32', '-analyzeduration', '0', '-thread_queue_size', '2'),
    *('-itsoffset', f'{start:.6f}', '-f', 'matroska', '-i', 'pipe:0'),
    *('-i', _as_file(source)),
    *('-map', '0:v:0', '-map', '1:a?', '-c:a', 'copy', *subtitles),
    *('-map_metadata', '1', '-map_chapters', '1'),
    *('-vf', ','.join(filters), *video.tags),
    *('-c:v', encoder or usual_encoder, '-crf', str(crf)),
    *(*keep_times(), '-enc_time_base', f'1/{ticks}'),
  ]
  if usual_encoder == 'libvpx-vp9' and encoder is None:
    command += ['-b:v', '0', '-row-mt', '1']
  if muxer in ('mp4', 'mov'):
    command += ['-video_track_timescale', str(ticks)]
    command += ['-movflags', '+faststart']
  return [*command, '-f', muxer, _as_file(target)]


def subtitle_options(
  video: Video, container: str
) -> tuple[list[str], list[str]]:
  """Ffmpeg's options for the subtitles, and lines on those left out."""
  text = CONTAINERS[container][2]
  options: list[str] = []
  notes = []
  count = 0
  for index, codec in video.subtitles:
    if text == 'copy':
      kept = 'srt' if codec == 'mov_text' else 'copy'
    elif codec in _TEXT:
      kept = 'copy' if codec == text else text
    else:
      notes.append(f'subtitles {codec} are left out: {container} has none such')
      continue
    options += ['-map', f'1:{index}', f'-c:s:{count}', kept]
    count += 1
  return options, notes


@functools.cache
def keep_times() -> tuple[str, str]:
  """Ffmpeg's option against repeated and dropped frames, renamed in 5.1."""
  result = subprocess.run(
    ['ffmpeg', '-version'], capture_output=True, text=True, check=True
  )
  match = re.match(r'ffmpeg version n?(\d+)\.(\d+)', result.stdout)
  is_old = match and (int(match[1]), int(match[2])) < (5, 1)
  return '-vsync' if is_old else '-fps_mode', 'passthrough'


def _as_file(path: pathlib.Path) -> str:
  """A path that ffmpeg takes for no option and no address."""
  return f'file:{path}'


def _fraction(text: Any) -> fractions.Fraction | None:
  """'30000/1001' or '4:3'; None for what is not a positive number."""
  try:
    value = fractions.Fraction(str(text).replace(':', '/'))
  except (ValueError, ZeroDivisionError):
    return None
  return value if value > 0 else None
