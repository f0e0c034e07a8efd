"""The shipped generators: whole, described, and worth shipping."""

import jax
import numpy as np
import pytest

import srgan_jax
from srgan_jax import pretrained, weights
from srgan_jax.evaluation import benchmarks, methods, metrics, report
from srgan_jax.imaging import imresize
from tests.support import repository

pytestmark = pytest.mark.usefixtures('optimized')

FOLDER = repository.ROOT / 'srgan_jax' / 'pretrained'
SHIPPED = sorted(FOLDER.glob('*.safetensors'))


def test_they_are_those_that_have_names_and_not_large():
  assert {path.stem for path in SHIPPED} == set(pretrained.FILES.values())
  assert sum(path.stat().st_size for path in SHIPPED) < 22 * 2**20
  assert pretrained.find('srresnet') == pretrained.find('srresnet-mse')
  assert pretrained.find(pretrained.DEFAULT) in SHIPPED
  assert pretrained.find('srgan') == pretrained.find('srgan-vgg54')


def test_an_srgan_of_degraded_pictures_starts_from_photo():
  """So that no strength of it brings the blocks and the noise back."""
  photo, least = (
    srgan_jax.load('photo'),
    srgan_jax.load('photo-srgan', strength=0),
  )
  jax.tree.map(np.testing.assert_array_equal, least.variables, photo.variables)
  # The page asks by the file, not by its name.
  file = pretrained.find('photo-srgan')
  assert pretrained.find_srresnet(file) == pretrained.find('photo')


def test_a_file_is_itself_and_another_name_names_the_nearest(tmp_path):
  mine = tmp_path / 'my.safetensors'
  mine.touch()
  assert pretrained.find(mine) == mine
  with pytest.raises(
    ValueError, match=r'srgn: no such .*mean srgan\?\): .*mse'
  ):
    pretrained.find('srgn')


def test_a_folder_takes_no_generators_name(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  shipped = pretrained.find('srgan')
  (tmp_path / 'srgan').mkdir()
  assert pretrained.find('srgan') == shipped
  benchmark = benchmarks.Benchmark(repository.PHOTOS / 'validation')
  assert str(shipped) in methods.open_method('srgan', benchmark).origin
  with pytest.raises(ValueError, match='srgan'):  # an empty folder of results
    methods.open_method('./srgan', benchmark)


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_each_says_what_it_is_as_the_card_does(path):
  _, _, metadata = weights.load_generator(path)
  training = metadata['training']
  for fact in ('label', 'steps', 'data', 'hardware', 'licence', 'figures'):
    assert training[fact]
  card = (FOLDER / 'MODEL_CARD.md').read_text()
  assert f'{training["steps"]:,} updates' in card
  for name in ('Set5', 'Set14'):
    figures = training['figures'][name]
    row = f'{figures["psnr_y"]:.2f} / {figures["ssim_y"]:.4f}'
    assert row in card, row


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_each_has_the_figures_that_it_states(path, shared_data):
  folder = shared_data / 'benchmarks' / 'Set5'
  benchmark = benchmarks.Benchmark(folder / 'HR', folder / 'LRx4')
  method = methods.open_method(str(path), benchmark)
  mean = report.evaluate(method, benchmark, ['y']).mean
  stated = weights.load_generator(path)[2]['training']['figures']['Set5']
  assert mean['y', 'psnr'] == pytest.approx(stated['psnr_y'], abs=0.01)
  assert mean['y', 'ssim'] == pytest.approx(stated['ssim_y'], abs=0.001)


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_each_beats_bicubic_and_keeps_colours(path):
  """On parts of the package's photos; of an SRGAN the PSNR says nothing."""
  upscaler = srgan_jax.load(path)
  gains = []
  for pair in benchmarks.Benchmark(repository.PHOTOS / 'validation'):
    lr, hr = pair.lr[8:56, 8:56], pair.hr[32:224, 32:224]
    sr = upscaler(lr)
    ours, bicubic = (
      metrics.score(image, hr, 'y')['psnr'] for image in (sr, imresize(lr, 4))
    )
    gains.append(ours - bicubic)
    shift = sr.mean((0, 1)) - lr.mean((0, 1))
    # The card says by how much an SRGAN of few updates moves them.
    assert np.abs(shift).max() < (1 if path.stem.startswith('srresnet') else 6)
  assert not path.stem.startswith('srresnet') or np.mean(gains) > 0.2
