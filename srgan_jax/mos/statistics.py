"""Statistics of scores: means, tests, reliability, agreement, outliers.

Scores of one set are an array [rater, image, method] of float, 1..5, NaN where
a rater did not score an image. A rater who stopped half-way counts with the
scores given.

- Mean opinion score (MOS): the mean over raters of each rater's mean over the
  images; its interval is Student's t over the raters' means: other raters of
  the same kind, these images.
- Methods are compared by the paired two-sided Wilcoxon signed-rank test
  (without zero differences), Holm's correction over all pairs of a set.
- Agreement is Krippendorff's alpha for ordinal data.
"""

from collections.abc import Sequence
import dataclasses
import itertools

import krippendorff
import numpy as np
from scipy import stats

LEVEL = 0.05
_FEWEST = 20  # scores, to say of a rater that they are odd


@dataclasses.dataclass(frozen=True)
class Mean:
  """A mean opinion score, its interval (None of one rater) and raters."""

  mean: float
  low: float | None
  high: float | None
  raters: int
  ratings: int


@dataclasses.dataclass(frozen=True)
class Comparison:
  """Two methods of a set, by their indices.

  The difference is the mean of the first less the second over the pairs; p is
  of the two-sided Wilcoxon signed-rank test, `corrected` by Holm; `ranks` is
  the direction that this p speaks of (`rank_sign`). Of a few large differences
  against many small ones, mean and ranks can have opposite signs.
  """

  first: int
  second: int
  difference: float
  pairs: int
  ranks: int
  p: float
  corrected: float

  @property
  def order(self) -> tuple[int, int] | None:
    """The better and the worse; None where mean and ranks do not agree."""
    if self.difference * self.ranks <= 0:
      return None
    pair = self.first, self.second
    return pair if self.difference > 0 else pair[::-1]


@dataclasses.dataclass(frozen=True)
class Reliability:
  """Versions scored twice by one rater.

  `same` is the share of pairs with equal scores, `within_one` of those at most
  1 apart; alpha is Krippendorff's. The difference is the mean over `raters` of
  each one's mean second less first, p of these raters' two-sided signed-rank
  test: whether raters in general drift.
  """

  pairs: int
  raters: int
  same: float
  within_one: float
  difference: float
  p: float
  alpha: float


@dataclasses.dataclass(frozen=True)
class Screening:
  """How a rater's scores relate to those of the others.

  The correlation is Pearson's with the means of the others, NaN where it does
  not exist; `above` and `below` are the shares of scores far off the mean
  (BT.500's P and Q); `reasons` are why the rater is an outlier.
  """

  ratings: int
  mean: float
  correlation: float
  above: float
  below: float
  reasons: tuple[str, ...]


def mean_score(scores: np.ndarray) -> Mean:
  """The MOS of one method on one set, with its 95 % interval cut to 1..5.

  `scores` are float [rater, image], NaN where there is none, not all NaN.
  """
  given = np.ma.masked_invalid(scores)
  means = given.mean(1).compressed()
  mean, count = float(means.mean()), len(means)
  ratings = int(given.count())
  if count == 1:
    return Mean(mean, None, None, count, ratings)
  error = means.std(ddof=1) / np.sqrt(count)
  half = float(stats.t.ppf(1 - LEVEL / 2, count - 1) * error)
  return Mean(
    mean, max(mean - half, 1.0), min(mean + half, 5.0), count, ratings
  )


def compare(scores: np.ndarray, pairing: str = 'raters') -> list[Comparison]:
  """Every two methods of a set.

  Args:
    scores: float [rater, image, method], NaN where there is none.
    pairing: 'raters': a pair is a rater's means over the images of which both
      versions were scored; 'ratings': a pair is a rater's two scores of an
      image. The second counts scores of one rater as if they came from
      different people.
  """
  found = []
  for first, second in itertools.combinations(range(scores.shape[2]), 2):
    given = np.ma.masked_invalid(scores[:, :, first] - scores[:, :, second])
    if pairing == 'raters':
      given = given.mean(1)
    if len(differences := given.compressed()):
      mean = float(differences.mean())
      ranks, p = rank_sign(differences), signed_rank(differences)
      found.append((first, second, mean, len(differences), ranks, p))
  corrected = holm([entry[-1] for entry in found])
  return [
    Comparison(*entry, corrected=p)
    for entry, p in zip(found, corrected, strict=True)
  ]


def best_of(
  group: Sequence[int], comparisons: Sequence[Comparison]
) -> set[int]:
  """The methods significantly above all others of a group: table 1's star.

  Above are those that both the mean difference and the signed ranks favour.

  Args:
    group: indices of methods; of a single one there is no best.
    comparisons: of `compare`.
  """
  if len(group) == 1:
    return set()
  above = {c.order for c in comparisons if c.corrected < LEVEL}
  return {
    one
    for one in group
    if all((one, other) in above for other in group if other != one)
  }


def signed_rank(differences: np.ndarray) -> float:
  """The two-sided Wilcoxon signed-rank test's p; 1 where all are equal.

  Args:
    differences: float [n], finite. Means of the same numbers in another order
      differ in the last bits, which are not differences: 1e-9 is a zero.
  """
  differences = _without_zeros(differences)
  if not len(differences):
    return 1.0
  return float(stats.wilcoxon(differences).pvalue)


def rank_sign(differences: np.ndarray) -> int:
  """The sign of W+ - W-, which `signed_rank` tests: 1, 0 or -1."""
  differences = _without_zeros(differences)
  ranks = stats.rankdata(abs(differences))
  return int(np.sign((np.sign(differences) * ranks).sum()))


def _without_zeros(differences: np.ndarray) -> np.ndarray:
  differences = np.round(differences, 9)
  return differences[differences != 0]


def holm(p_values: Sequence[float]) -> list[float]:
  """Holm's step-down correction: p values to hold against one level."""
  p = np.asarray(p_values, float)
  order = np.argsort(p, kind='stable')
  factors = len(p) - np.arange(len(p))
  corrected = np.empty_like(p)
  corrected[order] = np.maximum.accumulate(np.minimum(p[order] * factors, 1))
  return [float(value) for value in corrected]


def alpha(units: np.ndarray) -> float:
  """Krippendorff's alpha for ordinal data: 1 is agreement, 0 is chance.

  Args:
    units: float [unit, rater], whole numbers, NaN where there is none.

  Returns:
    NaN where nothing is scored twice or all scores are one number.
  """
  try:
    return float(krippendorff.alpha(units.T, level_of_measurement='ordinal'))
  except ValueError:  # it has no value
    return float('nan')


def reliability(first: np.ndarray, second: np.ndarray) -> Reliability | None:
  """How far raters agree with themselves; None where nothing was scored twice.

  `first` and `second` are float [version, rater]: the scores of a first and of
  a second showing, NaN where there is none.
  """
  differences = np.ma.masked_invalid(second - first)
  if not differences.count():
    return None
  by_rater = differences.mean(0).compressed()
  twice = ~differences.mask
  return Reliability(
    pairs=int(differences.count()),
    raters=len(by_rater),
    same=float((differences == 0).mean()),
    within_one=float((abs(differences) <= 1).mean()),
    difference=float(by_rater.mean()),
    p=signed_rank(by_rater),
    alpha=alpha(np.stack([first[twice], second[twice]], axis=1)),
  )


def screen(units: np.ndarray) -> list[Screening]:
  """Which raters are outliers, by two rules.

  'BT.500': ITU-R BT.500's screening. A score is far off where it lies at least
  2 standard deviations from the image's mean (sqrt(20) where the kurtosis is
  not between 2 and 4). A rater is out with more than 5 % far off, nearly as
  many above as below: |P - Q| / (P + Q) < 0.3.

  'unrelated': the rater's scores do not rise with the means of the others'
  (Pearson's correlation, one-sided p >= 0.05). It finds those whose odd scores
  lie on one side, whom BT.500 lets pass.

  Of fewer than 20 scores neither is said.

  Args:
    units: float [unit, rater], a unit being a version; NaN where there is none.
  """
  all_scores = np.ma.masked_invalid(units)
  scores = all_scores[all_scores.count(1) > 1]
  counts = scores.count(1, keepdims=True)
  others = (scores.sum(1, keepdims=True) - scores) / (counts - 1)
  deviations = scores - scores.mean(1, keepdims=True)
  second, fourth = (
    (deviations**power).mean(1, keepdims=True) for power in (2, 4)
  )
  kurtosis = (fourth / second**2).filled(0)  # of equal scores there is none
  factor = np.where((kurtosis >= 2) & (kurtosis <= 4), 2, np.sqrt(20))
  limits = factor * scores.std(1, ddof=1, keepdims=True)
  far = (abs(deviations) >= limits) & (deviations != 0)

  found = []
  for rater in range(units.shape[1]):
    mine, count = scores[:, rater], scores[:, rater].count()
    above, below = (
      (far & side)[:, rater].filled(False).sum()
      for side in (deviations > 0, deviations < 0)
    )
    correlation, chance = _correlate(
      mine.compressed(), others[:, rater].compressed()
    )
    reasons = []
    if count >= _FEWEST:
      out = above + below
      if out / count > 0.05 and abs(above - below) / out < 0.3:
        reasons.append('BT.500')
      if not chance < LEVEL:
        reasons.append('unrelated')
    given = all_scores[:, rater].compressed()
    found.append(
      Screening(
        ratings=len(given),
        mean=float(given.mean()) if len(given) else float('nan'),
        correlation=correlation,
        above=above / max(count, 1),
        below=below / max(count, 1),
        reasons=tuple(reasons),
      )
    )
  return found


def _correlate(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
  """Pearson's correlation and its one-sided p; of constants it has none."""
  if len(x) < 3 or not np.ptp(x) or not np.ptp(y):
    return float('nan'), float('nan')
  result = stats.pearsonr(x, y, alternative='greater')
  return float(result.statistic), float(result.pvalue)
