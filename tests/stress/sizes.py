"""Sizes beyond use: the memory of large pictures and of hours of video.

A generator of 4 channels upscales, so that what a picture and a film take shows
and what the tiles of a larger network take does not.
"""

from collections.abc import Iterator
from concurrent import futures
import contextlib
import importlib
import io
import math
import multiprocessing
import pathlib
import subprocess
import tempfile
import time

import numpy as np
from PIL import Image

from srgan_jax import SCALE
from tests.stress import Row, readers
from tests.support import image_files, small

HEADER = ('upscaled', 'seconds', 'peak MiB')

_MIB = 2**20
_RATE = 5  # frames a second


def attack(short: bool) -> Iterator[Row]:
  """Upscales pictures and films that grow."""
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    model = f'--model={small.save_generator(folder / "g.safetensors")}'
    for megapixels in () if short else (25, 100, 400):
      side = math.isqrt(megapixels * 10**6) // SCALE
      source, output = folder / 'picture.jpg', folder / 'large.jpg'
      noise = image_files.noise(250, 250)
      Image.fromarray(np.tile(noise, (side // 250, side // 250, 1))).save(
        source
      )
      seconds, peak = measure('upscale', [str(source), f'-o{output}', model])
      output.unlink()
      yield Row((f'{megapixels} megapixels', seconds, peak // _MIB))
    # 500 frames of the result, if they were kept, would be 18 MiB; a longer
    # film's tables grow a little.
    first, growth = math.inf, (12 if short else 32) * _MIB
    # The first compiles, which takes memory; an encoder holds up to 60 frames.
    for frames in (100, 100, 600) if short else (3600, 3600, 36000):
      source, output = folder / 'film.mp4', folder / 'large.mp4'
      film(source, frames)
      seconds, peak = measure('video', [str(source), f'-o{output}', model])
      output.unlink()
      first = min(first, peak)
      what = f'a film of {frames} frames, {frames / _RATE / 60:.1f} minutes'
      fault = 'memory grows' if peak > first + growth else ''
      yield Row((what, seconds, peak // _MIB), fault)


def film(path: pathlib.Path, frames: int) -> None:
  """Writes a film of 32x24 pixels with sound; the program ffmpeg makes it."""
  seconds = frames / _RATE
  command = ['ffmpeg', '-nostdin', '-v', 'error', '-y', '-f', 'lavfi']
  command += ['-i', f'testsrc=size=32x24:rate={_RATE}:duration={seconds}']
  command += ['-f', 'lavfi', '-i', f'sine=duration={seconds}']
  # The table of packets, which an MP4 has at its end, is to stay small.
  command += ['-preset', 'ultrafast', '-ar', '8000', str(path)]
  subprocess.run(command, check=True)


def measure(command: str, arguments: list[str]) -> tuple[float, int]:
  """Runs a command in a process of its own: seconds, and bytes at its peak.

  Raises:
    ValueError: where it fails.
  """
  context = multiprocessing.get_context('spawn')
  with futures.ProcessPoolExecutor(1, context) as pool:
    status, seconds, peak = pool.submit(_run, command, arguments).result()
  if status:
    raise ValueError(f'{command} {" ".join(arguments)}: status {status}')
  return seconds, peak


def _run(command: str, arguments: list[str]) -> tuple[int, float, int]:
  main = importlib.import_module(f'srgan_jax.{command}').main
  began = time.monotonic()
  with contextlib.redirect_stdout(io.StringIO()):
    status = main(arguments)
  return status, time.monotonic() - began, readers.status('VmHWM')
