"""Safetensors of others."""

import functools
import pathlib

import numpy as np

from srgan_jax import weights
from srgan_jax.convert.readers.stored import Stored
from srgan_jax.weights import safetensors_file


def read(path: pathlib.Path) -> dict[str, Stored]:
  """The tensors by name.

  Raises:
    ValueError: where it is cut off, damaged, or this package's own.
  """
  try:
    metadata, tensors = safetensors_file.index(path)
  except ValueError as error:
    raise ValueError(f'it is cut off or damaged ({error})') from error
  if metadata.get('format') == weights.FORMAT:
    kind = metadata.get('kind', '')[:100]
    raise ValueError(f"it is this project's already (a {kind})")
  return {
    name: Stored(shape, dtype, functools.partial(_read_one, path, name))
    for name, (dtype, shape) in tensors.items()
  }


def _read_one(path: pathlib.Path, name: str) -> np.ndarray:
  return safetensors_file.read(path, [name])[name]
