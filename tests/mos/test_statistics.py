"""Opinion scores: by hand, against SciPy, and with raters who are known."""

import csv
import itertools

import numpy as np
import pytest

stats = pytest.importorskip('scipy.stats', reason='needs the extra mos')
pytest.importorskip('matplotlib', reason='needs the extra mos')

from PIL import Image

from srgan_jax.mos import figure, report, results, statistics, study
from srgan_jax.mos import ratings as ratings_lib
from srgan_jax.paper import table1

NONE = np.nan
# Table 1 and 2 on Set14: the paper's own scores, as true ones. SRResNet's two
# losses are made equal: 25 raters tell the paper's 3.15 from 2.98, or do not.
TRUTH = {
  'nearest': 1.20,
  'bicubic': 1.80,
  'SRResNet-MSE': 2.98,
  'SRResNet-VGG22': 2.98,
  'SRGAN-MSE': 3.43,
  'SRGAN-VGG54': 3.85,
  'HR': 4.32,
}


def test_means_and_intervals_by_hand():
  """Raters' means 2, 3 and 4: s = 1, t(0.975, 2) = 4.3027 of the tables."""
  scores = np.array([[1, 3, NONE], [3, 3, 3], [5, NONE, 3], [NONE] * 3])
  found = statistics.mean_score(scores)
  assert found.mean == 3 and found.raters == 3 and found.ratings == 7
  # 2.4841 to each side, cut to the scale.
  assert (found.low, found.high) == (1, 5)
  found = statistics.mean_score(2.5 + scores / 6)
  half = 4.302653 / np.sqrt(3) / 6
  assert (found.low, found.high) == pytest.approx((3 - half, 3 + half))
  alone = statistics.mean_score(scores[:1])
  assert (alone.mean, alone.low, alone.high) == (2, None, None)


def test_holm_by_hand():
  found = statistics.holm([0.01, 0.04, 0.03, 0.005])
  np.testing.assert_allclose(found, [0.03, 0.06, 0.06, 0.02])
  assert statistics.holm([0.6, 0.7]) == [1, 1] and statistics.holm([]) == []


def test_signed_ranks_by_hand():
  """Differences 1..6, all positive: 2 of 64 signs are that extreme."""
  assert statistics.signed_rank(np.arange(1, 7)) == pytest.approx(2 / 64)
  # -1 alone is negative: W = 1, and 4 of 64 are at most that extreme.
  mixed = np.array([-1, 2, 3, 4, 5, 6.0])
  assert statistics.signed_rank(mixed) == pytest.approx(4 / 64)
  with_zeros = np.concatenate([mixed, [0, 1e-15]])
  assert statistics.signed_rank(with_zeros) == pytest.approx(4 / 64)
  assert statistics.signed_rank(np.zeros(4)) == 1


def test_pairs_are_those_that_a_rater_scored_both_of():
  """Three raters; the second never saw method 1's second image."""
  first = np.array([[1, 2], [2, 5], [3, 3]])
  second = np.array([[2, 4], [4, NONE], [4, 5]])
  scores = np.stack([first, second], axis=-1)
  (by_rater,) = statistics.compare(scores)
  assert (by_rater.first, by_rater.second, by_rater.pairs) == (0, 1, 3)
  assert by_rater.difference == pytest.approx(-(1.5 + 2 + 1.5) / 3)
  (by_rating,) = statistics.compare(scores, 'ratings')
  assert by_rating.pairs == 5 and by_rating.difference == -8 / 5
  differences = [1, 2, 2, 1, 2]
  assert by_rating.p == pytest.approx(stats.wilcoxon(differences).pvalue)


def test_alpha_of_the_published_example():
  """Krippendorff 2011, section D: ordinal alpha 0.815."""
  raters = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
    [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
  ]
  found = statistics.alpha(np.array(raters, float).T)
  assert found == pytest.approx(0.815, abs=5e-4)
  assert statistics.alpha(np.array([[1, 1], [4, 4], [2, 2]])) == 1
  assert np.isnan(statistics.alpha(np.array([[3, 3], [3, 3]])))
  assert np.isnan(statistics.alpha(np.array([[3, NONE], [NONE, 4]])))


def test_reliability_by_hand():
  found = statistics.reliability(
    np.array([[1, 2, 3, 4.0]]).T, np.array([[1, 2, 4, 2.0]]).T
  )
  assert (found.pairs, found.same, found.within_one) == (4, 0.5, 0.75)
  assert found.difference == -0.25 and found.p == 1 and found.raters == 1
  nothing = np.full((2, 3), NONE)
  assert statistics.reliability(np.ones((2, 3)), nothing) is None
  # Of a rater who stopped early, and of one who scored nothing twice.
  found = statistics.reliability(
    np.array([[1, 2, 3], [2, NONE, 3.0]]),
    np.array([[2, 5, NONE], [2, 4, NONE]]),
  )
  assert (found.pairs, found.raters, found.same) == (3, 2, 1 / 3)
  assert found.difference == (0.5 + 3) / 2


def test_raters_who_drift_apart_are_no_common_drift():
  """100 studies, 16 raters whose drifts (sd 0.4) have the mean 0.

  The test of all their pairs, as if each came from another person, errs in
  more than a quarter of them.
  """
  rng = np.random.default_rng(5)
  errors, of_pairs = 0, 0
  for _ in range(100):
    ideal = rng.normal(3, 1, (40, 16))
    drift = rng.normal(0, 0.4, 16)
    first, second = (
      np.clip(np.rint(scores + rng.normal(0, 0.5, scores.shape)), 1, 5)
      for scores in (ideal, ideal + drift)
    )
    errors += statistics.reliability(first, second).p < 0.05
    of_pairs += statistics.signed_rank((second - first).ravel()) < 0.05
  assert errors <= 12 < 25 < of_pairs


def test_a_common_drift_is_found():
  rng = np.random.default_rng(6)
  first = rng.integers(1, 5, (40, 16)).astype(float)
  second = first + (rng.random(first.shape) < 0.2)
  assert statistics.reliability(first, second).p < 0.001


def test_screening_by_hand():
  """Twelve raters say 3 of 40 images; one of them now and then 1 or 5.

  One score of twelve that is 2 off has the kurtosis 11 + 1/11 - 1 = 10.1 and
  lies 3.2 standard deviations off, less than sqrt(20): never far off. With two
  of the others at 2 and two at 4 it is between 2 and 4, and far off.
  """
  quiet = np.full((40, 12), 3.0)
  quiet[:4, 0] = [1, 5, 1, 5]
  assert not any(s.above + s.below for s in statistics.screen(quiet))
  varied = np.tile([3.0, 2, 2, 4, 4, *[3] * 7], (40, 1))
  varied[:4, 0] = [1, 5, 1, 5]
  found = statistics.screen(varied)
  image = varied[0]
  assert 2 <= stats.kurtosis(image, fisher=False) <= 4
  assert abs(image[0] - image.mean()) >= 2 * image.std(ddof=1)
  assert found[0].above == found[0].below == 0.05
  assert 'BT.500' in found[0].reasons
  assert not any('BT.500' in other.reasons for other in found[1:])
  # All on one side is an opinion to BT.500.
  varied[:4, 0] = 5
  assert 'BT.500' not in statistics.screen(varied)[0].reasons


def make_study(images=14, repeats=4, sets=('Set14',), methods=TRUTH):
  names = [f'img_{i:03d}' for i in range(images)]
  versions = tuple(
    study.Version(s, name, method, f'{s}-{name}-{method}.png')
    for s in sets
    for method in methods
    for name in names
  )
  return study.Study(
    seed=0,
    secret='',
    methods=dict.fromkeys(methods, ''),
    versions=versions,
    examples=(),
    repeated=tuple((sets[0], name) for name in names[:repeats]),
    version='0',
  )


def simulate(what, raters, seed, odd=(), stopped=None):
  """Raters with a leaning and a taste of their own, and careless ones.

  The mean over raters of a method's expected score is its truth's, as far as
  rounding and the scale's ends allow, so `expected` is estimated by many.
  """
  rng = np.random.default_rng(seed)
  found = []
  for number in range(1, raters + 1):
    leaning = rng.normal(0, 0.3)
    taste = {method: rng.normal(0, 0.15) for method in what.methods}
    for position, trial in enumerate(what.order(number)):
      if position >= (stopped or {}).get(number, np.inf):
        break
      method = what.by_file[trial.file].method
      ideal = TRUTH[method] + leaning + taste[method] + rng.normal(0, 0.6)
      score = int(np.clip(np.round(ideal), 1, 5))
      if number in odd:
        score = int(rng.integers(1, 6))
      found.append(
        ratings_lib.Rating(number, position, trial.file, trial.showing, score)
      )
  return found


def test_raters_whose_true_scores_are_known_are_understood(tmp_path):
  what = make_study()
  ratings = simulate(what, 26, seed=1, odd={7}, stopped={3: 40})
  found = results.evaluate(what, ratings)
  odd = [
    n for n, s in zip(found.raters, found.screening, strict=True) if s.reasons
  ]
  assert odd == [7] and len(found.raters) == 26 and found.complete == 25
  found = results.evaluate(what, ratings, without=[7])
  (set14,) = found.sets
  means = [mean.mean for mean in set14.means]
  assert list(set14.methods) == list(TRUTH)
  for (low, lesser), (high, better) in itertools.combinations(
    zip(TRUTH.values(), means, strict=True), 2
  ):
    assert lesser < better or low == high
  assert abs(np.array(means) - list(TRUTH.values())).max() < 0.3
  assert [set14.methods[i] for i in set14.starred] == ['SRGAN-VGG54']
  assert found.agreement > 0.6 and found.reliability.pairs > 600
  assert found.reliability.alpha > 0.7 and found.reliability.p > 0.01
  # What table 1 reads, it reads.
  path = tmp_path / 'mos.csv'
  path.write_text(report.mos_csv(found))
  scores, starred = table1.read_mos(path)
  assert scores['Set14', 'HR'] == pytest.approx(means[-1], abs=1e-4)
  assert starred == {('Set14', 'SRGAN-VGG54')}
  text = report.as_markdown(found)
  assert '25 raters, of whom 24 scored everything' in text
  assert 'Left out: 7.' in text and 'Outliers: none' in text


@pytest.mark.parametrize('again_first', [False, True])
def test_a_first_showing_counts_and_reliability_is_second_less_first(
  again_first,
):
  """Rater 1 says 2, then 5; rater 2 stopped before the second showing."""
  what = make_study(images=1, repeats=1, methods=('HR',))
  (version,) = what.versions
  ratings = [
    ratings_lib.Rating(1, 0, version.file, 1, 2),
    ratings_lib.Rating(1, 1, version.file, 2, 5),
  ]
  ratings = ratings[:: -1 if again_first else 1]  # as they may be listed
  found = results.evaluate(what, ratings)
  (mean,) = found.sets[0].means
  assert (mean.mean, mean.ratings) == (2, 1)
  assert (found.reliability.pairs, found.reliability.difference) == (1, 3)
  assert 'second less first +3.00' in report.as_markdown(found)
  ratings.append(ratings_lib.Rating(2, 0, version.file, 1, 4))
  found = results.evaluate(what, ratings)
  (mean,) = found.sets[0].means
  assert (mean.mean, mean.ratings, found.reliability.pairs) == (3, 2, 1)


def test_methods_that_nobody_scored_both_of_are_not_said_to_differ():
  what = make_study(images=1, repeats=0, methods=('bicubic', 'a|b', 'HR'))
  first, second, third = (version.file for version in what.versions)
  ratings = [ratings_lib.Rating(1, 0, first, 1, 2)]
  text = lambda: report.as_markdown(results.evaluate(what, ratings))
  assert 'nothing is compared' in text() and 'differ sig' not in text()
  ratings.append(ratings_lib.Rating(1, 1, second, 1, 4))
  ratings.append(ratings_lib.Rating(2, 0, third, 1, 5))
  assert 'bicubic and a|b (-2.00, p = 1.000). No rater scored both ' in text()
  assert 'of 2 other pairs.' in text() and r'| a\|b | 4.00 |' in text()


def test_a_dollar_in_a_name_is_a_letter(tmp_path):
  what = make_study(images=1, repeats=0, methods=(r'a$\b$', 'HR'))
  ratings = [ratings_lib.Rating(1, 0, what.versions[0].file, 1, 2)]
  found = results.evaluate(what, ratings)
  figure.draw(found.sets, tmp_path / 'x.svg')
  assert r'<!-- a$\b$ -->' in (tmp_path / 'x.svg').read_text()


def test_equal_methods_get_no_star():
  """100 studies of two equal methods, raters' tastes differing.

  The test of raters' means errs about as often as it says; counting scores as
  if each came from another person, far more often.
  """
  rng = np.random.default_rng(3)
  errors = {'raters': 0, 'ratings': 0}
  for _ in range(100):
    taste = rng.normal(0, 0.4, (16, 1, 2))
    noise = rng.normal(0, 0.6, (16, 14, 2))
    scores = np.clip(np.round(3 + taste + noise), 1, 5)
    for pairing in errors:
      (found,) = statistics.compare(scores, pairing)
      errors[pairing] += bool(statistics.best_of([0, 1], [found]))
  assert errors['raters'] <= 12 < 24 < errors['ratings']


def test_a_star_needs_all_others_of_the_category():
  better = lambda first, second, p: statistics.Comparison(
    first, second, 0.5, 20, 1, p, p
  )
  all_clear = [better(0, 1, 0.01), better(0, 2, 0.04), better(1, 2, 0.5)]
  assert statistics.best_of([0, 1, 2], all_clear) == {0}
  assert statistics.best_of([2, 1, 0], all_clear) == {0}
  assert statistics.best_of([1, 2], all_clear) == set()
  assert statistics.best_of([0], all_clear) == set()
  one_open = [better(0, 1, 0.01), better(0, 2, 0.05), better(1, 2, 0.5)]
  assert statistics.best_of([0, 1, 2], one_open) == set()


def test_no_star_where_most_raters_prefer_the_other():
  """30 of 35 raters see B a little above A, the other five A far above B."""
  a = np.full((35, 20), 3.0)
  b = a.copy()
  b[:30, :6] = 4
  a[30:], b[30:] = 5, 2
  (found,) = statistics.compare(np.stack([a, b], axis=-1))
  assert found.difference > 0 > found.ranks
  by_means = np.array([-0.3] * 30 + [3] * 5)
  less = stats.wilcoxon(by_means, alternative='less').pvalue
  assert found.p < 0.05 and found.p == pytest.approx(2 * less)
  assert found.order is None and statistics.best_of([0, 1], [found]) == set()
  # As the mean and the ranks say both.
  (found,) = statistics.compare(np.stack([b, a], axis=-1)[:30])
  assert found.order == (0, 1) and statistics.best_of([0, 1], [found]) == {0}
  (found,) = statistics.compare(np.stack([a, b], axis=-1)[:30])
  assert found.order == (1, 0) and statistics.best_of([0, 1], [found]) == {1}
  (equal,) = statistics.compare(np.stack([a, a], axis=-1))
  assert (equal.ranks, equal.order) == (0, None)


def test_a_report_names_the_pairs_whose_mean_and_ranks_disagree():
  what = make_study(images=1, repeats=0, methods=('SRGAN-MSE', 'SRGAN-VGG54'))

  def text(*scores):
    ratings = [
      ratings_lib.Rating(rater, position, version.file, 1, pair[position])
      for rater, pair in enumerate(scores, 1)
      for position, version in enumerate(what.versions)
    ]
    return report.as_markdown(results.evaluate(what, ratings))

  divided = text(*[(3, 4)] * 80, *[(5, 1)] * 21)
  p = stats.wilcoxon([-1] * 80 + [4] * 21).pvalue
  assert (
    f'SRGAN-MSE and SRGAN-VGG54 differ significantly (p = {p:.3f}), but mean '
    '(+0.04) and signed ranks have opposite directions'
  ) in divided
  assert 'SRGAN-MSE*' not in divided and 'SRGAN-VGG54*' not in divided
  agreed = text(*[(3, 4)] * 30)
  assert 'SRGAN-VGG54*' in agreed and 'opposite' not in agreed


def test_a_report_is_written_whole(tmp_path):
  what = make_study(images=2, repeats=1, sets=('Set5', 'Set14'))
  folder = tmp_path / 'study'
  (folder / study.IMAGES).mkdir(parents=True)
  (folder / study.MANIFEST).write_text(what.as_json())
  for version in what.versions:
    (folder / study.IMAGES / version.file).touch()
  with pytest.raises(ValueError, match='study has no ratings yet'):
    report.write(folder, tmp_path / 'report')
  database = ratings_lib.Ratings(folder, what)
  for rating in simulate(what, 3, seed=4, stopped={2: 5}):
    if rating.position == 0:
      database.register()
    database.add(rating.rater, rating.position, rating.file, rating.score)
  database.close()
  text = report.write(folder, tmp_path / 'report')
  assert text == (tmp_path / 'report' / 'report.md').read_text()
  with open(tmp_path / 'report' / 'ratings.csv', newline='') as file:
    lines = list(csv.DictReader(file))
  assert len(lines) == 2 * len(what.files) + 5
  assert {line['rater'] for line in lines} == {'1', '2', '3'}
  svg = (tmp_path / 'report' / 'figure5.svg').read_bytes()
  with Image.open(tmp_path / 'report' / 'figure5.png') as image:
    pixels = np.asarray(image.convert('RGB')).astype(int)
  red = (pixels[..., 0] > 180) & (pixels[..., 1:].max(-1) < 60)
  assert red.sum() > 1000
  report.write(folder, tmp_path / 'report')
  assert svg == (tmp_path / 'report' / 'figure5.svg').read_bytes()
  with pytest.raises(ValueError, match='no ratings by a rater 9'):
    report.write(folder, tmp_path / 'report', without=[9])
