"""Figure 5: how every method's scores are distributed, and their means.

A panel a set, a column a method, a row a score; the darker a field, the larger
the share of the method's scores; red is the mean with its interval.
"""

from collections.abc import Sequence
import pathlib
from typing import Any

from matplotlib import figure as figure_lib
from matplotlib import rc_context
import numpy as np

from srgan_jax import files
from srgan_jax.mos.results import SetResult

_RED = '#d7191c'
_SCALE = ('1 bad', '2 poor', '3 fair', '4 good', '5 excellent')


# The same scores make the same file, and a $ in a name is a letter.
@rc_context({'svg.hashsalt': 'srgan_jax', 'text.parse_math': False})
def draw(results: Sequence[SetResult], *paths: pathlib.Path) -> None:
  """Draws a figure into files of the formats that their names end in."""
  widths = [len(result.methods) for result in results]
  shares = [_shares(result.scores) for result in results]
  # Without pyplot: nothing global, and no display is looked for.
  figure = figure_lib.Figure(
    figsize=(2.2 + sum(0.62 * width + 0.3 for width in widths), 4.6),
    layout='constrained',
  )
  grid = figure.add_gridspec(1, len(results) + 1, width_ratios=[*widths, 0.35])
  largest = max(float(of_set.max()) for of_set in shares)
  for column, result in enumerate(results):
    axis = figure.add_subplot(grid[0, column])
    axis.set_yticks(range(1, 6), [] if column else _SCALE)
    field = axis.imshow(
      shares[column],
      origin='lower',
      extent=(-0.5, widths[column] - 0.5, 0.5, 5.5),
      aspect='auto',
      cmap='Blues',
      vmin=0,
      vmax=largest,
      interpolation='nearest',
    )
    _mark(result, axis)
  bar = figure.colorbar(field, cax=figure.add_subplot(grid[0, -1]))
  bar.set_label("share of the method's scores")
  bar.ax.yaxis.set_major_formatter(lambda value, _: f'{value:.0%}')
  figure.legend(
    *axis.get_legend_handles_labels(),
    loc='outside lower center',
    ncols=2,
    frameon=False,
  )
  for path in paths:
    kind = path.suffix[1:]
    metadata = {'Date': None} if kind == 'svg' else None
    with files.replacing(path) as beside:
      figure.savefig(beside, format=kind, dpi=150, metadata=metadata)


def _shares(scores: np.ndarray) -> np.ndarray:
  """The shares, 0..1, of 1..5 in each method's scores: float [5, method]."""
  given = np.arange(1, 6)[:, np.newaxis, np.newaxis, np.newaxis] == scores
  counts = given.sum((1, 2))
  return np.asarray(counts / counts.sum(0))


def _mark(result: SetResult, axis: Any) -> None:
  """Draws a set's means, their intervals, and names."""
  x, means = np.arange(len(result.means)), result.means
  # One rater has no interval: None becomes NaN.
  low = np.array([mean.low for mean in means], float)
  high = np.array([mean.high for mean in means], float)
  axis.vlines(x, low, high, color=_RED, label='95 % interval')
  axis.hlines(
    [mean.mean for mean in means],
    *(x - 0.32, x + 0.32),
    color=_RED,
    linewidth=3,
    label='mean opinion score',
  )
  raters = max(mean.raters for mean in result.means)
  caption = f'images: {result.images}, raters: {raters}'
  axis.set_title(f'{result.name}\n', fontsize=12, fontweight='bold')
  axis.text(
    *(0.5, 1.03, caption),
    transform=axis.transAxes,
    ha='center',
    fontsize=9,
    color='0.35',
  )
  axis.set_xticks(x, result.methods, rotation=45, ha='right')
  axis.set_xticks(x[:-1] + 0.5, minor=True)
  axis.grid(which='minor', axis='x', color='0.85', linewidth=0.8)
  axis.tick_params(which='both', length=0)
  for side in axis.spines.values():
    side.set_color('0.6')
