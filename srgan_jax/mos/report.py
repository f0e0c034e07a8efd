"""A study's report: tables, tests and the figure, from its ratings.

mos.csv          set, method, mean, low, high, significant: what
srgan_jax.paper.table1 reads
comparisons.csv  every two methods of a set: the mean difference, the sign of
the signed ranks (+1, 0, -1), the test's p values
raters.csv       every rater, and whether they are an outlier
ratings.csv      every score; raters are numbers
report.md        all of it to read
figure5.png, figure5.svg
"""

from collections.abc import Collection, Iterable
import contextlib
import math
import pathlib

import numpy as np

from srgan_jax import files, tables
from srgan_jax.mos import figure, statistics
from srgan_jax.mos import ratings as ratings_lib
from srgan_jax.mos import study as study_lib
from srgan_jax.mos.results import Result, SetResult, evaluate


def write(
  folder: pathlib.Path,
  output: pathlib.Path,
  *,
  pairing: str = 'raters',
  without: Collection[int] = (),
) -> str:
  """Writes a study's report; returns the text of report.md.

  Raises:
    ValueError: as `evaluate`, or where the study or its ratings are unfit.
  """
  study = study_lib.load(folder)
  if not (folder / study_lib.RATINGS).exists():
    raise ValueError(f'{folder} has no ratings yet')
  with contextlib.closing(ratings_lib.Ratings(folder, study)) as database:
    ratings = database.all()
  result = evaluate(study, ratings, pairing=pairing, without=without)
  files.make_folder(output)
  text = as_markdown(result)
  for name, content in (
    ('mos.csv', mos_csv(result)),
    ('comparisons.csv', _comparisons_csv(result)),
    ('raters.csv', _raters_csv(result)),
    ('ratings.csv', ratings_csv(study, ratings)),
    ('report.md', text),
  ):
    files.write_text(output / name, content)
  figure.draw(result.sets, output / 'figure5.png', output / 'figure5.svg')
  return text


def mos_csv(result: Result) -> str:
  """A line a set and method: set, method, mean, low, high, significant."""
  head = ('set', 'method', 'mean', 'low', 'high', 'significant')
  rows = (
    (
      *(entry.name, method, f'{mean.mean:.4f}'),
      *('' if x is None else f'{x:.4f}' for x in (mean.low, mean.high)),
      str(i in entry.starred).lower(),
    )
    for entry in result.sets
    for i, (method, mean) in enumerate(
      zip(entry.methods, entry.means, strict=True)
    )
  )
  return tables.as_csv([head, *rows])


def ratings_csv(
  study: study_lib.Study, ratings: Iterable[ratings_lib.Rating]
) -> str:
  """A line a score, of all raters; `position` is its place in the order."""
  head = ('rater', 'position', 'set', 'image', 'method', 'showing', 'score')
  rows = (
    (r.rater, r.position, v.set, v.image, v.method, r.showing, r.score)
    for r in ratings
    for v in [study.by_file[r.file]]
  )
  return tables.as_csv([head, *rows])


def as_markdown(result: Result) -> str:
  """The report to read."""
  without = ', '.join(map(str, result.without))
  parts = [
    '# Opinion scores',
    f'{_count(len(result.raters), "rater")}, of whom {result.complete} scored '
    'everything; the others count for what they scored. '
    + (f'Left out: {without}. ' if without else '')
    + "Mean opinion score (MOS): the mean over raters of each one's mean over "
    "the images, with Student's 95 % interval over raters. *: significantly "
    'above every other loss of its category (SRResNet-, SRGAN-).',
  ]
  for entry in result.sets:
    rows = [
      [
        method + '*' * (i in entry.starred),
        f'{mean.mean:.2f}',
        '' if mean.low is None else f'{mean.low:.2f} to {mean.high:.2f}',
        str(mean.ratings),
      ]
      for i, (method, mean) in enumerate(
        zip(entry.methods, entry.means, strict=True)
      )
    ]
    parts.append(f'## {entry.name}, {entry.images} images')
    parts.append(
      tables.as_markdown(['method', 'MOS', '95 % interval', 'scores'], rows)
    )
    parts.append(_not_different(entry, result.pairing))
    parts += _divided(entry)
  origins = [f'- {name}: {what}' for name, what in result.study.methods.items()]
  parts += [
    '## Raters',
    f'Agreement between raters: {_number(result.agreement)} '
    "(Krippendorff's alpha, ordinal; 1 is agreement, 0 chance).",
    _reliability(result.reliability),
    _outliers(result),
    '## Methods',
    '\n'.join(origins),
  ]
  return '\n\n'.join(parts) + '\n'


def _count(number: int, what: str) -> str:
  return f'{number} {what}{"s" * (number != 1)}'


def _not_different(entry: SetResult, pairing: str) -> str:
  """Which differences are not significant: mostly the shorter list."""
  open_pairs = [
    f'{entry.methods[c.first]} and {entry.methods[c.second]} '
    f'({c.difference:+.2f}, p = {c.corrected:.3f})'
    for c in entry.comparisons
    if not c.corrected < statistics.LEVEL
  ]
  what = "raters' means" if pairing == 'raters' else 'single ratings'
  rule = f"paired two-sided Wilcoxon signed-rank tests of {what}, Holm's "
  rule += f'correction over {_count(len(entry.comparisons), "pair")}'
  if not entry.comparisons:
    return 'No rater scored an image by two methods: nothing is compared.'
  text = f'Not significantly different ({rule}): {"; ".join(open_pairs)}.'
  if not open_pairs:
    text = f'All of these differ significantly ({rule}, p < 0.05).'
  if missing := math.comb(len(entry.methods), 2) - len(entry.comparisons):
    text += f' No rater scored both methods of {_count(missing, "other pair")}.'
  return text


def _divided(entry: SetResult) -> list[str]:
  """Which differences are significant, but of no one direction."""
  return [
    f'{entry.methods[c.first]} and {entry.methods[c.second]} differ '
    f'significantly (p = {c.corrected:.3f}), but mean ({c.difference:+.2f}) '
    'and signed ranks have opposite directions: neither counts as above the '
    'other.'
    for c in entry.comparisons
    if c.corrected < statistics.LEVEL and c.order is None
  ]


def _reliability(found: statistics.Reliability | None) -> str:
  if found is None:
    return 'Reliability: nothing was scored twice.'
  return (
    f'Reliability: of {_count(found.pairs, "version")} scored twice by one '
    f'rater, {found.same:.0%} got the same score and {found.within_one:.0%} '
    f'one at most 1 off; second less first {found.difference:+.2f}, the mean '
    f'of {_count(found.raters, "rater")} (p = {found.p:.3f}); alpha '
    f'{_number(found.alpha)}.'
  )


def _outliers(result: Result) -> str:
  named = [
    f'rater {number} ({" and ".join(found.reasons)}; correlation with the '
    f'others {_number(found.correlation)})'
    for number, found in zip(result.raters, result.screening, strict=True)
    if found.reasons
  ]
  if not named:
    return 'Outliers: none.'
  return f'Outliers, which are counted all the same: {"; ".join(named)}.'


def _comparisons_csv(result: Result) -> str:
  head = ['set', 'method', 'other', 'difference', 'pairs', 'ranks']
  head += ['p', 'p_holm']
  rows = (
    (
      *(entry.name, entry.methods[c.first], entry.methods[c.second]),
      *(f'{c.difference:.4f}', c.pairs, f'{c.ranks:+d}'),
      *(f'{c.p:.4g}', f'{c.corrected:.4g}'),
    )
    for entry in result.sets
    for c in entry.comparisons
  )
  return tables.as_csv([head, *rows])


def _raters_csv(result: Result) -> str:
  head = ['rater', 'ratings', 'mean', 'correlation']
  head += ['above', 'below', 'outlier']
  rows = (
    (
      *(number, found.ratings, f'{found.mean:.4f}'),
      *(_number(found.correlation), f'{found.above:.4f}'),
      *(f'{found.below:.4f}', ' '.join(found.reasons)),
    )
    for number, found in zip(result.raters, result.screening, strict=True)
  )
  return tables.as_csv([head, *rows])


def _number(value: float) -> str:
  return 'undefined' if np.isnan(value) else f'{value:.3f}'
