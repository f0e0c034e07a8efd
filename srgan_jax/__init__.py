"""SRGAN in JAX: photo-realistic x4 super-resolution of single images.

Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a
Generative Adversarial Network", CVPR 2017 (arXiv:1609.04802).

  import srgan_jax

  upscale = srgan_jax.load('generator.safetensors')
  sr = upscale(lr)  # uint8 [H, W, 3], 0..255 -> uint8 [4H, 4W, 3]

Images are arrays [height, width, channel], batches [N, H, W, C]; `lr` is
always the low-resolution image. Networks take the low-resolution image in
[0, 1] and give the high-resolution one in [-1, 1]; pictures outside them are
uint8 in 0..255 unless said otherwise.

Importing this package imports neither JAX nor TensorFlow: what it offers is
imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from srgan_jax import evaluation, imaging
  from srgan_jax.upscaling import load

__version__ = '0.1.0'

__all__ = ['__version__', 'evaluation', 'imaging', 'load']


def __getattr__(name: str) -> Any:
  """Imports what is asked for on first use (PEP 562)."""
  if name == 'load':
    return importlib.import_module('srgan_jax.upscaling').load
  if name in ('evaluation', 'imaging'):
    return importlib.import_module(f'srgan_jax.{name}')
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
