"""SRGAN in JAX: photo-realistic x4 super-resolution of single images.

Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a
Generative Adversarial Network", CVPR 2017 (arXiv:1609.04802).

  import srgan_jax

  srgan_jax.list_models()  # what ships, with licences and figures
  upscale = srgan_jax.load()  # the default; or a name, or a weights file
  sr = upscale(lr)  # uint8 [H, W, 3], 0..255 -> uint8 [4H, 4W, 3]

  lr = srgan_jax.imresize(hr, 1 / 4)  # MATLAB's, byte for byte
  srgan_jax.score(sr, hr, 'paper')  # {'psnr': dB, 'ssim': ...}

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
  from srgan_jax.evaluation import score
  from srgan_jax.imaging import imresize
  from srgan_jax.pretrained.catalogue import list_models
  from srgan_jax.upscaling import load

__version__ = '0.1.0'

SCALE = 4  # HR pixels per LR pixel along each side, as in the paper

# What is offered, and where it is.
_PLACES = {
  'evaluation': 'srgan_jax.evaluation',
  'imaging': 'srgan_jax.imaging',
  'imresize': 'srgan_jax.imaging',
  'list_models': 'srgan_jax.pretrained.catalogue',
  'load': 'srgan_jax.upscaling',
  'score': 'srgan_jax.evaluation',
}

__all__ = [
  '__version__',
  'evaluation',
  'imaging',
  'imresize',
  'list_models',
  'load',
  'score',
]


def __getattr__(name: str) -> Any:
  """Imports what is asked for on first use (PEP 562)."""
  if name not in _PLACES:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  module = importlib.import_module(_PLACES[name])
  return module if _PLACES[name].endswith(f'.{name}') else getattr(module, name)


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
