"""NIQE: how natural an image looks, by itself; smaller is better.

Mittal et al. 2013, 'Making a "Completely Blind" Image Quality Analyzer': luma,
normalised by its neighbourhood, and the products of neighbours are described by
asymmetric generalised Gaussians, in blocks of 96x96 pixels and of half of that
in the image at half its size. The figure is the distance of a Gaussian fitted
to the blocks from one of pristine photos, whose mean and covariance the authors
published. As in their MATLAB code, luma is rounded and parts of blocks at the
right and at the bottom are left out; no border is removed.
"""

from collections.abc import Iterator, Mapping
import dataclasses
from typing import Any

import jax
import numpy as np
from scipy import ndimage, special

from srgan_jax import files, weights
from srgan_jax.evaluation import metrics
from srgan_jax.imaging import color, resize
from srgan_jax.weights import architecture

_BLOCK = 96
# Of the file's tensors: 18 features at either size.
_SHAPES = {
  'mean': jax.ShapeDtypeStruct((36,), np.float32),
  'covariance': jax.ShapeDtypeStruct((36, 36), np.float32),
}
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))  # to four of a pixel's neighbours
_POWERS = np.arange(0.2, 10.001, 0.001)  # of the Gaussians that are tried
_RATIOS = special.gamma(2 / _POWERS) ** 2 / (
  special.gamma(1 / _POWERS) * special.gamma(3 / _POWERS)
)
_TAPS = metrics.gaussian(3, 7 / 6)
_TAPS /= _TAPS.sum()
# Flat areas have neither sign; as rounding decides, the signs of their rounding
# errors would change the figure by up to 4 %.
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class Niqe:
  """NIQE with the mean [36] and covariance [36, 36] of pristine photos.

  Both are float64, of the features of the photos' blocks.
  """

  mean: np.ndarray
  covariance: np.ndarray
  name = 'niqe'

  def __call__(self, sr: np.ndarray, hr: np.ndarray) -> float:
    """The figure of `sr`, uint8 [H, W, 3], at least two blocks of 96x96.

    `hr` is of the same shape, and not looked at: NIQE takes no reference.

    Raises:
      ValueError: for another dtype or shape, or where fewer than two blocks
        have any texture.
    """
    metrics.check_pair(sr, hr, self.name)
    luma = np.floor(color.luma_bt601(sr) + 0.5)
    rows, columns = (length // _BLOCK for length in luma.shape)
    luma = luma[: rows * _BLOCK, : columns * _BLOCK]
    features = np.empty((rows * columns, 0))
    for block in (_BLOCK, _BLOCK // 2) if rows * columns > 1 else ():
      described = [_describe(part) for part in _blocks(_normalise(luma), block)]
      features = np.concatenate([features, described], axis=1)
      luma = 255 * resize.imresize(luma / 255, 0.5, 'mirror')
    whole = features[~np.isnan(features).any(axis=1)]
    if len(whole) < 2:
      raise ValueError(
        f'niqe needs two blocks of {_BLOCK}x{_BLOCK} pixels with texture, an '
        f'image of {sr.shape[0]}x{sr.shape[1]} has {len(whole)}'
      )
    away = self.mean - np.nanmean(features, axis=0)
    covariance = (self.covariance + np.cov(whole, rowvar=False)) / 2
    return float(np.sqrt(away @ np.linalg.pinv(covariance) @ away))


def load(path: files.Path) -> Niqe:
  """Reads a file that `convert.metrics` wrote.

  Raises:
    ValueError: one line naming the file, where it is no such file.
  """
  tensors, _ = weights.load(path, 'niqe', _find_fault)
  return Niqe(*(tensors[name].astype(float) for name in _SHAPES))


def _find_fault(shapes: Mapping[str, Any], _: dict[str, Any]) -> str | None:
  return architecture.compare(shapes, _SHAPES)


def _normalise(luma: np.ndarray) -> np.ndarray:
  """Without the local mean, by the local deviation and 1."""
  mean, square = (_blur(plane) for plane in (luma, luma * luma))
  away = luma - mean
  away[np.abs(away) < _ROUNDING] = 0
  return away / (np.sqrt(np.abs(square - mean * mean)) + 1)


def _blur(plane: np.ndarray) -> np.ndarray:
  for axis in (0, 1):
    plane = ndimage.correlate1d(plane, _TAPS, axis, mode='nearest')
  return plane


def _blocks(plane: np.ndarray, side: int) -> Iterator[np.ndarray]:
  for top in range(0, plane.shape[0], side):
    for left in range(0, plane.shape[1], side):
      yield plane[top : top + side, left : left + side]


def _describe(block: np.ndarray) -> list[float]:
  """18 features; NaN where the block is flat."""
  shape, left, right = _fit(block)
  features = [shape, (left + right) / 2]
  for shift in _SHIFTS:
    shape, left, right = _fit(block * np.roll(block, shift, (0, 1)))
    mean = (right - left) * special.gamma(2 / shape) / special.gamma(1 / shape)
    features += [shape, mean, left, right]
  return features


def _fit(values: np.ndarray) -> tuple[float, float, float]:
  """Shape and two scales of the asymmetric generalised Gaussian of values."""
  with np.errstate(divide='ignore', invalid='ignore'):
    left, right = (
      np.sqrt(np.square(side).sum() / np.float64(side.size))
      for side in (values[values < 0], values[values > 0])
    )
    skew = left / right
    ratio = np.mean(np.abs(values)) ** 2 / np.mean(np.square(values))
    ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
  shape = _POWERS[np.argmin((_RATIOS - ratio) ** 2)]
  scale = np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
  return shape, left * scale, right * scale
