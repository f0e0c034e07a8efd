"""Upscales a video by 4, frame by frame; ffmpeg reads and writes it.

  python -m srgan_jax.video holiday.mp4 -o large.mp4
  python -m srgan_jax.video old.avi -o large.mkv --model srresnet

Every frame of the first video stream is upscaled on its own and keeps its time,
also where the frame rate varies; the result stands upright as the video was
shown, with its pixel aspect ratio and its colour standard. Audio is copied,
chapters and tags too, subtitles as far as the container can hold them. One
frame is in memory at a time.

It takes the programs `ffmpeg` and `ffprobe` (tested with 5.1).
"""

import argparse
from collections.abc import Callable, Sequence
import contextlib
import pathlib
import shutil
import signal
import sys

import numpy as np
import tqdm

from srgan_jax import (
  compilation_cache,
  ffmpeg,
  files,
  matroska,
  pretrained,
  upscaler,
)
from srgan_jax.models.generator import SCALE

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
    tqdm.tqdm(
      total=video.frames, unit='frame', disable=not sys.stderr.isatty()
    ) as bar,
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


def main(arguments: Sequence[str] | None = None) -> int:
  """The command; its exit status."""
  parser = argparse.ArgumentParser(
    prog='python -m srgan_jax.video',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add('input', type=pathlib.Path, help='a video that ffmpeg reads')
  add(
    '-o',
    '--output',
    required=True,
    type=pathlib.Path,
    help=f'the file to write: {", ".join(ffmpeg.CONTAINERS)}',
  )
  add(
    '--model',
    default=pretrained.DEFAULT,
    help='a shipped name or a weights file; %(default)s by default',
  )
  add('--encoder', help="ffmpeg's name; default: libx264, in .webm libvpx-vp9")
  add('--crf', type=int, default=16, help='less is better; default: 16')
  add('--overwrite', action='store_true', help='also where OUT exists')
  options = parser.parse_args(arguments)
  output = options.output
  previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
  try:
    if output.exists() and not options.overwrite:
      raise ValueError(f'{output} exists: --overwrite replaces it')
    if output.resolve() == options.input.resolve():
      raise ValueError(f'{output} is the input')
    compilation_cache.enable()
    count, notes = upscale_video(
      options.input,
      output,
      upscaler.load(options.model, tile='fit'),
      encoder=options.encoder,
      crf=options.crf,
    )
  except (ValueError, OSError, FloatingPointError, MemoryError) as error:
    print(f'video: {error}', file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    print('video: stopped; nothing is written', file=sys.stderr)
    return 130
  finally:
    signal.signal(signal.SIGTERM, previous)
  for note in notes:
    print(f'video: {note}', file=sys.stderr)
  print(f'{output} ({count} frames)')
  return 0


if __name__ == '__main__':
  sys.exit(main())
