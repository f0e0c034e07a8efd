"""PSNR and SSIM under three named protocols (paper section 3.1), in NumPy.

A figure means nothing without its protocol: the same two images score up to
0.05 apart in SSIM. Each protocol first removes a border of 4 pixels.

| name    | luma                        | PSNR      | SSIM                     |
|---------|-----------------------------|-----------|--------------------------|
| `paper` | BT.709, rounded to 8 bits   | of luma   | Daala codec's dump_ssim  |
| `y`     | BT.601, 16..235, unrounded  | of luma   | 11x11 Gaussian, MATLAB's |
| `rgb`   | none                        | of RGB    | none                     |

Images are uint8 [H, W, 3], RGB; grayscale ones as three equal channels. The
peak value is 255 throughout. A data set's figure is the mean over its images.
"""

from collections.abc import Iterable, Iterator, Sequence
import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from srgan_jax.imaging import color

PROTOCOLS = ('paper', 'y', 'rgb')
BORDER = 4

_PEAK = 255
_C1 = (0.01 * _PEAK) ** 2
_C2 = (0.03 * _PEAK) ** 2
_WINDOW_RADIUS = 5  # of the `y` protocol's 11x11 window
_WINDOW_SIGMA = 1.5
_TAPS_SUM = 256  # Daala's window has integer taps that sum to this


def score(sr: np.ndarray, hr: np.ndarray, protocol: str) -> dict[str, float]:
  """Compares a super-resolved image with its original.

  Args:
    sr: uint8 [H, W, 3], the super-resolved image.
    hr: uint8 [H, W, 3], the original.
    protocol: 'paper', 'y' or 'rgb'; see the module's table.

  Returns:
    'psnr' in dB (inf for equal images); except for 'rgb', 'ssim' (at most 1).

  Raises:
    ValueError: for an unknown protocol, another dtype or shape, images of
      different shapes, or images too small for the protocol's window.
  """
  sr, hr = np.asarray(sr), np.asarray(hr)
  if protocol not in PROTOCOLS:
    names = ', '.join(PROTOCOLS)
    raise ValueError(f'protocol must be one of {names}, not {protocol!r}')
  check_pair(sr, hr, f'protocol {protocol!r}', least_side(protocol))
  sr, hr = (x[BORDER:-BORDER, BORDER:-BORDER] for x in (sr, hr))
  match protocol:
    case 'paper':
      sr, hr = color.luma_bt709(sr), color.luma_bt709(hr)
      return {'psnr': _psnr(sr, hr), 'ssim': ssim_daala(sr, hr)}
    case 'y':
      sr, hr = color.luma_bt601(sr), color.luma_bt601(hr)
      return {'psnr': _psnr(sr, hr), 'ssim': ssim_gaussian(sr, hr)}
    case _:
      return {'psnr': _psnr(sr, hr)}


def least_side(protocol: str) -> int:
  """The fewest pixels of an image's side that a protocol can score."""
  window = 2 * _WINDOW_RADIUS + 1 if protocol == 'y' else 1
  return 2 * BORDER + window


def ssim_gaussian(x: np.ndarray, y: np.ndarray) -> float:
  """SSIM with an 11x11 Gaussian window that stays inside the image.

  Wang et al. 2004 and their MATLAB code `ssim_index`: sigma 1.5, weights that
  sum to 1, the mean over the valid region.

  Args:
    x: [H, W], H and W at least 11, values in [0, 255].
    y: the same shape.
  """
  taps = gaussian(_WINDOW_RADIUS, _WINDOW_SIGMA)
  moments = _window_sums(_moments(x, y), taps / taps.sum())
  return float(_ssim(moments).mean())


def ssim_daala(x: np.ndarray, y: np.ndarray) -> float:
  """SSIM as the Daala codec's `tools/dump_ssim.c` measures it on luma.

  The Gaussian window grows with the image's height. At the image's borders,
  sums are divided by the part of the window's weight that lies inside, and
  the mean over the image is weighted by that part.

  Args:
    x: [H, W], values in 0..255.
    y: the same shape.
  """
  taps = daala_taps(*x.shape)
  reach = len(taps) // 2
  pad = ((reach, reach), (reach, reach))
  # Zeros outside add nothing. Every product of integers below is exact.
  sums = _window_sums((np.pad(plane, pad) for plane in _moments(x, y)), taps)
  rows, columns = (
    np.convolve(np.ones(length), taps)[reach : reach + length]
    for length in x.shape
  )
  weight = np.outer(rows, columns)
  ssim = _ssim([plane / weight for plane in sums])
  return float((ssim * weight).sum() / weight.sum())


def daala_taps(height: int, width: int) -> np.ndarray:
  """Daala's integer Gaussian window of one axis, for an image of that size.

  Sigma is height * 1.5 / 256, for both axes; the window reaches less far than
  the shorter side.

  Returns:
    float64 [2 * reach + 1], integers that sum to 256.
  """
  sigma = height * (1.5 / 256)
  # The reach ends where a tap would round to 0.
  fraction = math.sqrt(math.pi / 2) * sigma / _TAPS_SUM
  reach = 0
  if fraction < 1:
    reach = math.floor(sigma * math.sqrt(-2 * math.log(fraction)))
  reach = min(reach, min(height, width) - 1)
  peak = _TAPS_SUM / (math.sqrt(2 * math.pi) * sigma)
  taps = np.floor(peak * gaussian(reach, sigma) + 0.5)
  taps[reach] = 0
  taps[reach] = _TAPS_SUM - taps.sum()
  return taps


def gaussian(reach: int, sigma: float) -> np.ndarray:
  """A Gaussian of height 1, float64 [2 * reach + 1]."""
  return np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))


def check_pair(
  sr: np.ndarray, hr: np.ndarray, metric: str, least: int = 1
) -> None:
  """Refuses what is not two uint8 images [H, W, 3] of one size.

  Raises:
    ValueError: naming the dtype and the shape, or the metric, where a side has
      fewer than `least` pixels.
  """
  for name, image in (('sr', sr), ('hr', hr)):
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
      raise ValueError(
        f'{name} must be uint8 [H, W, 3], not {image.dtype} {list(image.shape)}'
      )
  if sr.shape != hr.shape:
    raise ValueError(
      'sr and hr must have the same shape, not '
      f'{list(sr.shape)} and {list(hr.shape)}'
    )
  if min(sr.shape[:2]) < least:
    raise ValueError(
      f'{metric} needs images of at least {least}x{least} pixels, not '
      f'{sr.shape[0]}x{sr.shape[1]}'
    )


def _psnr(x: np.ndarray, y: np.ndarray) -> float:
  error = np.mean((x.astype(np.float64) - y.astype(np.float64)) ** 2)
  return 10 * math.log10(_PEAK**2 / error) if error else math.inf


def _moments(x: np.ndarray, y: np.ndarray) -> Iterator[np.ndarray]:
  """x, y, x^2 + y^2 and xy: SSIM needs only the sum of the two variances."""
  x, y = x.astype(np.float64), y.astype(np.float64)
  yield from (x, y, x * x + y * y, x * y)


def _window_sums(
  planes: Iterable[np.ndarray], taps: np.ndarray
) -> list[np.ndarray]:
  """Weighted sums of [H, W] planes over every window that lies inside."""
  size = len(taps)
  return [
    sliding_window_view(sliding_window_view(plane, size, 0) @ taps, size, 1)
    @ taps
    for plane in planes
  ]


def _ssim(means: Sequence[np.ndarray]) -> np.ndarray:
  """SSIM per window from the windows' means of `_moments`."""
  x, y, squares, product = means
  xy, xx_yy = x * y, x * x + y * y
  luminance = (2 * xy + _C1) / (xx_yy + _C1)
  structure = (2 * (product - xy) + _C2) / (squares - xx_yy + _C2)
  return luminance * structure
