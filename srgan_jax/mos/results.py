"""Evaluates a study's scores, per set and over its raters.

A version's first showing counts for everything but the reliability.
"""

from collections.abc import Collection, Sequence
import dataclasses

import numpy as np

from srgan_jax.mos import statistics
from srgan_jax.mos.ratings import Rating
from srgan_jax.mos.study import Study

# Table 1's categories; a star is for the best loss of each.
CATEGORIES = ('srresnet', 'srgan')


@dataclasses.dataclass(frozen=True)
class SetResult:
  """One set and those of its methods that have scores.

  `images` is their number; `scores` are float [rater, image, method], 1..5, NaN
  where there is none; `starred` are indices of the best of each category.
  """

  name: str
  methods: Sequence[str]
  images: int
  scores: np.ndarray
  means: Sequence[statistics.Mean]
  comparisons: Sequence[statistics.Comparison]
  starred: Collection[int]


@dataclasses.dataclass(frozen=True)
class Result:
  """All sets that have scores, and their raters.

  `raters` are the numbers of those who scored anything, `complete` of them
  everything; `without` were left out. Agreement is Krippendorff's alpha;
  reliability is None where no version was shown twice; `pairing` is what the
  tests compare.
  """

  study: Study
  sets: Sequence[SetResult]
  raters: Sequence[int]
  complete: int
  without: Sequence[int]
  agreement: float
  reliability: statistics.Reliability | None
  screening: Sequence[statistics.Screening]
  pairing: str


def evaluate(
  study: Study,
  ratings: Sequence[Rating],
  *,
  pairing: str = 'raters',
  without: Collection[int] = (),
) -> Result:
  """Evaluates scores of a study; `pairing` is of `statistics.compare`.

  Raises:
    ValueError: where no ratings are left, or a rater to leave out has none.
  """
  everybody = {rating.rater for rating in ratings}
  for number in without:
    if number not in everybody:
      raise ValueError(f'there are no ratings by a rater {number}')
  raters = sorted(everybody - set(without))
  if not raters:
    raise ValueError('there are no ratings')
  column = {number: i for i, number in enumerate(raters)}
  row = {version.file: i for i, version in enumerate(study.versions)}
  # [showing, version, rater]
  table = np.full((2, len(row), len(column)), np.nan)
  for rating in ratings:
    if rating.rater in column:
      place = rating.showing - 1, row[rating.file], column[rating.rater]
      table[place] = rating.score
  first, second = table
  counts = (~np.isnan(table)).sum((0, 1))
  sets = [_evaluate_set(study, name, first, pairing) for name in study.sets]
  return Result(
    study=study,
    sets=[result for result in sets if result is not None],
    raters=raters,
    complete=int((counts == len(study.files)).sum()),
    without=sorted(without),
    agreement=statistics.alpha(first),
    reliability=statistics.reliability(first, second),
    screening=statistics.screen(first),
    pairing=pairing,
  )


def _evaluate_set(
  study: Study, name: str, first: np.ndarray, pairing: str
) -> SetResult | None:
  """One set; None where nothing of it is scored."""
  rows = [
    (version, given)
    for version, given in zip(study.versions, first, strict=True)
    if version.set == name and not np.isnan(given).all()
  ]
  scored = {version.method for version, _ in rows}
  if not scored:
    return None
  images = study.images(name)
  methods = [method for method in study.methods if method in scored]
  scores = np.full((first.shape[1], len(images), len(methods)), np.nan)
  for version, given in rows:
    place = images.index(version.image), methods.index(version.method)
    scores[:, *place] = given
  means = [statistics.mean_score(scores[:, :, i]) for i in range(len(methods))]
  comparisons = statistics.compare(scores, pairing)
  starred = set()
  for category in CATEGORIES:
    group = [
      i
      for i, method in enumerate(methods)
      if method.lower().partition('-')[0] == category
    ]
    starred |= statistics.best_of(group, comparisons)
  return SetResult(
    name=name,
    methods=methods,
    images=len(images),
    scores=scores,
    means=means,
    comparisons=comparisons,
    starred=starred,
  )
