"""HDF5, by h5py: the arrays in a file, and the lists of names in it.

HDF5 can send a reader to other files (external and virtual datasets, links),
claim any size without holding a number, and name one array a million times.
All of that is refused before a number is read.
"""

from collections.abc import Iterator
import contextlib
import math
import pathlib
from typing import Any

import numpy as np

from srgan_jax.convert.readers import hdf5_rehearsal
from srgan_jax.convert.readers.stored import (
  INSTALL,
  MAX_ARRAYS,
  Stored,
  check_names,
  first_line,
)

_MAX_DEPTH = 16
_MAX_TEXT = 2**20  # bytes of an attribute
_MAX_CHUNK = 2**26  # bytes that are unpacked at once


class File:
  """An open file.

  Attributes:
    arrays: all that it holds, by path.
    groups: the paths of all groups; '' is the file itself.
  """

  def __init__(self, path: pathlib.Path, file: Any):
    self._file = file
    self.groups = {''}
    self.arrays: dict[str, Stored] = {}
    self._seen = 0
    self._walk(path, file, '', 0)

  def texts(self, path: str, attribute: str) -> list[str] | None:
    """A group's attribute, one or more texts; None where it has none.

    Raises:
      ValueError: where it is larger than any list of names, or no text.
    """
    if path not in self.groups:
      raise ValueError(f'it has no group {path}')
    item = self._file[path] if path else self._file
    if attribute not in item.attrs:
      return None
    stated = item.attrs.get_id(attribute)
    shape = stated.shape
    if (
      shape is None
      or len(shape) > 1
      or (shape and shape[0] > MAX_ARRAYS)
      or math.prod(shape) * stated.dtype.itemsize > _MAX_TEXT
    ):
      raise ValueError(f'its {attribute} are no list of names')
    values = np.atleast_1d(np.asarray(item.attrs[attribute], object))
    texts = [v.decode() if isinstance(v, bytes) else v for v in values]
    if not all(isinstance(text, str) for text in texts):
      raise ValueError(f'its {attribute} are no texts')
    check_names(texts)
    return texts

  def _walk(
    self, path: pathlib.Path, group: Any, prefix: str, depth: int
  ) -> None:
    """Enters all arrays below a group, each under one name."""
    import h5py

    self._seen += len(group)
    if depth > _MAX_DEPTH or self._seen > MAX_ARRAYS:
      raise ValueError(
        f'it has more than {MAX_ARRAYS} names or {_MAX_DEPTH} levels'
      )
    check_names(group)
    for key in group:
      name = f'{prefix}{key}'
      if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise ValueError(f'its {name} is a link to elsewhere')
      item = group[key]
      if isinstance(item, h5py.Group):
        self.groups.add(name)
        self._walk(path, item, f'{name}/', depth + 1)
      elif isinstance(item, h5py.Dataset):
        self.arrays[name] = _store(path, name, item)


def _store(path: pathlib.Path, name: str, data: Any) -> Stored:
  """An array, where its numbers lie in the file itself."""
  import h5py

  if data.is_virtual or data.external:
    raise ValueError(f'its {name} lies in another file')
  shape, dtype = data.shape, data.dtype
  if shape is None:
    raise ValueError(f'its {name} has no shape')
  if data.size and not data.id.get_storage_size():
    raise ValueError(f'its {name} of shape {shape} has no numbers')
  if data.chunks is None:
    if data.size * dtype.itemsize > data.id.get_storage_size():
      raise ValueError(f'its {name} of shape {shape} is larger than the file')
  elif math.prod(data.chunks) * dtype.itemsize > _MAX_CHUNK:
    raise ValueError(f'its {name} has chunks of shape {data.chunks}')

  def load() -> np.ndarray:
    try:
      with h5py.File(path, 'r') as file:
        return np.asarray(file[name][()])
    except Exception as error:  # any: damaged files fail in any way
      raise ValueError(
        f'it is cut off or damaged ({first_line(error)})'
      ) from error

  return Stored(tuple(shape), dtype, load)


@contextlib.contextmanager
def reading(path: pathlib.Path) -> Iterator[File]:
  """Opens a file that another process has read to its end.

  Raises:
    ValueError: where it is cut off, damaged, refers to other files, or has more
      arrays or larger ones than it can; or h5py is not installed.
  """
  try:
    import h5py  # noqa: F401
  except ImportError:
    raise ValueError(f'reading it takes h5py: {INSTALL}') from None
  hdf5_rehearsal.rehearse(path)
  with opened(path) as file:
    yield file


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[File]:
  """As `reading`, without that other process."""
  import h5py

  try:
    with h5py.File(path, 'r') as file:
      yield File(path, file)
  except ValueError:
    raise
  except Exception as error:  # any: damaged files fail in any way
    raise ValueError(
      f'it is cut off or damaged ({first_line(error)})'
    ) from error
