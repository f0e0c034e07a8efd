"""PyTorch's files, without PyTorch: state dicts in zips, and those before 1.6.

A zip has a pickle, `data.pkl`, which refers to storages, members of their own
that are not compressed. An older file is a row of pickles with the storages
behind them. A tensor is a dense view of a storage.
"""

import collections
from collections.abc import Mapping
import math
import pathlib
import pickle
import struct
from typing import Any, BinaryIO, NamedTuple
import zipfile

import ml_dtypes
import numpy as np

# What training wraps around a state dict, and how deep.
_WRAPPERS = (
  *('state_dict', 'model', 'generator', 'model_state_dict'),
  *('params_ema', 'params'),  # BasicSR's
)
_MAX_NESTING = 4

_DTYPES = {
  'DoubleStorage': np.float64,
  'FloatStorage': np.float32,
  'HalfStorage': np.float16,
  'BFloat16Storage': ml_dtypes.bfloat16,
  'LongStorage': np.int64,
  'IntStorage': np.int32,
  'ShortStorage': np.int16,
  'CharStorage': np.int8,
  'ByteStorage': np.uint8,
  'BoolStorage': np.bool_,
}

# Where each storage lies: its first byte and number of bytes.
_Places = Mapping[str, tuple[int, int]]


class _Storage(NamedTuple):
  key: str
  dtype: np.dtype


class _Tensor(NamedTuple):
  """A view of a storage as the file states it, unchecked."""

  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
  """The tensors of a state dict, bare or inside a checkpoint, mapped.

  Raises:
    ValueError: where it holds more than dense tensors, or no state dict.
    Exception: of any kind, where it is cut off or damaged.
  """
  with open(path, 'rb') as file:
    is_zip = file.read(2) == b'PK'
    file.seek(0)
    content, places = _read_zip(file) if is_zip else _read_old(file)
  data = np.memmap(path, np.uint8, 'r')
  return {
    name: _view(data, name, tensor, places)
    for name, tensor in _find_state(content).items()
  }


class _Unpickler(pickle.Unpickler):
  """Builds plain values and descriptions of tensors, and calls nothing else."""

  def __init__(self, file: BinaryIO):
    super().__init__(file, encoding='utf-8')  # of what Python 2 wrote
    self.storages: dict[str, _Storage] = {}

  def find_class(self, module: str, name: str) -> Any:
    # Methods of this object: a pickle can set attributes of a function.
    known = {
      'collections.OrderedDict': collections.OrderedDict,
      'torch.Size': tuple,
      'torch._utils._rebuild_tensor': self._tensor,
      'torch._utils._rebuild_tensor_v2': self._tensor,
      'torch._utils._rebuild_parameter': self._parameter,
    }
    if module == 'torch' and name in _DTYPES:
      return np.dtype(_DTYPES[name])
    if f'{module}.{name}' in known:
      return known[f'{module}.{name}']
    if module == 'torch._utils':
      raise ValueError(
        f'it holds a tensor that is not dense ({name}): sparse, quantized, or '
        'without numbers'
      )
    raise ValueError(
      f'it holds a pickled {module[:100]}.{name[:100]}, not only tensors, and '
      "nothing of it was run; where its code lies, save that module's "
      '.state_dict() and convert that'
    )

  def persistent_load(self, pid: Any) -> _Storage:
    _, dtype, key, *_ = pid
    return self.storages.setdefault(key, _Storage(key, dtype))

  def _tensor(
    self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any
  ) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)

  def _parameter(self, data: Any, *_: Any) -> Any:
    return data


def _read_zip(file: BinaryIO) -> tuple[Any, _Places]:
  places = {}
  with zipfile.ZipFile(file) as archive:
    for member in archive.infolist():
      name = member.filename.partition('/')[2].removeprefix('data/')
      if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f'not of torch.save: its {name} is compressed')
      # A member's bytes follow its local header.
      file.seek(member.header_offset)
      extra = sum(struct.unpack('<26xHH', file.read(30)))
      places[name] = member.header_offset + 30 + extra, member.file_size
  if 'data.pkl' not in places:
    raise ValueError('not of torch.save: a zip without data.pkl')
  file.seek(places['data.pkl'][0])
  return _Unpickler(file).load(), places


def _read_old(file: BinaryIO) -> tuple[Any, _Places]:
  for _ in range(3):  # a magic number, a version, the system
    _Unpickler(file).load()
  unpickler = _Unpickler(file)
  content = unpickler.load()
  places = {}
  for key in _Unpickler(file).load():
    count = int.from_bytes(file.read(8), 'little')
    length = count * unpickler.storages[key].dtype.itemsize
    places[key] = file.tell(), length
    file.seek(length, 1)
  return content, places


def _find_state(content: Any) -> dict[str, _Tensor]:
  """The state dict in a checkpoint."""
  for _ in range(_MAX_NESTING):
    if isinstance(content, dict):
      inner = [content[w] for w in _WRAPPERS if w in content]
      inner += _only_state(content)
      content = next((v for v in inner if isinstance(v, dict)), content)
  if not isinstance(content, dict) or not all(
    isinstance(name, str) for name in content
  ):
    raise ValueError(f'it is a {type(content).__name__}, not a state dict')
  for name, value in content.items():
    if isinstance(value, dict):
      raise ValueError(
        f'it is a checkpoint whose {name} is a dict: save that alone and '
        'convert that'
      )
    if not isinstance(value, _Tensor):
      raise ValueError(f'its {name} is not a dense tensor')
  return content


def _only_state(checkpoint: dict[Any, Any]) -> list[Any]:
  """What alone holds tensors in a checkpoint, if there is one such thing."""
  found = [
    value
    for value in checkpoint.values()
    if isinstance(value, _Tensor)
    or (
      isinstance(value, dict)
      and any(isinstance(inner, _Tensor) for inner in value.values())
    )
  ]
  return found if len(found) == 1 else []


def _view(
  data: np.ndarray, name: str, tensor: _Tensor, places: _Places
) -> np.ndarray:
  """A tensor as a view of the file's bytes."""
  (key, dtype), offset, shape, strides = tensor
  count = math.prod(shape)
  # From its first number to its last; as many as it has where it is dense.
  span = count and 1 + sum(
    (side - 1) * stride for side, stride in zip(shape, strides, strict=True)
  )
  if min((offset, *shape, *strides)) < 0 or span != count:
    raise ValueError(f'its {name} of shape {shape} is no dense tensor')
  start, length = places[key]
  first, size = start + offset * dtype.itemsize, count * dtype.itemsize
  stored = data[first : min(first + size, start + length)]
  if len(stored) != size:
    raise ValueError(
      f'it is cut off or damaged (less is stored of {name} than {shape})'
    )
  return np.lib.stride_tricks.as_strided(
    stored.view(dtype),
    shape,
    [stride * dtype.itemsize for stride in strides],
    writeable=False,
  )
