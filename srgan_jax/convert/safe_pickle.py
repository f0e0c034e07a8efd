"""Reads pickles of dicts of NumPy arrays, and nothing else that pickles hold.

`pickle.load` runs whatever a file tells it to. Here the only names that a file
can reach are three stand-ins for what NumPy arrays are made of; they keep the
description of an array (shape, type, bytes), which is checked before an array
is made of it. NumPy's own reconstruction is never called: its `__setstate__`
trusts what it is given.
"""

import io
import pickle
import pickletools
from typing import Any, Literal

import numpy as np

# What an array of numbers may be made of, as its dtype's state spells it.
_TYPES = {f'{kind}{size}' for kind in 'iu' for size in (1, 2, 4, 8)} | {
  'f2',
  'f4',
  'f8',
}


def load(data: bytes) -> Any:
  """The content of a pickle: dicts, lists, tuples, plain values, arrays.

  Args:
    data: a pickle of protocol 3 or 4, its arrays written by NumPy 1 or 2.

  Returns:
    What was pickled, arrays as read-only NumPy arrays.

  Raises:
    ValueError: one line, for anything else; nothing of it has been run.
  """
  try:
    for opcode, argument, _ in pickletools.genops(data):
      # The memo is a list in C, as long as the largest number asked for.
      if opcode.name.endswith('PUT') and (argument or 0) > len(data):
        raise ValueError(f'it asks for a memo of {argument} entries')
    return _plain(_Unpickler(io.BytesIO(data)).load())
  except ValueError:
    raise
  except Exception as error:  # any: damaged bytes fail in any way
    detail = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise ValueError(f'not a pickle of NumPy arrays ({detail})') from error


class _Dtype:
  """Stands in for numpy.dtype."""

  def __init__(self, name: Any, align: Any, copy: Any) -> None:
    self.name = name
    self.order = '<'

  def __setstate__(self, state: Any) -> None:
    # (version, byte order, subtype, names, fields, size, alignment, flags):
    # numbers have no subtype, names or fields.
    self.order = state[1]
    if any(part is not None for part in state[2:5]):
      raise ValueError('a structured array')

  def resolve(self) -> np.dtype:
    if self.name not in _TYPES or self.order not in ('<', '>', '|', '='):
      raise ValueError(f'an array of {self.order!r} {self.name!r}')
    return np.dtype(self.order + self.name)


class _Array:
  """Stands in for numpy.ndarray."""

  array: np.ndarray

  def __setstate__(self, state: Any) -> None:
    _, shape, dtype, is_fortran, data = state
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
      raise ValueError('an array that does not consist of numbers')
    resolved = dtype.resolve()
    if not all(type(length) is int and length >= 0 for length in shape):
      raise ValueError(f'an array of shape {shape}')
    order: Literal['F', 'C'] = 'F' if is_fortran else 'C'
    self.array = np.frombuffer(data, resolved).reshape(shape, order=order)


def _reconstruct(subtype: Any, shape: Any, kind: Any) -> _Array:
  """Stands in for NumPy's function of this name: an array without content."""
  return _Array()


_ADMITTED = {
  ('numpy', 'dtype'): _Dtype,
  ('numpy', 'ndarray'): _Array,
  ('numpy.core.multiarray', '_reconstruct'): _reconstruct,
  ('numpy._core.multiarray', '_reconstruct'): _reconstruct,
}


class _Unpickler(pickle.Unpickler):
  def find_class(self, module: str, name: str) -> Any:
    try:
      return _ADMITTED[module, name]
    except KeyError:
      raise ValueError(
        f'it asks for {module}.{name}: only NumPy arrays are read, nothing of '
        'it was run'
      ) from None

  def persistent_load(self, pid: Any) -> Any:
    raise ValueError('it refers to another file')


def _plain(value: Any) -> Any:
  """The content with the stand-ins replaced by their arrays."""
  if isinstance(value, _Array):
    return value.array
  if type(value) is dict:
    return {_plain(key): _plain(item) for key, item in value.items()}
  if type(value) in (list, tuple):
    return type(value)(_plain(item) for item in value)
  if value is None or type(value) in (bool, int, float, str, bytes):
    return value
  raise ValueError(f'it holds a {type(value).__name__}')
