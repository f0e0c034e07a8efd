"""Reads a file where it can do no harm, before it is read for good.

libhdf5 hangs or dies on some damaged files, inside one call that Python cannot
end, and a small pickle can take all memory or time. So another process reads
the file first, with limits on its time and memory.
"""

import importlib
import os
import pathlib
import subprocess
import sys

_CPU_SECONDS = 2
_WALL_SECONDS = 120
_BYTES = 2**28
_STACK_BYTES = 2**22  # half the usual: where it suffices, the caller's will
_MAX_LETTERS = 1000  # of a refusal, in which a file can repeat its own numbers


def rehearse(reader: str, path: pathlib.Path) -> None:
  """Has another process read a file by a module beside this one.

  Raises:
    ValueError: one line, where the reader refuses it or comes to no end.
  """
  # Without -P modules would come from the current folder, a stranger's perhaps.
  command = [sys.executable, '-P', '-m', __name__, reader, str(path)]
  try:
    result = subprocess.run(
      command,
      capture_output=True,
      timeout=_WALL_SECONDS,
      env={
        **os.environ,
        'PYTHONPATH': os.pathsep.join(sys.path),  # the modules of this process
        'OPENBLAS_NUM_THREADS': '1',  # each thread would take memory
      },
      check=False,
    )
  except subprocess.TimeoutExpired:
    result = None
  if result is None or result.returncode:
    raise ValueError(
      'it is cut off or damaged (to read it takes too much time or memory)'
    )
  if result.stdout:
    raise ValueError(result.stdout.decode())


def _limit() -> None:
  try:
    import resource
  except ImportError:  # Windows: the time alone is limited
    return
  resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
  resource.setrlimit(resource.RLIMIT_DATA, (_BYTES, _BYTES))
  resource.setrlimit(resource.RLIMIT_STACK, (_STACK_BYTES, _STACK_BYTES))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _refusal(reader: str, path: str) -> str:
  """Why a reader refuses a file, or ''."""
  module = importlib.import_module(f'{__package__}.{reader}')
  _limit()
  try:
    module.read(pathlib.Path(path))
  except ValueError as error:
    return str(error)
  except Exception as error:  # any: damaged files fail in any way
    detail = str(error).strip() or type(error).__name__
    return f'it is cut off or damaged ({detail.splitlines()[0]})'
  return ''


if __name__ == '__main__':
  said = _refusal(*sys.argv[1:])[:_MAX_LETTERS]
  sys.stdout.buffer.write(said.encode(errors='replace'))
