"""Reads an HDF5 file where it can do no harm, before it is read for good.

libhdf5 hangs or dies on some damaged files, inside one call that Python cannot
end. So another process reads all that a reader may, with limits on its time
and memory; a file that it survives is read the same way here.
"""

import pathlib
import subprocess
import sys

_CPU_SECONDS = 3
_WALL_SECONDS = 120
_BYTES = 2**29
_MAX_VALUES = 2**25  # read in all; more is refused later, unread


def rehearse(path: pathlib.Path) -> None:
  """Has another process read a file.

  Raises:
    ValueError: where it did not come to its end.
  """
  command = [sys.executable, '-m', __name__, str(path)]
  try:
    result = subprocess.run(
      command, capture_output=True, timeout=_WALL_SECONDS, check=False
    )
  except subprocess.TimeoutExpired:
    result = None
  if result is None or result.returncode:
    raise ValueError('it is cut off or damaged (the HDF5 library hangs on it)')


def _limit() -> None:
  try:
    import resource
  except ImportError:  # Windows: the time alone is limited
    return
  resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
  resource.setrlimit(resource.RLIMIT_DATA, (_BYTES, _BYTES))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _read(path: pathlib.Path) -> None:
  from srgan_jax.convert.readers import hdf5_files

  total = 0
  with hdf5_files.opened(path) as file:
    for group in file.groups:
      for attribute in ('layer_names', 'weight_names', 'name'):
        file.texts(group, attribute)
    for array in file.arrays.values():
      total += array.size
      if total > _MAX_VALUES:
        return
      array.read()


if __name__ == '__main__':
  _limit()
  try:
    _read(pathlib.Path(sys.argv[1]))
  except (ValueError, MemoryError):
    pass  # refused, as it will be again
