"""An array that a file holds, and what all readers share."""

from collections.abc import Callable, Iterable, Mapping
import dataclasses
import hashlib
import io
import math
import pathlib

import numpy as np

from srgan_jax import cli

INSTALL = cli.install('convert')
# No file of a known layout has so many arrays or so long names.
MAX_ARRAYS = 20_000
MAX_NAME = 500


@dataclasses.dataclass(frozen=True)
class Stored:
  """An array in a file, not read yet.

  Attributes:
    shape: as the file states it, checked against the file's size.
    dtype: of its numbers.
    read: gives the array.
  """

  shape: tuple[int, ...]
  dtype: np.dtype
  read: Callable[[], np.ndarray]

  @property
  def ndim(self) -> int:
    """The number of axes."""
    return len(self.shape)

  @property
  def size(self) -> int:
    """The number of values."""
    return math.prod(self.shape)

  def transpose(self, *axes: int) -> 'Stored':
    """The same array with its axes in another order."""
    return Stored(
      tuple(self.shape[axis] for axis in axes),
      self.dtype,
      lambda: self.read().transpose(axes),
    )


def read_all(
  arrays: Mapping[str, Mapping[str, Stored]], limit: int
) -> dict[str, dict[str, np.ndarray]]:
  """The arrays by layer and part, as float32 NumPy arrays.

  Raises:
    ValueError: where they have more than `limit` values, or one is not of
      floating-point numbers.
  """
  total = sum(
    array.size for parts in arrays.values() for array in parts.values()
  )
  if total > limit:
    raise ValueError(f'its arrays have {total} values, more than {limit}')
  return {
    layer: {
      part: _as_float32(f'{layer}/{part}', array)
      for part, array in parts.items()
    }
    for layer, parts in arrays.items()
  }


def _as_float32(name: str, array: Stored) -> np.ndarray:
  # bfloat16 is of kind V.
  if array.dtype.kind != 'f' and array.dtype.name != 'bfloat16':
    raise ValueError(
      f'its {name} is {array.dtype} {array.shape}, not of floating-point '
      'numbers'
    )
  return np.asarray(array.read(), np.float32)


def check_names(names: Iterable[str]) -> None:
  """Refuses names that no known layout has, before they cost anything.

  Raises:
    ValueError: where there are too many, or one is too long.
  """
  for i, name in enumerate(names):
    if i >= MAX_ARRAYS:
      raise ValueError(f'it has more than {MAX_ARRAYS} arrays')
    if len(name) > MAX_NAME:
      raise ValueError(f'it has a name of {len(name)} letters')


def sniff(head: bytes) -> str | None:
  """What a file is by its first 16 bytes, or None."""
  if head.startswith(b'\x89HDF\r\n\x1a\n'):
    return 'HDF5'
  if head.startswith(b'\x1f\x8b'):
    return 'a gzip archive'
  # A zip, or before PyTorch 1.6 a pickle of this number.
  if head.startswith((b'PK\x03\x04', b'\x80\x02\x8a\x0al\xfc\x9cF\xf9')):
    return 'a PyTorch file'
  if head.startswith((b'\x80\x02', b'\x80\x03', b'\x80\x04', b'\x80\x05')):
    return 'a pickle'
  if head[8:9] == b'{':
    return 'safetensors'
  return None


def digests(source: pathlib.Path | bytes) -> dict[str, str]:
  """SHA-256 and MD5, by their names."""
  result = {}
  with (
    open(source, 'rb')
    if isinstance(source, pathlib.Path)
    else io.BytesIO(source)
  ) as file:
    for algorithm in ('sha256', 'md5'):
      file.seek(0)
      result[algorithm] = hashlib.file_digest(file, algorithm).hexdigest()
  return result


def first_line(error: BaseException) -> str:
  """What an error says, as one short line; its class where it is empty."""
  lines = str(error).strip().splitlines() or [type(error).__name__]
  return printable(lines[0])


def printable(message: object) -> str:
  """A message on one line: names in it may be a file's, to clear the screen."""
  return ''.join(c if c.isprintable() else '?' for c in str(message)[:300])
