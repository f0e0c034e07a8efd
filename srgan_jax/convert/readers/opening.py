"""Arrays from files of others, whatever format they come in."""

from collections.abc import Mapping
import pathlib

import numpy as np

from srgan_jax import cli, weights
from srgan_jax.convert.readers import hdf5_files, rehearsal, torch_files
from srgan_jax.weights import safetensors_file

Arrays = dict[str, np.ndarray]

_MAX_VALUES = 2**25  # VGG19 has 20 million, krasserm's discriminator 24


def sniff(path: pathlib.Path) -> str | None:
  """What a file is by its first bytes, whatever its name says."""
  with open(path, 'rb') as file:
    head = file.read(16)
  if head.startswith(b'\x89HDF\r\n\x1a\n'):
    return 'HDF5'
  # A zip; before PyTorch 1.6 a pickle of this number.
  if head.startswith((b'PK\x03\x04', b'\x80\x02\x8a\x0al\xfc\x9cF\xf9')):
    return 'PyTorch'
  return 'safetensors' if head[8:9] == b'{' else None


def require_h5py(what: str) -> None:
  """Looks for what reads HDF5.

  Raises:
    ValueError: where h5py is not installed, so that `what` cannot be read.
  """
  try:
    import h5py  # noqa: F401
  except ImportError:
    install = cli.install('convert')
    raise ValueError(f'reading {what} takes h5py: {install}') from None


def read_hdf5(path: pathlib.Path) -> tuple[Arrays, hdf5_files.Names]:
  """As `hdf5_files.read`, once another process has read the file.

  Raises:
    ValueError: as `rehearsal.rehearse`, or where h5py is not installed.
  """
  require_h5py('it')
  rehearsal.rehearse('hdf5_files', path)
  return hdf5_files.read(path)


def read_state(path: pathlib.Path) -> Arrays:
  """The tensors of a PyTorch or safetensors file by name.

  Raises:
    ValueError: where it is neither, cut off, damaged, or this package's own.
  """
  match sniff(path):
    case 'PyTorch':
      rehearsal.rehearse('torch_files', path)
      return torch_files.read(path)
    case 'safetensors':
      try:
        metadata, arrays = safetensors_file.read(path)
      except ValueError as error:
        raise ValueError(f'it is cut off or damaged ({error})') from error
      if metadata.get('format') == weights.FORMAT:
        kind = metadata.get('kind', '')[:100]
        raise ValueError(f"it is this project's already (a {kind})")
      return arrays
    case _:
      raise ValueError('neither HDF5 nor a PyTorch nor a safetensors file')


def as_float32(
  arrays: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, Arrays]:
  """Copies of arrays by layer and part.

  Raises:
    ValueError: where they have too many values, or others than of floating
      point.
  """
  every = [
    (f'{layer}/{part}', array)
    for layer, parts in arrays.items()
    for part, array in parts.items()
  ]
  if (total := sum(array.size for _, array in every)) > _MAX_VALUES:
    raise ValueError(f'its arrays have {total} values, more than {_MAX_VALUES}')
  for name, array in every:
    # bfloat16 is of kind V.
    if array.dtype.kind != 'f' and array.dtype.name != 'bfloat16':
      raise ValueError(
        f'its {name} is {array.dtype} {array.shape}, not of floating-point '
        'numbers'
      )
  return {
    layer: {part: np.array(array, np.float32) for part, array in parts.items()}
    for layer, parts in arrays.items()
  }


def printable(message: object) -> str:
  """A message on one line: names in it may be a file's, to clear the screen."""
  return ''.join(c if c.isprintable() else '?' for c in str(message)[:300])
