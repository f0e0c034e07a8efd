"""Upscaling: a generator on pictures of any size, many of them, and videos.

Importing it imports no JAX: what can be asked for stands here, for the
commands' help, and the rest is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
  from srgan_jax.upscaling.loading import load, read_generator
  from srgan_jax.upscaling.upscaler import Upscaler

__all__ = ['Precision', 'Upscaler', 'load', 'read_generator']

Precision = Literal['float32', 'bfloat16']

MAX_MEGAPIXELS = 1000  # of a result: 3 GB of 8-bit RGB
MAX_SCALE = 64  # three times x4

# The suffix of each format that can be asked for.
FORMATS = {
  **{form: f'.{form}' for form in ('jpg', 'png', 'webp', 'tif', 'bmp', 'avif')},
  **{'jpeg': '.jpg', 'tiff': '.tif'},
}
_MODULES = {
  'Upscaler': 'upscaler',
  'load': 'loading',
  'read_generator': 'loading',
}


def __getattr__(name: str) -> Any:
  """Imports what is asked for on first use (PEP 562)."""
  if name not in _MODULES:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  module = importlib.import_module(f'{__name__}.{_MODULES[name]}')
  return getattr(module, name)
