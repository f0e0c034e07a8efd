"""Safetensors from anywhere: an index first, then the tensors asked for.

The library checks that the tensors lie one behind the other and fill the file,
so that none is larger than it. What it does not limit is the header, which is
parsed whole: a claim of 100 MB is refused here before that.
"""

from collections.abc import Iterable
import os
import struct

import jax.numpy as jnp
import numpy as np
import safetensors

from srgan_jax import files

# A generator of 128 blocks has 200 kB, with the config and figures of its
# training.
_MAX_HEADER = 2**22
_MAX_NAME = 500
_MAX_TENSORS = 20_000
_DTYPES: dict[str, np.dtype] = {
  'F64': np.dtype(np.float64),
  'F32': np.dtype(np.float32),
  'F16': np.dtype(np.float16),
  'BF16': jnp.dtype(jnp.bfloat16),
  'I64': np.dtype(np.int64),
  'I32': np.dtype(np.int32),
  'I16': np.dtype(np.int16),
  'I8': np.dtype(np.int8),
  'U8': np.dtype(np.uint8),
  'BOOL': np.dtype(np.bool_),
}

Shape = tuple[int, ...]


def index(
  path: files.Path,
) -> tuple[dict[str, str], dict[str, tuple[np.dtype, Shape]]]:
  """What a file holds: its metadata, and each tensor's dtype and shape.

  Raises:
    ValueError: one line without the file's name, where it is cut off, no
      safetensors, or holds numbers that NumPy lacks, such as float8.
  """
  with open(path, 'rb') as file:
    head = file.read(8)
    length = struct.unpack('<Q', head)[0] if len(head) == 8 else 0
    if length > min(_MAX_HEADER, os.fstat(file.fileno()).st_size):
      raise ValueError(f'it claims a header of {length} bytes')
    _check_depth(file.read(length))
  try:
    with safetensors.safe_open(path, framework='numpy') as opened:
      tensors: dict[str, tuple[np.dtype, Shape]] = {}
      names = list(opened.keys())
      if len(names) > _MAX_TENSORS or max(map(len, names), default=0) > (
        _MAX_NAME
      ):
        raise ValueError(f'it has {len(names)} tensors, or names too long')
      for name in names:
        part = opened.get_slice(name)
        stated = part.get_dtype()
        if stated not in _DTYPES:
          raise ValueError(f'its {name} is {stated}, which is not read')
        tensors[name] = _DTYPES[stated], tuple(part.get_shape())
      return dict(opened.metadata() or {}), tensors
  except (safetensors.SafetensorError, OverflowError, TypeError) as error:
    raise ValueError(str(error).splitlines()[0][:200]) from error


def read(path: files.Path, names: Iterable[str]) -> dict[str, np.ndarray]:
  """Tensors of a file that `index` has seen."""
  with safetensors.safe_open(path, framework='numpy') as file:
    return {name: file.get_tensor(name) for name in names}


def _check_depth(header: bytes) -> None:
  """Refuses what is no JSON object of objects, before the library parses it."""
  try:
    found = files.parse_json(header)
  except ValueError as error:
    raise ValueError(f'its header is no JSON ({error})') from None
  if not isinstance(found, dict):
    raise ValueError('its header is no JSON object')
