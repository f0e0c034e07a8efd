"""A method's figures on a benchmark: computed, as a table, as JSON and CSV.

Every figure stands under the name of its protocol. PSNR is in dB; SSIM is at
most 1; LPIPS is a distance, 0 for equal images. Means are over the images.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import math
from typing import Any, Protocol

import numpy as np

from srgan_jax import tables
from srgan_jax.evaluation import benchmarks, metrics
from srgan_jax.evaluation.benchmarks import Pair
from srgan_jax.evaluation.methods import Method


class Distance(Protocol):
  """A learned metric, such as `lpips.Lpips`."""

  @property
  def name(self) -> str:
    """What its figures are called, e.g. 'lpips_alex'."""

  def __call__(self, sr: np.ndarray, hr: np.ndarray) -> float:
    """The figure of two uint8 images [H, W, 3]."""


# What is measured: ('paper', 'psnr'), ('y', 'ssim'), ('lpips_alex', '').
Figure = tuple[str, str]
Scores = Mapping[Figure, float]


@dataclasses.dataclass(frozen=True)
class Report:
  """The figures of one method, by image.

  `left_out` has a line on each image that was left out, `unmeasured` one on
  each distance that an image has not: it is NaN.
  """

  method: Method
  images: Mapping[str, Scores]
  left_out: Sequence[str] = ()
  unmeasured: Sequence[str] = ()

  @property
  def mean(self) -> Scores:
    """The mean of every figure over the images that have it."""
    scores = list(self.images.values())
    result = {}
    for figure in scores[0]:
      values = [score[figure] for score in scores]
      known = [value for value in values if not math.isnan(value)]
      result[figure] = float(np.mean(known)) if known else math.nan
    return result

  def table(self) -> str:
    """A line an image and one for the mean, under the protocols' names."""
    rows = [*self.images.items(), ('mean', self.mean)]
    columns = [['protocol', 'image', *(name for name, _ in rows)]]
    for protocol, measure in self.mean:
      figures = [f'{scores[protocol, measure]:.4f}' for _, scores in rows]
      columns.append([protocol, measure.upper(), *figures])
    for i, column in enumerate(columns):
      width = max(map(len, column))
      align = str.rjust if i else str.ljust
      columns[i] = [align(cell, width) for cell in column]
    lines = ['  '.join(cells) for cells in zip(*columns, strict=True)]
    rule = '-' * len(lines[0])
    return '\n'.join([*lines[:2], rule, *lines[2:-1], rule, lines[-1]])

  def as_json(self) -> dict[str, Any]:
    """{'mean': {'paper': {'psnr', 'ssim'}, ..., 'lpips_alex'}, 'images': ...}.

    The PSNR of equal images is null, as is a distance that an image has not:
    JSON has neither infinity nor NaN.
    """
    lines = {'left_out': self.left_out, 'unmeasured': self.unmeasured}
    return {
      'method': self.method.name,
      'origin': self.method.origin,
      'mean': _nested(self.mean),
      'images': {name: _nested(scores) for name, scores in self.images.items()},
    } | {name: list(found) for name, found in lines.items() if found}

  def as_csv(self) -> str:
    """A header, a line an image and one for the mean: 'psnr_paper', ...."""
    rows = [
      [name, *(f'{value:.6f}' for value in scores.values())]
      for name, scores in [*self.images.items(), ('mean', self.mean)]
    ]
    return tables.as_csv([['image', *flat(self.mean)], *rows])


def load_distances(paths: Sequence[str]) -> list[Distance]:
  """LPIPS, DISTS and NIQE by the files that `srgan_jax.convert` wrote."""
  if not paths:
    return []
  # The networks, only where asked for.
  from srgan_jax import weights
  from srgan_jax.evaluation import dists, lpips, niqe

  readers: dict[str, Callable[[str], Distance]]
  readers = {'dists': dists.load, 'niqe': niqe.load}
  return [readers.get(weights.read_kind(p), lpips.load)(p) for p in paths]


def evaluate(
  method: Method,
  pairs: Iterable[Pair],
  protocols: Sequence[str],
  distances: Sequence[Distance] = (),
  left_out: list[str] | None = None,
  unmeasured: list[str] | None = None,
) -> Report:
  """Upscales every image and scores it.

  `left_out` takes a line on each image whose files cannot be read, and may hold
  some already; `unmeasured` one on each distance that cannot be measured.
  Without them either is an error.

  Raises:
    ValueError: naming the image that cannot be read or scored.
  """
  images: dict[str, Scores] = {}
  for pair in pairs:
    try:
      sr = method.upscale(pair)
    except ValueError as error:
      benchmarks.leave_out(error, left_out)
      continue
    try:
      scores = {
        (protocol, measure): value
        for protocol in protocols
        for measure, value in metrics.score(sr, pair.hr, protocol).items()
      }
    except ValueError as error:
      raise ValueError(f'{pair.name}: {error}') from error
    for metric in distances:
      scores[metric.name, ''] = _measure(metric, pair, sr, unmeasured)
    images[pair.name] = scores
  if left_out and not images:
    raise ValueError('; '.join(left_out))
  return Report(method, images, left_out or (), unmeasured or ())


def _measure(
  metric: Distance, pair: Pair, sr: np.ndarray, unmeasured: list[str] | None
) -> float:
  """A distance, or NaN with a line where an image has none."""
  try:
    return metric(sr, pair.hr)
  except ValueError as error:
    line = f'{pair.name}: {error}'
    if unmeasured is None:
      raise ValueError(line) from error
    unmeasured.append(f'{line}; the mean is over the others')
    return math.nan


def flat(scores: Scores) -> dict[str, float]:
  """The figures by one name each: 'psnr_paper', 'lpips_alex'."""
  return {
    f'{measure}_{protocol}' if measure else protocol: value
    for (protocol, measure), value in scores.items()
  }


def to_json(value: float) -> float | None:
  """A figure for JSON, which has neither infinity nor NaN: None is null."""
  return value if math.isfinite(value) else None


def from_json(name: str, number: float | None) -> float:
  """A figure by its name: null is a PSNR of equal images, else NaN."""
  if number is not None:
    return number
  return math.inf if name.startswith('psnr') else math.nan


def _nested(scores: Scores) -> dict[str, Any]:
  result: dict[str, Any] = {}
  for (protocol, measure), value in scores.items():
    number = to_json(value)
    if measure:
      result.setdefault(protocol, {})[measure] = number
    else:
      result[protocol] = number
  return result
