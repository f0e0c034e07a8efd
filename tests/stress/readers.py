"""What each reader does with each kind of hostile file: time, memory, a line.

Files are read in a process of its own, which is ended where it takes longer
than a minute or 4 GB more, and replaced for the next file.
"""

from collections.abc import Callable, Iterator
import contextlib
import multiprocessing
import multiprocessing.pool
import os
import pathlib
import resource
import tempfile
from typing import Any

from tests.stress import Row, hostile_files

HEADER = ('hostile file', 'bytes', 'seconds', 'peak MiB')

# What a reader may take; see docs/reliability.md.
_MAX_SECONDS = 5.0
_MAX_BYTES = 2**28
_PATIENCE = 60.0
_MEMORY = 2**32


def attack(short: bool = False) -> Iterator[Row]:
  """Has the readers read every kind of hostile file, or every fourth."""
  with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
    pool = stack.enter_context(_pool())
    kinds = list(hostile_files.kinds().items())
    for name, kind in kinds[:: 4 if short else 1]:
      path = pathlib.Path(folder, f'hostile{kind.suffix}')
      kind.write(path)
      task = pool.apply_async(_answer, (kind.reader, str(path)))
      try:
        found = task.get(_PATIENCE)
      except multiprocessing.TimeoutError:
        pool.terminate()
        pool = stack.enter_context(_pool())
        fault = f'not done after {_PATIENCE:g} s, or the process died'
        found = {'seconds': _PATIENCE, 'peak': 0, 'message': '', 'fault': fault}
      cells = name, path.stat().st_size, found['seconds'], found['peak'] / 2**20
      yield Row(cells, judge(**found))
      path.unlink()


def judge(seconds: float, peak: int, message: str, fault: str) -> str:
  """What should not be; '' where all is well.

  Args:
    seconds: of the processor, until a file was refused.
    peak: bytes of memory beyond what the reader had before.
    message: the refusal; '' where it was read.
    fault: what went wrong already.
  """
  if fault:
    return fault
  if not message:
    return 'it was read'
  if not message.isprintable() or len(message) > 1000:
    return f'a message of {len(message)} letters'
  if seconds > _MAX_SECONDS:
    return 'too slow'
  return 'too much memory' if peak > _MAX_BYTES else ''


_READERS: dict[str, Callable[[str], None]] = {}


def _pool() -> multiprocessing.pool.Pool:
  """One process that is ready to read."""
  pool = multiprocessing.get_context('spawn').Pool(1, _prepare)
  pool.apply(int)
  return pool


def _prepare() -> None:
  _READERS.update(_readers())
  # A reader that fails its test shall not take the machine along.
  grown = status('VmData') + _MEMORY
  resource.setrlimit(resource.RLIMIT_DATA, (grown, grown))


def _answer(reader: str, path: str) -> dict[str, Any]:
  pathlib.Path('/proc/self/clear_refs').write_text('5')  # the peak, anew
  before, start = status('VmRSS'), _processor_seconds()
  message = fault = ''
  try:
    _READERS[reader](path)
  except (ValueError, OSError) as error:
    message = str(error)
  except BaseException as error:
    fault = f'{type(error).__name__}: {str(error)[:200]}'
  return {
    'seconds': _processor_seconds() - start,
    'peak': max(status('VmHWM') - before, 0),
    'message': message,
    'fault': fault,
  }


def _processor_seconds() -> float:
  """Of this process and those that it started and that ended."""
  times = os.times()
  return sum(times[:4])


def status(name: str) -> int:
  """A figure of this process, in bytes."""
  for line in pathlib.Path('/proc/self/status').read_text().splitlines():
    key, _, value = line.partition(':')
    if key == name:
      return int(value.split()[0]) * 1024
  raise OSError(f'/proc/self/status has no {name}')


def _readers() -> dict[str, Callable[[str], None]]:
  """By name, what reads a file; all that they import is imported."""
  import h5py  # noqa: F401  (so that its import is no one's time)
  import jax

  from srgan_jax import weights
  from srgan_jax.convert import generator, vgg

  jax.config.update('jax_platforms', 'cpu')
  jax.numpy.zeros(1).block_until_ready()

  def path(text: str) -> tuple[pathlib.Path, pathlib.Path]:
    return pathlib.Path(text), pathlib.Path(f'{text}.out')

  return {
    'generator': lambda text: _drop(generator.convert(*path(text))),
    'vgg': lambda text: _drop(vgg.convert(*path(text))),
    'our generator': lambda text: _drop(weights.load_generator(text)),
  }


def _drop(_: object) -> None:
  pass
