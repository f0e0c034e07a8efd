"""Upscaling: a generator on pictures of any size, many of them, and videos.

Importing it imports no JAX: what it offers is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from srgan_jax.upscaling.loading import load, read_generator
  from srgan_jax.upscaling.options import Precision
  from srgan_jax.upscaling.upscaler import Upscaler

__all__ = ['Precision', 'Upscaler', 'load', 'read_generator']

_MODULES = {
  'Precision': 'options',
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
