"""The evaluation command: its figures, its files, its one-line errors."""

import csv
import json

import numpy as np
from PIL import Image
import pytest

from srgan_jax import evaluate, imaging, weights
from srgan_jax.evaluation import benchmarks, methods, panels, report, score
from tests.support import small


def picture(height, width, seed=0):
  return small.make_pair(height, width, seed)[1]


def write(path, image):
  path.parent.mkdir(exist_ok=True)
  Image.fromarray(image).save(path)
  return path


@pytest.fixture
def benchmark(tmp_path):
  """Two originals, one of them not of a multiple of 4."""
  write(tmp_path / 'HR' / 'a.png', picture(48, 64))
  write(tmp_path / 'HR' / 'b.png', picture(51, 66, 1))
  return tmp_path


def run(capsys, *arguments, status=0):
  """What the command prints."""
  assert evaluate.main([str(a) for a in arguments]) == status
  said = capsys.readouterr()
  return said.err if status else said.out


# --- figures ------------------------------------------------------------------


def test_all_figures_are_those_of_score(benchmark, capsys):
  out, table = benchmark / 'out.json', benchmark / 'out.csv'
  said = run(
    capsys,
    *('--model', 'bicubic', '--hr', benchmark / 'HR'),
    *('--json', out, '--csv', table),
  )
  result = json.loads(out.read_text())
  expected = {}
  for name in 'ab':
    hr = np.asarray(Image.open(benchmark / 'HR' / f'{name}.png'))
    hr = hr[: hr.shape[0] // 4 * 4, : hr.shape[1] // 4 * 4]
    sr = imaging.imresize(imaging.imresize(hr, 1 / 4), 4)
    expected[name] = {p: score(sr, hr, p) for p in ('paper', 'y', 'rgb')}
  assert result['images'] == expected
  for protocol, measures in expected['a'].items():
    for measure in measures:
      mean = np.mean([expected[name][protocol][measure] for name in 'ab'])
      assert result['mean'][protocol][measure] == pytest.approx(mean)
      assert f'{mean:.4f}' in said.splitlines()[-1]
  rows = list(csv.reader(table.read_text().splitlines()))
  assert rows[0] == [
    'image', 'psnr_paper', 'ssim_paper', 'psnr_y', 'ssim_y', 'psnr_rgb'
  ]  # fmt: skip
  assert [row[0] for row in rows[1:]] == ['a', 'b', 'mean']
  assert float(rows[2][3]) == pytest.approx(expected['b']['y']['psnr'], 1e-6)
  header = said.splitlines()[2].split()
  assert header == ['protocol', 'paper', 'paper', 'y', 'y', 'rgb']


# The project's protocol table: these definitions, recomputed from the public
# pairs. (The paper prints 26.26 / .7552, 28.43 / .8211, 24.64 / .7100 and
# 25.99 / .7486 for them.)
GOLDEN = {
  ('Set5', 'nearest'): (26.2571, 0.7550, 26.2583, 0.7380, 24.5564),
  ('Set5', 'bicubic'): (28.4338, 0.8213, 28.4302, 0.8111, 26.6934),
  ('Set14', 'nearest'): (24.6265, 0.7089, 24.7402, 0.6553, 23.1591),
  ('Set14', 'bicubic'): (25.9807, 0.7476, 26.0914, 0.7048, 24.4645),
}


@pytest.mark.parametrize(('name', 'method'), list(GOLDEN))
def test_the_public_baselines_are_those_of_the_protocol_table(
  shared_data, tmp_path, capsys, name, method
):
  folder, out = shared_data / 'benchmarks' / name, tmp_path / 'out.json'
  run(
    capsys,
    *('--model', method, '--hr', folder / 'HR', '--lr', folder / 'LRx4'),
    *('--json', out),
  )
  result = json.loads(out.read_text())
  assert len(result['images']) == int(name[3:])
  figures = [
    figure for each in result['mean'].values() for figure in each.values()
  ]
  # Half a unit of the table's last digit, and a little for its own rounding.
  assert figures == pytest.approx(GOLDEN[name, method], abs=6e-5)


def test_lr_given_equals_lr_made(benchmark, capsys):
  for name in 'ab':
    hr = np.asarray(Image.open(benchmark / 'HR' / f'{name}.png'))
    pair = benchmarks.make_pair(name, hr)
    write(benchmark / 'LR' / f'{name}x4.png', pair.lr)
  common = ('--model', 'nearest', '--hr', benchmark / 'HR')
  made = run(capsys, *common)
  given = run(capsys, *common, '--lr', benchmark / 'LR')
  assert made.splitlines()[2:] == given.splitlines()[2:]
  write(benchmark / 'LR' / 'bx4.png', np.zeros((12, 16, 3), np.uint8))
  black = run(capsys, *common, '--lr', benchmark / 'LR')
  assert black.splitlines()[5] == made.splitlines()[5]
  assert black.splitlines()[6] != made.splitlines()[6]


def test_finished_images_score_as_the_method_that_made_them(benchmark, capsys):
  for pair in benchmarks.Benchmark(benchmark / 'HR'):
    write(benchmark / 'SR' / f'{pair.name}_SR.png', methods.bicubic(pair))
  common = ('--hr', benchmark / 'HR')
  made = run(capsys, '--model', 'bicubic', *common)
  finished = run(capsys, '--sr', benchmark / 'SR', *common)
  assert made.splitlines()[2:] == finished.splitlines()[2:]


def test_a_generator_is_named_with_its_steps(benchmark, capsys):
  path = benchmark / 'generator.safetensors'
  weights.save_generator(
    path,
    small.network_state(small.GENERATOR, 0).variables,
    architecture={'blocks': 1, 'channels': 4},
    training={'label': 'srresnet-mse', 'steps': 7},
  )
  said = run(capsys, '--model', path, '--hr', benchmark / 'HR')
  assert said.startswith(f'srresnet-mse ({path}, 7 steps)\n')


@pytest.mark.parametrize(
  ('training', 'origin'),
  [({'label': ''}, ''), ({'label': None, 'author': 'Ada'}, ', Ada')],
)
def test_a_generator_without_a_label_is_named_by_its_file(
  benchmark, capsys, training, origin
):
  path = benchmark / 'mine.safetensors'
  weights.save_generator(
    path,
    small.network_state(small.GENERATOR, 0).variables,
    architecture={'blocks': 1, 'channels': 4},
    training=training,
  )
  said = run(capsys, '--model', path, '--hr', benchmark / 'HR')
  assert said.startswith(f'mine ({path}{origin})\n')


def test_equal_images(benchmark, capsys):
  out, table = benchmark / 'out.json', benchmark / 'out.csv'
  said = run(
    capsys,
    *('--sr', benchmark / 'HR', '--hr', benchmark / 'HR'),
    *('--json', out, '--csv', table),
  )
  assert 'inf' in said and 'inf' in table.read_text()
  mean = json.loads(out.read_text(), parse_constant=pytest.fail)['mean']
  assert mean['y'] == {'psnr': None, 'ssim': pytest.approx(1)}


def test_grayscale_counts_as_three_equal_channels(tmp_path):
  gray = picture(48, 64)[..., 0]
  path = write(tmp_path / 'gray.png', gray)
  (pair,) = benchmarks.Benchmark(path)
  assert pair.hr.shape == (48, 64, 3)
  assert (pair.hr == gray[..., None]).all()


def test_learned_metrics_stand_beside_the_protocols(benchmark):
  class Mean:
    name = 'mean_difference'

    def __call__(self, sr, hr):
      return float(np.abs(sr.astype(float) - hr).mean())

  result = report.evaluate(
    methods.BASELINES['nearest'],
    benchmarks.Benchmark(benchmark / 'HR'),
    ['y'],
    [Mean()],
  )
  assert list(report.flat(result.mean)) == [
    'psnr_y', 'ssim_y', 'mean_difference'
  ]  # fmt: skip
  assert result.as_json()['mean']['mean_difference'] > 1
  assert 'mean_difference' in result.table()


# --- names --------------------------------------------------------------------


@pytest.mark.parametrize(
  ('originals', 'others'),
  [
    ('baby bird', 'baby_SR bird_SR'),
    ('baby bird', 'babyx4 birdx4'),
    ('baby_HR bird_GT', 'baby_LR bird_LR'),
    ('img_001_SRF_4_HR img_002_SRF_4_HR', 'img_001_SRF_4_LR img_002_SRGAN'),
    ('img img_1 img_10', 'img-sr img_1-sr img_10-sr'),
  ],
)
def test_files_find_their_originals(tmp_path, originals, others):
  originals, others = (
    [tmp_path / f'{name}.png' for name in names.split()]
    for names in (originals, others)
  )
  found = benchmarks.match(originals, others[::-1])
  assert [found[path] for path in originals] == others


@pytest.mark.parametrize(
  ('originals', 'others', 'message'),
  [
    ('a b', 'a', 'has no version of .*b.png'),
    ('a b', 'a b c', 'c.png belongs to no image'),
    ('a b', 'a b a_SR', 'a.png and .*a_SR.png both belong to .*a.png'),
    ('img_1 b', 'img_10 b', 'img_10.png belongs to no image'),
  ],
)
def test_files_without_a_partner_are_named(
  tmp_path, originals, others, message
):
  originals, others = (
    [tmp_path / f'{name}.png' for name in names.split()]
    for names in (originals, others)
  )
  with pytest.raises(ValueError, match=message):
    benchmarks.match(originals, others)


# --- errors -------------------------------------------------------------------


def test_bad_input_is_one_line_naming_the_file(benchmark, capsys):
  hr = benchmark / 'HR'
  write(benchmark / 'LR' / 'a.png', picture(12, 16))
  write(benchmark / 'LR' / 'b.png', picture(13, 16))
  write(benchmark / 'SR' / 'a.png', picture(48, 64))
  write(benchmark / 'SR' / 'b.png', picture(40, 64))
  write(benchmark / 'tiny' / 'a.png', picture(12, 12))
  (benchmark / 'empty').mkdir()
  (benchmark / 'broken').mkdir()
  for name in 'ab':
    (benchmark / 'broken' / f'{name}.png').write_text('not a picture')
  (benchmark / 'broken_hr').mkdir()
  whole = (hr / 'a.png').read_bytes()
  (benchmark / 'broken_hr' / 'a.png').write_bytes(whole[: len(whole) // 2])
  bicubic = ('--model', 'bicubic')
  cases = [
    ((*bicubic, '--hr', benchmark / 'none'), 'none: no such file or folder'),
    ((*bicubic, '--hr', benchmark / 'empty'), 'empty holds no image files'),
    ((*bicubic, '--hr', benchmark / 'broken_hr'), 'a.png: not a readable'),
    (
      (*bicubic, '--hr', benchmark / 'tiny', '--protocol', 'y'),
      "a.png has 12x12 pixels, too few: protocol 'y' needs 20x20",
    ),
    (
      (*bicubic, '--hr', hr, '--lr', benchmark / 'LR'),
      'b.png has 13x16 pixels; a quarter of',
    ),
    (
      (*bicubic, '--hr', hr, '--lr', benchmark / 'broken'),
      'a.png: not a readable image',
    ),
    (('--sr', benchmark / 'SR', '--hr', hr), 'b.png has 40x64 pixels'),
    (('--sr', benchmark / 'none', '--hr', hr), 'none: no such file or folder'),
    (('--sr', hr, '--hr', hr, '--back-project', 1), 'for generators'),
    ((*bicubic, '--hr', hr, '--strength', 0.5), 'for generators'),
    (('--model', hr, '--hr', hr, '--strength', 0.5), 'for generators'),
    (('--model', hr, '--hr', hr, '--back-project', 1), 'for generators'),
    (('--model', hr, '--hr', hr, '--degrade', 'jpeg9'), 'upscaled already'),
    (('--model', 'nowhere.safetensors', '--hr', hr), 'nowhere.safetensors'),
    (
      (*bicubic, '--hr', hr, '--json', benchmark / 'no' / 'x.json'),
      'there is no folder',
    ),
  ]
  for arguments, message in cases:
    said = run(capsys, *arguments, status=1)
    assert said.startswith('evaluate: ') and said.count('\n') == 1, said
    assert message in said
  with pytest.raises(SystemExit):
    evaluate.main(['--model', 'bicubic', '--hr', 'x', '--protocol', 'psnr'])
  assert "'psnr' is not one of paper, y, rgb" in capsys.readouterr().err


# --- comparisons --------------------------------------------------------------


def test_the_hardest_region_is_where_bicubic_is_worst():
  hr = np.full((128, 128, 3), 128, np.uint8)
  rng = np.random.default_rng(0)
  hr[64:96, 32:64] = rng.integers(0, 256, (32, 32, 3))
  left, top, width, height = panels.hardest(
    benchmarks.make_pair('noise', hr), 32
  )
  assert (width, height) == (32, 32)
  assert abs(left - 32) <= 2 and abs(top - 64) <= 2
