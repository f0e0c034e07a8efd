"""Videos, frame by frame; ffmpeg reads and writes them (tested with 5.1).

One frame is in memory at a time.
"""

from collections.abc import Callable
import contextlib
import pathlib
import shutil

import numpy as np

from srgan_jax import cli, files
from srgan_jax.models.generator import SCALE
from srgan_jax.upscaling import ffmpeg, matroska

Upscale = Callable[[np.ndarray], np.ndarray]


def upscale_video(
  source: pathlib.Path,
  target: pathlib.Path,
  upscale: Upscale,
  *,
  encoder: str | None = None,
  crf: int = 16,
) -> tuple[int, list[str]]:
  """Upscales a video file.

  Args:
    source: whatever ffmpeg reads.
    target: ends in .mp4, .m4v, .mov, .mkv or .webm; its folder must exist. It
      is there whole or not at all.
    upscale: from uint8 RGB [H, W, 3] to uint8 [4H, 4W, 3].
    encoder: ffmpeg's name of a video encoder instead of the container's usual.
    crf: the encoder's constant quality; less is better and larger.

  Returns:
    The number of frames, and lines on what is not as it was.

  Raises:
    ValueError: one line, where ffmpeg is missing, the source is no video or
      the container cannot hold what it has.
  """
  container = target.suffix.lower()
  if container not in ffmpeg.CONTAINERS:
    known = ', '.join(ffmpeg.CONTAINERS)
    raise ValueError(f'{target} must end in {known}, not {container!r}')
  files.require_folder(target)
  for program in ('ffmpeg', 'ffprobe'):
    if shutil.which(program) is None:
      raise ValueError(
        f'video takes the program {program}, which is not installed'
      )
  video = ffmpeg.probe(source)
  subtitles, notes = ffmpeg.subtitle_options(video, container)
  count = 0
  with (
    files.replacing(target) as beside,
    cli.progress(total=video.frames, unit='frame') as bar,
    contextlib.ExitStack() as processes,
  ):
    reader = processes.enter_context(
      ffmpeg.Process(ffmpeg.decode_command(source, video))
    )
    writer = None
    for lr, time in ffmpeg.frames(reader, source, video):
      if writer is None:
        start = time
        size = lr.shape[:2]
        command = ffmpeg.encode_command(
          source,
          beside,
          video,
          size=size,
          start=start,
          container=container,
          encoder=encoder,
          crf=crf,
          subtitles=subtitles,
        )
        writer = processes.enter_context(ffmpeg.Process(command))
        rate = float(video.frame_rate)
        writer.write(
          matroska.header(SCALE * size[0], SCALE * size[1], rate), target
        )
      writer.write(matroska.frame(upscale(lr), time - start), target)
      count += 1
      bar.update()
    if writer is None:
      raise ValueError(f'{source}: {reader.error("no frame can be decoded")}')
    if reader.errors:
      notes.append(f'{source} is damaged ({reader.errors[0]})')
    writer.finish(target)
  return count, notes
