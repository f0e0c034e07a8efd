"""Validation during training: the evaluator's scores on whole images."""

from collections.abc import Callable, Sequence
import dataclasses

import numpy as np

from srgan_jax.evaluation import metrics, panel
from srgan_jax.imaging import resize

Upscale = Callable[[np.ndarray], np.ndarray]  # uint8 LR to uint8 SR

PROTOCOLS = ('y', 'paper')
_SCALE = 4


@dataclasses.dataclass(frozen=True)
class Pair:
  """One image: uint8 HR [4h, 4w, 3] and the LR [h, w, 3] made from it."""

  name: str
  hr: np.ndarray
  lr: np.ndarray


def make_pair(name: str, image: np.ndarray, edge: resize.Edge) -> Pair:
  """Crops an image to a multiple of 4 and makes its LR by the exact resize."""
  height, width = (length // _SCALE * _SCALE for length in image.shape[:2])
  hr = image[:height, :width]
  return Pair(name, hr, resize.imresize(hr, 1 / _SCALE, edge))


def bicubic(lr: np.ndarray) -> np.ndarray:
  """The baseline: MATLAB's bicubic by 4."""
  return resize.imresize(lr, _SCALE)


def mean_scores(
  pairs: Sequence[Pair], upscaled: Sequence[np.ndarray]
) -> dict[str, float]:
  """Mean scores, e.g. `psnr_y` in dB and `ssim_paper`, over all pairs."""
  per_image = [
    {
      f'{name}_{protocol}': value
      for protocol in PROTOCOLS
      for name, value in metrics.score(sr, pair.hr, protocol).items()
    }
    for pair, sr in zip(pairs, upscaled, strict=True)
  ]
  return {
    name: float(np.mean([scores[name] for scores in per_image]))
    for name in per_image[0]
  }


def comparison(
  pairs: Sequence[Pair],
  columns: Sequence[tuple[str, Upscale]],
  *,
  largest: int = 384,
) -> np.ndarray:
  """Figure 2's panel: a row a pair, a column a method, the original last.

  Args:
    pairs: the images.
    columns: heading and upscaling function of each method.
    largest: shown is a central crop of at most this many pixels a side; the
      scores in brackets are the whole image's, protocol `paper`.

  Returns:
    uint8 [H, W, 3].
  """
  rows = []
  for pair in pairs:
    row = []
    for _, upscale in columns:
      sr = upscale(pair.lr)
      scores = metrics.score(sr, pair.hr, 'paper')
      row.append((_centre(sr, largest), panel.caption(scores)))
    rows.append([*row, (_centre(pair.hr, largest), '')])
  headings = [*(name for name, _ in columns), 'original']
  return np.asarray(panel.panel(headings, rows))


def _centre(image: np.ndarray, largest: int) -> np.ndarray:
  top, left = (max(0, (side - largest) // 2) for side in image.shape[:2])
  return image[top : top + largest, left : left + largest]
