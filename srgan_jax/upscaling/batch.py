"""Upscales many pictures: reading and writing run in threads."""

from collections.abc import Callable, Sequence
from concurrent import futures
import contextlib
import io
import math
import os
import pathlib
import sys
import threading
import time
from typing import Any, BinaryIO, cast

import tqdm

from srgan_jax import cli, files
from srgan_jax.imaging import pictures, reading, writing
from srgan_jax.upscaling import MAX_MEGAPIXELS
from srgan_jax.upscaling.planning import STANDARD, Job
from srgan_jax.upscaling.upscaler import Upscaler

_SHORT = 10  # seconds: a picture that takes no longer needs no estimate


class Batch:
  """The pictures of one command."""

  def __init__(
    self,
    jobs: Sequence[Job],
    *,
    say: Callable[[str], None],
    quality: int | None = None,
    max_megapixels: int = MAX_MEGAPIXELS,
    origin: str = '',
  ):
    """Takes the pictures.

    Args:
      jobs: of `planning.plan`; they get status, sizes, seconds and notes.
      say: called with a line on what went wrong or was lost.
      quality: of JPEG, WebP and AVIF, 1 to 100; None for the default.
      max_megapixels: of a result.
      origin: of the results, noted at each file (`files.set_origin`).
    """
    self._jobs = jobs
    self._say = say
    self._quality, self._max_megapixels = quality, max_megapixels
    self._origin = origin
    self._stop = threading.Event()
    self._unsaid: OSError | None = None
    self._to_stdout = any(job.target == STANDARD for job in jobs)

  def run(self, upscaler: Upscaler) -> None:
    """Upscales the pictures; failures are said and skipped.

    Raises:
      OSError: in the end, if the results' names could not be written.
    """
    waiting = [job for job in self._jobs if job.status == 'waiting']
    for job in waiting:
      with contextlib.suppress(ValueError):  # said when it is read
        if os.path.isfile(job.source):
          size = reading.image_size(job.source, '', self._max_megapixels)
          job.height, job.width = size
    self._bar = cli.progress(
      total=sum(job.result_pixels for job in waiting),
      unit='px',
      unit_scale=True,
      smoothing=0.05,
      dynamic_ncols=True,
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
    if self._unsaid:
      raise self._unsaid

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
    name, data = str(job.source), _source(job)
    height, width = reading.image_size(data, name, None)
    megapixels = math.ceil(job.size.most_pixels(height, width) / 1e6)
    if megapixels > self._max_megapixels:
      raise ValueError(
        f'{name}: {width}x{height} pixels would become {megapixels:,} '
        f'megapixels, over the limit of {self._max_megapixels}: '
        f'--max-megapixels {megapixels} lifts it'
      )
    picture = pictures.read(data, name)
    form = _form(job, picture)
    writing.check_format(form, *job.size.of(height, width))
    writing.check_colour(picture, form)
    return picture

  def _upscale(
    self, job: Job, upscaler: Upscaler, picture: pictures.Picture
  ) -> pictures.Picture:
    job.height, job.width = picture.pixels.shape[:2]
    job.note = '; '.join(picture.notes)
    moments, done = [time.monotonic()], 0.0

    def progress(share: float) -> None:
      nonlocal done
      moments.append(time.monotonic())
      done += share
      if len(moments) == 3:  # the first tiles waited for the compiler too
        left = (moments[2] - moments[1]) * (1 - done) / share
        if left > _SHORT:
          self._say(f'{job.source}: about {_interval(left)} to go')
      self._bar.update(share * job.result_pixels)

    try:
      pixels = job.size.upscale(upscaler, picture.pixels, progress)
      return picture.with_pixels(pixels)
    except Exception:
      self._bar.update(-done * job.result_pixels)
      raise
    finally:
      job.seconds = time.monotonic() - moments[0]

  def _write(self, job: Job, picture: pictures.Picture) -> None:
    form = _form(job, picture)
    save = lambda file: writing.write(
      picture, file, form, self._quality, job.scale
    )
    if job.target == STANDARD:
      encoded = io.BytesIO()
      notes = save(encoded)
      sys.stdout.buffer.write(encoded.getbuffer())
      sys.stdout.buffer.flush()
    else:
      job.target.parent.mkdir(parents=True, exist_ok=True)
      with files.replacing(job.target) as beside, open(beside, 'wb') as file:
        notes = save(cast(BinaryIO, _Stoppable(file, self._stop)))
        files.set_origin(beside, f'{self._origin}\n{job.mark}')
    job.note = '; '.join([job.note, *notes] if job.note else notes)

  def _finish(self, job: Job, written: futures.Future[None]) -> None:
    with self._may_fail(job):
      written.result()
      job.status = 'done'
      if job.note:
        self._say(f'{job.source}: {job.note}')
    if job.status == 'done' and not self._to_stdout:
      try:
        tqdm.tqdm.write(str(job.target))
      except BrokenPipeError:  # its reader has seen enough
        pass
      except OSError as error:  # which spoils no picture
        self._unsaid = error

  @contextlib.contextmanager
  def _may_fail(self, job: Job) -> Any:
    """Turns an error into one line, and the job's failure."""
    try:
      yield
    except cli.FAULTS as error:
      why = cli.one_line(error)
      if isinstance(error, OSError) and error.strerror:
        why = f'{job.target}: {error.strerror}'
      elif str(job.source) not in why:
        why = f'{job.source}: {why}'
      job.fail(why)
      if self._bar.total:
        self._bar.total -= min(self._bar.total, job.result_pixels)
      self._say(why)


class _Stoppable:
  """A file whose writes fail once the command is stopping."""

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


def _interval(seconds: float) -> str:
  minutes = round(seconds / 60)
  return f'{minutes} min' if minutes else f'{round(seconds)} s'


def _source(job: Job) -> pathlib.Path | bytes:
  """The picture's path; of a pipe, which is read once, the bytes."""
  if job.source == STANDARD:
    return sys.stdin.buffer.read()
  if os.path.exists(job.source) and not os.path.isfile(job.source):
    return job.source.read_bytes()
  return job.source


def _form(job: Job, picture: pictures.Picture) -> str:
  return job.form or writing.own_format(picture.format)
