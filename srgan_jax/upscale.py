"""Upscales pictures by 4 with a trained generator: the command.

  python -m srgan_jax.upscale IN... -o OUT [--model srgan|srresnet|FILE]

IN: pictures, folders (all pictures in them, the structure kept) or - for
standard input; OUT: a folder, a file for a single picture, or - for standard
output. A picture is written in its own format with all that it kept
(docs/upscaling.md). The call from Python is `srgan_jax.load`.
"""

import argparse
from collections.abc import Sequence
from concurrent import futures
import contextlib
import io
import os
import pathlib
import signal
import sys
import threading
import time
from typing import Any, BinaryIO, cast, get_args

import tqdm

from srgan_jax import compilation_cache, files, pretrained
from srgan_jax import jobs as jobs_lib
from srgan_jax.imaging import pictures, writing
from srgan_jax.jobs import FORMATS, STANDARD, Job
from srgan_jax.models.generator import SCALE
from srgan_jax.upscaler import Precision, Upscaler, load

__all__ = ['Upscaler', 'load', 'main']

_STOPPED = 130  # the exit status of a command that Ctrl-C ended
_MAX_MEGAPIXELS = 1000  # of a result: 3 GB of 8-bit RGB


def main(arguments: Sequence[str] | None = None) -> int:
  """The command; returns its exit status."""
  options = _parser().parse_args(arguments)
  try:
    jobs = jobs_lib.plan(options.input, options.output, options.format)
    if options.report:
      files.require_folder(options.report)
  except ValueError as error:
    _say(str(error))
    return 1
  for job in jobs:
    if not options.overwrite and _exists(job.target):
      job.status = 'skipped'
  if skipped := sum(job.status == 'skipped' for job in jobs):
    _say(f'{skipped} there already, skipped (--overwrite makes them again)')
  batch = _Batch(jobs, options)
  code = 0
  try:
    with _sigterm_as_ctrl_c():
      if any(job.status == 'waiting' for job in jobs):
        compilation_cache.enable()
        batch.run(
          load(options.model, tile=options.tile, precision=options.precision)
        )
  except ValueError as error:  # of the model
    _say(str(error))
    code = 1
  except KeyboardInterrupt:
    _say('stopped; pictures that are finished stay')
    code = _STOPPED
  if options.report:
    try:
      jobs_lib.write_report(options.report, jobs)
    except OSError as error:
      _say(f'{options.report}: {error.strerror}')
      code = code or 1
  if code == _STOPPED and arguments is None:
    # As a program: Python's own end would wait for the tiles under way.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
  return code or int(any(job.status == 'failed' for job in jobs))


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog='srgan-upscale', description='Upscales pictures by 4.'
  )
  add = parser.add_argument
  add(
    'input',
    nargs='+',
    type=pathlib.Path,
    help='pictures, folders, or - for standard input',
  )
  add(
    '-o',
    '--output',
    required=True,
    type=pathlib.Path,
    help='a folder, a file for a single picture, or - for standard output',
  )
  add(
    '--model',
    default=pretrained.DEFAULT,
    help='a shipped name or a generator.safetensors; %(default)s by default',
  )
  add(
    '--format',
    choices=sorted(FORMATS),
    help="of the results; by default each picture's own, PNG for the rest",
  )
  add(
    '--quality',
    type=_number(1, 100),
    help='of JPEG, WebP and AVIF, 1 to 100; 95 by default, AVIF 90',
  )
  add(
    '--tile',
    type=_tile,
    default='auto',
    help="side of the tiles in pixels; by default as memory allows; 'fit': so, "
    'but for many pictures of one size',
  )
  add(
    '--precision',
    choices=get_args(Precision),
    default='float32',
    help='bfloat16 is faster on GPUs and a few levels off; 8-bit pictures only',
  )
  add(
    '--overwrite', action='store_true', help='also make what is there already'
  )
  add('--report', type=pathlib.Path, help='a CSV file with a line a picture')
  add(
    '--max-megapixels',
    type=_number(1, 10**9),
    default=_MAX_MEGAPIXELS,
    help=f'the largest result that is made; {_MAX_MEGAPIXELS} by default',
  )
  return parser


def _number(low: int, high: int) -> Any:
  def parse(text: str) -> int:
    value = int(text)
    if not low <= value <= high:
      raise argparse.ArgumentTypeError(f'{value} is not in {low}..{high}')
    return value

  parse.__name__ = 'number'  # for argparse's message
  return parse


def _tile(text: str) -> Any:
  return text if text in ('auto', 'fit') else _number(1, 2**20)(text)


class _Batch:
  """The pictures of one command: read ahead, upscaled, written behind."""

  def __init__(self, jobs: Sequence[Job], options: argparse.Namespace):
    self._jobs = jobs
    self._options = options
    self._stop = threading.Event()
    self._to_stdout = any(job.target == STANDARD for job in jobs)

  def run(self, upscaler: Upscaler) -> None:
    """Goes through the pictures; what fails is said and passed over."""
    waiting = [job for job in self._jobs if job.status == 'waiting']
    for job in waiting:
      with contextlib.suppress(ValueError):  # said when it is read
        if job.source != STANDARD:
          job.height, job.width = pictures.size(job.source, str(job.source))
    self._bar = tqdm.tqdm(
      total=sum(job.result_pixels for job in waiting),
      unit='px',
      unit_scale=True,
      smoothing=0.05,
      dynamic_ncols=True,
      disable=not sys.stderr.isatty(),
    )
    with (
      self._bar,
      futures.ThreadPoolExecutor(1) as reader,
      futures.ThreadPoolExecutor(1) as writer,
    ):
      try:
        self._go_through(waiting, upscaler, reader, writer)
      except BaseException:
        self._stop.set()  # the writer leaves its file
        raise

  def _go_through(
    self,
    jobs: Sequence[Job],
    upscaler: Upscaler,
    reader: futures.Executor,
    writer: futures.Executor,
  ) -> None:
    ahead = reader.submit(self._read, jobs[0])
    behind: tuple[Job, futures.Future[None]] | None = None
    for job, following in zip(jobs, [*jobs[1:], None], strict=True):
      written: futures.Future[None] | None = None
      with self._may_fail(job):
        picture = ahead.result()
      if following:
        ahead = reader.submit(self._read, following)
      if job.status == 'waiting':
        with self._may_fail(job):
          sr = self._upscale(job, upscaler, picture)
          written = writer.submit(self._write, job, sr)
          del picture, sr
      if behind:
        self._finish(*behind)
      behind = (job, written) if written else None
    if behind:
      self._finish(*behind)

  def _read(self, job: Job) -> pictures.Picture:
    name = str(job.source)
    data = job.source if job.source != STANDARD else sys.stdin.buffer.read()
    height, width = pictures.size(data, name)
    result = SCALE**2 * height * width / 1e6
    if result > self._options.max_megapixels:
      raise ValueError(
        f'{name}: {width}x{height} pixels would become {result:,.0f} '
        f'megapixels, over the limit of {self._options.max_megapixels}: '
        f'--max-megapixels {int(result) + 1} lifts it'
      )
    picture = pictures.read(data, name)
    writing.check_format(_form(job, picture), SCALE * height, SCALE * width)
    return picture

  def _upscale(
    self, job: Job, upscaler: Upscaler, picture: pictures.Picture
  ) -> pictures.Picture:
    job.height, job.width = picture.pixels.shape[:2]
    job.note = '; '.join(picture.notes)
    start, done = time.monotonic(), 0

    def progress(pixels: int) -> None:
      nonlocal done
      done += pixels
      self._bar.update(SCALE**2 * pixels)

    try:
      return picture.with_pixels(upscaler(picture.pixels, progress))
    except Exception:
      progress(-done)
      raise
    finally:
      job.seconds = time.monotonic() - start

  def _write(self, job: Job, picture: pictures.Picture) -> None:
    form = _form(job, picture)
    quality = self._options.quality
    if job.target == STANDARD:
      encoded = io.BytesIO()
      writing.write(picture, encoded, form, quality)
      sys.stdout.buffer.write(encoded.getbuffer())
      sys.stdout.buffer.flush()
      return
    job.target.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(job.target) as beside, open(beside, 'wb') as file:
      stoppable = cast(BinaryIO, _Stoppable(file, self._stop))
      writing.write(picture, stoppable, form, quality)

  def _finish(self, job: Job, written: futures.Future[None]) -> None:
    with self._may_fail(job):
      written.result()
      job.status = 'done'
      if job.note:
        _say(f'{job.source}: {job.note}')
      if not self._to_stdout:
        tqdm.tqdm.write(str(job.target))

  @contextlib.contextmanager
  def _may_fail(self, job: Job) -> Any:
    """What goes wrong with one picture is one line, and the rest go on."""
    try:
      yield
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
      why = ' '.join(str(error).split()) or type(error).__name__
      if isinstance(error, OSError) and error.strerror:
        why = f'{job.target}: {error.strerror}'
      elif str(job.source) not in why:
        why = f'{job.source}: {why}'
      job.status, job.note = 'failed', why
      if self._bar.total:
        self._bar.total -= min(self._bar.total, job.result_pixels)
      _say(why)


class _Stoppable:
  """A file that can no longer be written to once the command is to stop."""

  def __init__(self, file: BinaryIO, stop: threading.Event):
    self._file = file
    self._stop = stop
    self.seek = file.seek
    self.tell = file.tell
    self.flush = file.flush

  def write(self, data: bytes) -> int:
    if self._stop.is_set():
      raise InterruptedError('the command is stopping')
    return self._file.write(data)


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Any:
  def interrupt(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt

  if threading.current_thread() is not threading.main_thread():
    yield
    return
  previous = signal.signal(signal.SIGTERM, interrupt)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, previous)


def _form(job: Job, picture: pictures.Picture) -> str:
  return job.form or writing.own_format(picture.format)


def _exists(target: pathlib.Path) -> bool:
  return target != STANDARD and target.exists()


def _say(line: str) -> None:
  tqdm.tqdm.write(f'srgan-upscale: {line}', file=sys.stderr)


if __name__ == '__main__':
  sys.exit(main())
