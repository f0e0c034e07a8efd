"""PyTorch's files, without PyTorch: state dicts in zips, and those before 1.6.

A zip has a pickle, `data.pkl`, which refers to storages, members of their own
that are not compressed. An older file is a row of pickles with the storages
behind them. A tensor is a dense view of a storage; where each lies in the file
is known before any is read.
"""

from collections.abc import Mapping
import dataclasses
import io
import math
import os
import pathlib
import struct
from typing import Any
import zipfile

import jax.numpy as jnp
import numpy as np

from srgan_jax.convert.readers import pickles
from srgan_jax.convert.readers.stored import Stored, check_names, first_line

_MAX_PICKLE = 2**22  # bytes; of large checkpoints it has half a megabyte
_MAGIC = 0x1950A86A20F9469CFC6C
_OLD_PICKLES = 4  # the magic number, a version, the system, the content
_MAX_NESTING = 4
# What training wraps around a state dict.
_WRAPPERS = ('state_dict', 'model', 'generator', 'model_state_dict')

_DTYPES: dict[str, Any] = {
  'DoubleStorage': np.float64,
  'FloatStorage': np.float32,
  'HalfStorage': np.float16,
  'BFloat16Storage': jnp.bfloat16,
  'LongStorage': np.int64,
  'IntStorage': np.int32,
  'ShortStorage': np.int16,
  'CharStorage': np.int8,
  'ByteStorage': np.uint8,
  'BoolStorage': np.bool_,
}


@dataclasses.dataclass(frozen=True)
class _Storage:
  """What a persistent id says: a row of numbers, by its key."""

  key: str
  dtype: np.dtype
  count: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
  """A view of a storage, of which nothing is checked."""

  storage: Any
  offset: Any
  shape: Any
  strides: Any


def read(path: pathlib.Path) -> dict[str, Stored]:
  """The tensors of a state dict, bare or inside a checkpoint.

  Raises:
    ValueError: where it is cut off, holds more than dense tensors, or none.
  """
  try:
    with _Bounded(path) as file:
      if file.read(2) == b'PK':
        content, places = _read_zip(file)
      else:
        content, places = _read_old(file)
  except pickles.Refused as error:
    raise ValueError(_why_refused(error.name)) from error
  except ValueError:
    raise
  except Exception as error:  # any: damaged files fail in any way
    raise ValueError(
      f'it is cut off or damaged ({first_line(error)})'
    ) from error
  state = _find_state(content)
  check_names(state)
  arrays = {}
  for name, value in state.items():
    if not isinstance(value, _Tensor):
      raise ValueError(f'its {name} is not a dense tensor')
    arrays[name] = _store(path, name, value, places)
  return arrays


class _Bounded(io.BufferedReader):
  """A file of which nothing large is read at once, a zip's directory first."""

  def __init__(self, path: pathlib.Path):
    super().__init__(io.FileIO(path))

  def read(self, size: int | None = -1, /) -> bytes:
    """As any file's; ValueError for more than `_MAX_PICKLE` bytes."""
    if size is None or size < 0:
      size = os.fstat(self.fileno()).st_size - self.tell()
    if size > _MAX_PICKLE:
      raise ValueError(f'it has a part of {size} bytes beside its numbers')
    return super().read(size)


# Where each storage lies: first byte and number of bytes.
_Places = Mapping[str, tuple[int, int]]


def _read_zip(file: _Bounded) -> tuple[Any, _Places]:
  size = file.seek(0, io.SEEK_END)
  with zipfile.ZipFile(file) as archive:
    members = archive.infolist()
    pickled = [m for m in members if m.filename.endswith('data.pkl')]
    if len(pickled) != 1:
      raise ValueError(f'it is a zip with {len(pickled)} data.pkl, not one')
    folder = pickled[0].filename.removesuffix('data.pkl')
    places = {}
    for member in members:
      if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(
          f'its {member.filename[:100]} is compressed, as PyTorch never writes'
        )
      start = _content_start(file, member)
      if start + member.file_size > size:
        raise ValueError(f'its {member.filename[:100]} is cut off')
      name = member.filename.removeprefix(folder)
      places[name.removeprefix('data/')] = start, member.file_size
  if 'byteorder' in places and _part(file, places['byteorder']) != b'little':
    raise ValueError('it is of a big-endian machine')
  data = _part(file, places['data.pkl'])
  return pickles.load(data, _CALLS, _resolve), places


def _content_start(file: _Bounded, member: zipfile.ZipInfo) -> int:
  """Where a member's bytes begin: behind a header of its own."""
  header = _part(file, (member.header_offset, 30))
  names, extra = struct.unpack('<26xHH', header)
  return member.header_offset + len(header) + names + extra


def _part(file: _Bounded, place: tuple[int, int]) -> bytes:
  file.seek(place[0])
  return file.read(place[1])


def _read_old(file: _Bounded) -> tuple[Any, _Places]:
  size = file.seek(0, io.SEEK_END)
  file.seek(0)
  stream = io.BytesIO(file.read(_MAX_PICKLE))
  parts = [pickles.load(stream, _CALLS, _resolve) for _ in range(_OLD_PICKLES)]
  if parts[0] != _MAGIC:
    raise ValueError('it is cut off or damaged (no PyTorch file)')
  keys = pickles.load(stream, _CALLS)
  if type(keys) is not list or not all(type(key) is str for key in keys):
    raise ValueError('it is cut off or damaged (no list of storages)')
  sizes = _storage_sizes(parts[-1])
  places, start = {}, stream.tell()
  for key in keys:
    (count,) = struct.unpack('<q', _part(file, (start, 8)))
    length = count * sizes.get(key, 8)
    if count < 0 or start + 8 + length > size:
      raise ValueError(f'it is cut off or damaged (storage {key})')
    places[key] = start + 8, length
    start += 8 + length
  return parts[-1], places


def _storage_sizes(content: Any) -> dict[str, int]:
  """The bytes of a number, by storage, of all tensors; each is seen once."""
  sizes, queue, seen = {}, [content], set()
  while queue:
    value = queue.pop()
    if isinstance(value, _Tensor) and isinstance(value.storage, _Storage):
      sizes[value.storage.key] = value.storage.dtype.itemsize
    elif isinstance(value, dict | list | tuple) and id(value) not in seen:
      seen.add(id(value))
      queue += value.values() if isinstance(value, dict) else value
  return sizes


def _find_state(content: Any) -> dict[str, Any]:
  """The state dict in a checkpoint."""
  for _ in range(_MAX_NESTING):
    if not isinstance(content, dict):
      break
    inner = [content[w] for w in _WRAPPERS if isinstance(content.get(w), dict)]
    if not inner:
      break
    content = inner[0]
  if not isinstance(content, dict) or not all(
    isinstance(name, str) for name in content
  ):
    raise ValueError(f'it is a {type(content).__name__}, not a state dict')
  return content


def _store(
  path: pathlib.Path, name: str, tensor: _Tensor, places: _Places
) -> Stored:
  """A tensor with its place in the file.

  Raises:
    ValueError: where it is not a dense view inside its storage.
  """
  storage, shape, strides = tensor.storage, tensor.shape, tensor.strides
  numbers = (tensor.offset, *shape, *strides)
  if (
    not isinstance(storage, _Storage)
    or len(shape) != len(strides)
    or len(shape) > 8
    or not all(type(n) is int and 0 <= n < 2**40 for n in numbers)
  ):
    raise ValueError(f'its {name} is not a dense tensor')
  axes = sorted(range(len(shape)), key=lambda i: (strides[i], shape[i]))
  step = 1
  for axis in axes:
    if shape[axis] != 1 and strides[axis] != step and math.prod(shape):
      raise ValueError(f'its {name} of shape {shape} is no dense tensor')
    step *= shape[axis]
  start, length = places.get(storage.key, (0, 0))
  size = storage.dtype.itemsize
  if (tensor.offset + math.prod(shape)) * size > length:
    raise ValueError(
      f'its {name} of shape {shape} is larger than what is stored of it'
    )

  def load() -> np.ndarray:
    flat = np.fromfile(
      path,
      storage.dtype,
      count=math.prod(shape),
      offset=start + tensor.offset * size,
    )
    # From the slowest axis to the fastest, then as the tensor has them.
    order = axes[::-1]
    return flat.reshape([shape[i] for i in order]).transpose(np.argsort(order))

  return Stored(tuple(shape), storage.dtype, load)


def _resolve(pid: Any) -> _Storage:
  """The storage of ('storage', type, key, device, count[, view])."""
  _, kind, key, _, count, *view = pid
  if not isinstance(kind, pickles.Name) or kind.name not in _DTYPES:
    raise ValueError(f'it has a storage that is a {kind}')
  if type(key) is not str or type(count) is not int or any(view):
    raise ValueError('it has a storage of an unknown form')
  return _Storage(key, np.dtype(_DTYPES[kind.name]), count)


def _tensor(
  storage: Any, offset: Any, shape: Any, strides: Any, *_: Any
) -> Any:
  if type(shape) is not tuple or type(strides) is not tuple:
    raise ValueError('a tensor without a shape')
  return _Tensor(storage, offset, shape, strides)


def _ordered_dict(pairs: Any = ()) -> dict[str, Any]:
  # Python 2 wrote the pairs into the call.
  if not all(type(key) is str for key, _ in pairs):
    raise ValueError('an OrderedDict with a key that is no text')
  return dict(pairs)


_CALLS: pickles.Calls = {
  **{('torch', name): None for name in _DTYPES},
  ('collections', 'OrderedDict'): _ordered_dict,
  ('torch', 'Size'): tuple,
  ('torch._utils', '_rebuild_tensor'): _tensor,
  ('torch._utils', '_rebuild_tensor_v2'): _tensor,
  ('torch._utils', '_rebuild_parameter'): lambda data, *_: data,
}


def _why_refused(name: pickles.Name) -> str:
  if name.module == 'torch._utils':
    return (
      f'it holds a tensor that is not dense ({name.name}): sparse, quantized, '
      'or without numbers'
    )
  return (
    f'it holds a pickled {str(name)[:200]}, not only tensors, and nothing of '
    "it was run; where its code lies, save that module's .state_dict() and "
    'convert that'
  )
