"""Safetensors from anywhere: their tensors as views of the mapped file.

The library checks that the tensors lie one behind the other and fill the file,
so that none is larger than it. What it does not limit is the header, which is
parsed whole: a claim of 100 MB is refused here before that.
"""

import os
import struct

import jax.numpy as jnp
import numpy as np
import safetensors

from srgan_jax import files

# A generator of 128 blocks has 200 kB, with the config and figures of its
# training.
_MAX_HEADER = 2**22
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


def read(path: files.Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
  """A file's metadata, and its tensors by name, whose numbers are not read yet.

  Raises:
    ValueError: one line without the file's name, where it is cut off, no
      safetensors, or holds numbers that NumPy lacks, such as float8.
  """
  with open(path, 'rb') as file:
    head = file.read(8)
    length = struct.unpack('<Q', head)[0] if len(head) == 8 else 0
    if length > min(_MAX_HEADER, os.fstat(file.fileno()).st_size):
      raise ValueError(f'it claims a header of {length} bytes')
    # Before the library parses it, for which it may be nested too deeply.
    header = files.parse_json(file.read(length))
  try:
    with safetensors.safe_open(path, framework='numpy'):
      pass
  except (safetensors.SafetensorError, OverflowError, TypeError) as error:
    raise ValueError(str(error).splitlines()[0][:200]) from error
  metadata = header.pop('__metadata__', None) or {}
  content = np.memmap(path, np.uint8, 'r')[8 + length :]
  tensors = {}
  for name, stated in header.items():
    if stated['dtype'] not in _DTYPES:
      raise ValueError(f'its {name} is {stated["dtype"]}, which is not read')
    begin, end = stated['data_offsets']
    values = content[begin:end].view(_DTYPES[stated['dtype']])
    tensors[name] = values.reshape(stated['shape'])
  return metadata, tensors
