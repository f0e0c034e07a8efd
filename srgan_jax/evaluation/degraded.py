"""Benchmarks whose LR suffered what photos do, the same for everybody.

LR, made by the exact resize or read, goes through the steps of a text such as
'noise10,jpeg75' in that order:

- jpegQ: Pillow's JPEG encoder at quality Q, chroma at half size (4:2:0), its
  standard tables, and its decoder;
- noiseN: Gaussian noise with a standard deviation of N levels of 255,
  independent in each pixel and channel, then rounded and clipped. It is drawn
  by NumPy's PCG64 from the image's name and the step's number alone.

Training has its own degradation (`data.degradation`).
"""

from collections.abc import Sequence
import dataclasses
import io
import os
import re
import zlib

import numpy as np
from PIL import Image

from srgan_jax.evaluation.benchmarks import Pair


def parse(text: str) -> list[str]:
  """The steps of 'jpeg75,noise10', in order.

  Raises:
    ValueError: naming what is no step.
  """
  steps = text.split(',')
  for step in steps:
    match = re.fullmatch(r'(?:jpeg|noise)(\d{1,3})', step)
    most = 95 if step.startswith('jpeg') else 255
    if not match or not 1 <= int(match[1]) <= most:
      raise ValueError(
        f'{step!r} is not jpeg1 to jpeg95, or noise1 to noise255'
      )
  return steps


def degrade(pair: Pair, steps: Sequence[str]) -> Pair:
  """The pair with its LR sent through the steps that `parse` returns."""
  lr = pair.lr
  for i, step in enumerate(steps):
    if step.startswith('jpeg'):
      lr = _compress(lr, int(step.removeprefix('jpeg')))
    else:
      seed = [zlib.crc32(os.fsencode(pair.name)), i]
      rng = np.random.default_rng(seed)
      lr = _add_noise(lr, int(step.removeprefix('noise')), rng)
  return dataclasses.replace(pair, lr=lr)


def _compress(image: np.ndarray, quality: int) -> np.ndarray:
  file = io.BytesIO()
  Image.fromarray(image).save(file, 'JPEG', quality=quality, subsampling=2)
  with Image.open(file) as decoded:
    return np.asarray(decoded.convert('RGB'))


def _add_noise(
  image: np.ndarray, levels: int, rng: np.random.Generator
) -> np.ndarray:
  noisy = image + levels * rng.standard_normal(image.shape)
  return np.floor(noisy + 0.5).clip(0, 255).astype(np.uint8)
