"""A study's folder: what prepare writes and refuses, and the scores' file."""

import json
import os
import shutil
import sqlite3

import numpy as np
from PIL import Image
import pytest

from srgan_jax.evaluation import benchmarks, methods
from srgan_jax.mos import __main__ as mos
from srgan_jax.mos import ratings, study
from tests.support import opinion


@pytest.fixture(scope='module')
def hr(tmp_path_factory):
  return opinion.write_set(
    tmp_path_factory.mktemp('data'), a=(48, 40), b=(40, 48), c=(50, 42)
  )


@pytest.fixture(scope='module')
def finished(hr, tmp_path_factory):
  return opinion.write_finished(hr, tmp_path_factory.mktemp('theirs'))


def arguments_of(hr, finished, output):
  return [
    *('prepare', '--hr', str(hr), '--method', f'SRGAN={finished}'),
    *('--repeats=2', '--examples=3', '-o', str(output)),
  ]


@pytest.fixture(scope='module')
def folder(hr, finished, tmp_path_factory):
  output = tmp_path_factory.mktemp('studies') / 'study'
  mos.main(arguments_of(hr, finished, output))
  return output


def read(folder, file):
  return np.asarray(Image.open(folder / 'images' / file))


def test_a_study_has_all_versions_of_all_images(hr, folder):
  what = study.load(folder)
  assert what.sets == ['Set5'] and what.images('Set5') == ['a', 'b', 'c']
  assert list(what.methods) == ['nearest', 'bicubic', 'SRGAN', 'HR']
  assert len(what.versions) == 12 and len(what.files) == 12 + 2 * 4
  benchmark = {pair.name: pair for pair in benchmarks.Benchmark(hr)}
  for version in what.versions:
    pair = benchmark[version.image]
    expected = {
      'nearest': lambda pair: pair.lr.repeat(4, 0).repeat(4, 1),
      'bicubic': methods.bicubic,
      'SRGAN': lambda pair: np.minimum(methods.bicubic(pair), 254) + 1,
      'HR': lambda pair: pair.hr,
    }[version.method](pair)
    np.testing.assert_array_equal(read(folder, version.file), expected)
  # Examples: nearest is a 1, the photo as it is a 5; none of the study's.
  assert [example.score for example in what.examples] == [1, 5] * 3
  for worst, best in zip(what.examples[::2], what.examples[1::2], strict=True):
    assert worst.image == best.image not in benchmark
    shown, original = read(folder, worst.file), read(folder, best.file)
    assert shown.shape == original.shape and max(shown.shape) <= 480
    np.testing.assert_array_equal(
      shown, shown[::4, ::4].repeat(4, 0).repeat(4, 1)
    )
    assert len(np.unique(original.reshape(-1, 3), axis=0)) > len(
      np.unique(shown.reshape(-1, 3), axis=0)
    )
  files = {path.name for path in (folder / 'images').iterdir()}
  assert files == {entry.file for entry in (*what.versions, *what.examples)}


def test_names_and_orders_cannot_be_foretold(hr, finished, folder, tmp_path):
  names = sorted(path.stem for path in (folder / 'images').iterdir())
  assert all(len(name) == 32 and int(name, 16) for name in names)
  mos.main(arguments_of(hr, finished, tmp_path / 'again'))
  one, other = study.load(folder), study.load(tmp_path / 'again')
  assert len(one.secret) == 32 and one.secret != other.secret
  assert not set(one.files) & set(other.files)
  place = lambda what: [what.files.index(t.file) for t in what.order(1)]
  assert place(one) != place(other)
  # All the rest is the same: images, examples, repeats.
  assert one.repeated == other.repeated
  for a, b in zip(
    (*one.versions, *one.examples),
    (*other.versions, *other.examples),
    strict=True,
  ):
    theirs = (tmp_path / 'again' / 'images' / b.file).read_bytes()
    assert (folder / 'images' / a.file).read_bytes() == theirs


def test_orders_are_complete_random_and_each_raters_own(folder):
  what = study.load(folder)
  orders = [what.order(rater) for rater in range(1, 401)]
  assert orders[0] == what.order(1) != orders[1]
  for order in orders[:5]:
    assert sorted(trial.file for trial in order) == sorted(what.files)
    seen = [trial.file for trial in order if trial.showing == 1]
    assert sorted(seen) == sorted(v.file for v in what.versions)
    for i, trial in enumerate(order):
      earlier = [other.file for other in order[:i]]
      assert trial.showing == 1 + earlier.count(trial.file)
  # Any trial comes first about as often as any other: 20 a place expected.
  counts = np.unique([order[0].file for order in orders], return_counts=True)[1]
  twice = 2 * 400 / 20
  assert len(counts) == 12 and 5 <= counts.min() and counts.max() < twice + 25


def test_a_method_can_be_kept_to_some_sets(hr, finished, tmp_path):
  output = tmp_path / 'study'
  mos.main(
    [
      *('prepare', '--hr', str(hr), '--hr', f'Other={hr}', '-o', str(output)),
      *('--method', f'SRGAN={finished / "Set5"}', '--only', 'SRGAN=Set5'),
      *('--examples=0', '--repeats=99'),
    ]
  )
  what = study.load(output)
  shown = {(version.set, version.method) for version in what.versions}
  assert ('Set5', 'SRGAN') in shown and ('Other', 'SRGAN') not in shown
  assert len(what.repeated) == 6 and len(what.files) == 2 * len(what.versions)


def test_a_method_names_the_folders_of_all_its_sets(hr, finished, tmp_path):
  theirs, output = tmp_path / 'theirs', tmp_path / 'study'
  for name in ('Set5', 'Other'):
    shutil.copytree(finished / 'Set5', theirs / name)
  mos.main(arguments_of(hr, theirs, output) + ['--hr', f'Other={hr}'])
  found = study.load(output).methods
  assert found['SRGAN'] == f'{theirs / "Set5"}, {theirs / "Other"}'
  assert found['HR'] == 'the original'


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--method', 'HR=/none'], "'HR' is in every study already"),
    (['--method', 'X=/none.safetensors'], '/none.safetensors'),
    (['--only', 'SRCNN=Set5'], 'there is no such method'),
    (['--only', 'SRGAN=Set14'], 'SRGAN=Set14: the sets are Set5'),
    (['--hr', '/none'], '/none: no such file or folder'),
    (['--lr', '/none', '--lr', '/none'], '1 folders of originals, 2 of LR'),
    (['--calibration', '/none'], '/none: no such file or folder'),
    (['--seed=-1'], 'cannot be negative'),
    (['-o', '/none/study'], 'there is no folder /none'),
  ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
  hr, finished, tmp_path, arguments, message
):
  good = arguments_of(hr, finished, tmp_path / 'study')
  assert message in opinion.refusal(*good, *arguments)
  assert not list(tmp_path.iterdir())


def test_a_study_is_never_replaced(hr, finished, folder, tmp_path):
  what = study.load(folder)
  message = opinion.refusal(*arguments_of(hr, finished, folder))
  assert f'{folder} holds something already' in message
  assert study.load(folder) == what
  assert [path.name for path in folder.parent.iterdir()] == ['study']
  (tmp_path / 'empty').mkdir()
  mos.main(arguments_of(hr, finished, tmp_path / 'empty'))
  assert study.load(tmp_path / 'empty').versions


@pytest.mark.parametrize('output', ['.', 'link', 'link/new', 'dangling'])
def test_a_study_may_be_a_folder_that_cannot_be_replaced(
  hr, finished, tmp_path, monkeypatch, output
):
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'work').mkdir()
  monkeypatch.chdir(tmp_path / 'work')
  if output != '.':
    (tmp_path / 'work' / 'link').symlink_to(tmp_path / 'empty')
    (tmp_path / 'work' / 'dangling').symlink_to(tmp_path / 'new')
  mos.main(arguments_of(hr, finished, output))
  made = tmp_path / 'work' / output
  assert study.load(made).versions
  assert {path.name for path in made.iterdir()} == {'images', study.MANIFEST}
  assert os.path.samefile('.', tmp_path / 'work')


def test_a_study_may_have_the_longest_of_names(hr, finished, tmp_path):
  output = tmp_path / ('s' * 255)
  mos.main(arguments_of(hr, finished, output))
  assert study.load(output).versions


def test_a_broken_study_is_named(folder, tmp_path):
  with pytest.raises(ValueError, match='is no study'):
    study.load(tmp_path)
  path = tmp_path / study.MANIFEST
  facts = json.loads((folder / study.MANIFEST).read_text())
  outside = {**facts['versions'][0], 'file': '../x'}
  for changed, message in (
    ('{', 'is no manifest of a study: Expecting'),
    ('[' * 10**5, 'nested too deeply'),
    (json.dumps(facts | {'seed': float('inf')}), 'is no manifest of a study'),
    (json.dumps(facts | {'methods': 1}), 'is no manifest of a study'),
    (json.dumps(facts | {'versions': [outside | {'file': 1}]}), '1 is not a'),
    (json.dumps(facts | {'format': 1}), 'format 1, not 2: prepare it again'),
    (json.dumps(facts | {'versions': []}), 'has no images'),
    (json.dumps(facts | {'methods': {}}), "'nearest' is not one of its"),
    (json.dumps(facts), 'is missing'),
    (json.dumps(facts | {'versions': [outside]}), "'../x' is not a file name"),
  ):
    path.write_text(changed)
    with pytest.raises(ValueError, match=message):
      study.load(tmp_path)


def test_scores_are_taken_once_in_order_and_kept(folder, tmp_path):
  what = study.load(folder)
  kept = ratings.Ratings(tmp_path, what)
  codes = [kept.register(), kept.register()]
  assert [kept.find(code) for code in codes] == [1, 2]
  assert kept.find(f' {codes[1].lower().replace("-", " ")}') == 2
  assert kept.find('') is None and kept.find('2222-2222-2222') is None
  order = what.order(1)
  with pytest.raises(ratings.OutOfOrder, match='is a 1'):
    kept.see_example(1, 0, 5)
  for i, example in enumerate(what.examples):
    kept.see_example(1, i, example.score)
  with pytest.raises(ratings.OutOfOrder):
    kept.add(1, 1, order[1].file, 3)
  kept.add(1, 0, order[0].file, 3)
  with pytest.raises(ratings.OutOfOrder):
    kept.add(1, 0, order[0].file, 4)
  assert kept.progress(1) == ratings.Progress(len(what.examples), 1)
  for pragma, value in (('journal_mode', 'wal'), ('synchronous', 2)):
    found = kept._database.execute(f'PRAGMA {pragma}').fetchone()[0]
    assert found == value
  kept.see_examples_again(1)
  assert kept.progress(1) == ratings.Progress(0, 1)
  token = kept.token
  kept.close()
  again = ratings.Ratings(tmp_path, what)
  assert again.token == token
  assert again.all() == [ratings.Rating(1, 0, order[0].file, 1, 3)]
  again.close()
  # No code is kept, only what it can be checked with.
  database = sqlite3.connect(tmp_path / study.RATINGS)
  dump = '\n'.join(database.iterdump())
  database.close()
  assert codes[0] not in dump and codes[0].replace('-', '') not in dump
  other = study.Study(1, 'x', what.methods, what.versions, (), (), '0')
  with pytest.raises(ValueError, match='ratings of another study'):
    ratings.Ratings(tmp_path, other)
  (tmp_path / study.RATINGS).write_bytes(b'no database at all' * 100)
  with pytest.raises(ValueError, match='ratings.sqlite cannot be opened'):
    ratings.Ratings(tmp_path, what)
  (tmp_path / study.RATINGS).unlink()
  (tmp_path / study.RATINGS).mkdir()
  with pytest.raises(ValueError, match='ratings.sqlite cannot be opened'):
    ratings.Ratings(tmp_path, what)


def test_raters_to_leave_out_are_numbers(folder, capsys):
  with pytest.raises(SystemExit):
    mos.main(['report', str(folder), '--without', '7,x'])
  assert "--without: '7,x' is not like 7,12" in capsys.readouterr().err
