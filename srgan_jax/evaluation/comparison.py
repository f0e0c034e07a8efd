"""Methods beside each other on regions of images (paper figures 2 and 6).

Regions are (left, top, width, height) in pixels of HR. Pixels are shown as
they are; the scores in brackets are those of the whole image.
"""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from srgan_jax.evaluation import metrics, panel
from srgan_jax.evaluation.methods import Method, bicubic
from srgan_jax.evaluation.pairs import Pair

Region = tuple[int, int, int, int]


def compare(
  rows: Sequence[tuple[Pair, Region]],
  methods: Sequence[Method],
  *,
  protocol: str = 'paper',
  zoom: int = 1,
) -> Image.Image:
  """Draws a row an image, a column a method, and the original, named, last.

  Args:
    rows: the images, and what is shown of each.
    methods: the columns, headed by their names.
    protocol: of the scores; its name is written below.
    zoom: how often every pixel is repeated along both axes.

  Raises:
    ValueError: naming the image, for a region that does not lie inside or an
      image that cannot be scored.
  """
  cells = []
  for pair, region in rows:
    cut = _cutter(pair, region)
    row = []
    for method in methods:
      sr = method.upscale(pair)
      scores = metrics.score(sr, pair.hr, protocol)
      row.append((cut(sr), panel.caption(scores)))
    cells.append([*row, (cut(pair.hr), pair.name)])
  headings = [*(method.name for method in methods), 'original']
  measures = ' / '.join(name.upper() for name in scores)
  footer = f'in brackets: {measures} of the whole image, protocol {protocol}'
  return panel.panel(headings, cells, zoom=zoom, footer=footer)


def whole(pair: Pair) -> Region:
  """All of the image."""
  height, width = pair.hr.shape[:2]
  return 0, 0, width, height


def centre(pair: Pair, largest: int) -> Region:
  """The middle, at most `largest` pixels a side."""
  height, width = (min(side, largest) for side in pair.hr.shape[:2])
  top, left = (pair.hr.shape[0] - height) // 2, (pair.hr.shape[1] - width) // 2
  return left, top, width, height


def hardest(pair: Pair, side: int) -> Region:
  """The square of `side` pixels in which bicubic misses the original most."""
  height, width = (min(length, side) for length in pair.hr.shape[:2])
  error = (bicubic(pair).astype(np.float64) - pair.hr) ** 2
  sums = np.pad(error.sum(-1).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
  inside = (
    sums[height:, width:]
    - sums[:-height, width:]
    - sums[height:, :-width]
    + sums[:-height, :-width]
  )
  top, left = np.unravel_index(inside.argmax(), inside.shape)
  return int(left), int(top), width, height


def _cutter(pair: Pair, region: Region) -> Callable[[np.ndarray], np.ndarray]:
  left, top, width, height = region
  rows, columns = pair.hr.shape[:2]
  if (
    min(left, top) < 0
    or min(width, height) < 1
    or left + width > columns
    or top + height > rows
  ):
    raise ValueError(
      f'{pair.name} has {columns}x{rows} pixels; the region {width}x{height} '
      f'at {left},{top} is not inside'
    )
  return lambda image: image[top : top + height, left : left + width]
