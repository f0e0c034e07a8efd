"""Back-projection: the exact resizes' own, whatever the tile."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

import srgan_jax
from srgan_jax import pretrained, weights
from srgan_jax.evaluation import benchmarks, methods, metrics
from srgan_jax.imaging import resize
from srgan_jax.models import folded
from srgan_jax.upscaling import upscaler
from tests.support.upscaling import (
  nearest_neighbour,
  network,
  noise,
  save_generator,
)


def expected(lr, steps):
  """In NumPy and float64, from the network's float result; both in [0, 1]."""
  sr = upscaler.Upscaler(*network())(lr).astype(np.float64)
  for _ in range(steps):
    missing = lr - resize.imresize(sr, 1 / 4)
    sr = sr + resize.imresize(missing, 4)
  return sr.clip(0, 1)


def picture(height, width):
  return noise(height, width, 3).astype(np.float32) / np.float32(255)


# A pixel, narrower than what a step sees, a tile, several tiles.
SIZES = [(1, 1), (2, 19), (40, 40), (41, 95), (90, 57)]


@pytest.mark.parametrize('steps', [1, 2])
def test_each_step_is_that_of_the_exact_resizes(steps):
  automatic = upscaler.Upscaler(*network(), back_project=steps)
  tiled = upscaler.Upscaler(*network(), back_project=steps, tile=48)
  for size in SIZES:
    lr = picture(*size)
    truth = expected(lr, steps)
    for call in (automatic, tiled):
      np.testing.assert_allclose(call(lr), truth, atol=5e-6, err_msg=size)
  plain = upscaler.Upscaler(*network())(lr)
  assert np.abs(truth - plain).mean() > 0.01  # it is not nothing


def test_a_step_sees_as_far_as_its_halo(monkeypatch):
  """By a network that sees its own pixel alone, so that no more is hidden."""
  monkeypatch.setattr(folded, 'halo', lambda generator: 0)
  lr = picture(21, 34)
  sr = lr.repeat(4, axis=0).repeat(4, axis=1).astype(np.float64)
  for steps, tile in ((1, 9), (2, 17)):
    sr = sr + resize.imresize(lr - resize.imresize(sr, 1 / 4), 4)
    tiled = upscaler.Upscaler(
      *nearest_neighbour(), tile=tile, back_project=steps
    )
    np.testing.assert_allclose(tiled(lr), sr.clip(0, 1), atol=2e-6)


def test_all_kinds_of_pictures_and_jit_take_it():
  call = upscaler.Upscaler(*network(), back_project=1)
  rgb = noise(11, 9, 3)
  truth = 255 * expected(rgb / np.float32(255), 1)
  assert np.abs(call(rgb) - truth).max() <= 0.51
  traced = jax.jit(call)(jnp.asarray(rgb))
  assert np.abs(np.asarray(traced, int) - call(rgb)).max() <= 1
  deep = call((rgb * np.uint16(257)).astype(np.uint16))
  assert np.abs(deep - 257 * truth).max() <= 1
  rgba = np.dstack([rgb, np.full((11, 9), 255, np.uint8)])
  np.testing.assert_array_equal(call(rgba)[..., :3], call(rgb))
  gray = Image.fromarray(rgb).convert('L')
  ours = np.asarray(call(gray), int)
  same = np.asarray(call(gray.convert('RGB')), float)
  assert np.abs(ours - same @ [0.299, 0.587, 0.114]).max() <= 1


@pytest.mark.parametrize('steps', [-1, 0.5, True, 1000])
def test_other_steps_are_refused(steps):
  with pytest.raises(ValueError, match='back_project must be'):
    upscaler.Upscaler(*network(), back_project=steps)


def test_a_file_recommends_it_and_a_caller_decides(tmp_path):
  generator, variables = network()
  path = save_generator(tmp_path / 'generator.safetensors', back_project=1)
  image = noise(9, 12, 3)
  off, on = (
    upscaler.Upscaler(generator, variables, back_project=n)(image)
    for n in (0, 1)
  )
  assert (off != on).mean() > 0.5
  np.testing.assert_array_equal(srgan_jax.load(path)(image), on)
  np.testing.assert_array_equal(
    srgan_jax.load(path, back_project=0)(image), off
  )
  # An evaluation is of the network alone unless asked.
  pair = benchmarks.Pair('x', np.zeros((36, 48, 3), np.uint8), image)
  method = methods.open_method(str(path), None)
  np.testing.assert_array_equal(method.upscale(pair), off)


def test_the_srgan_that_ships_gains_a_little_from_it(shared_data):
  """PSNR of Set5, in dB: it has learnt most of it (`configs/consistent.py`)."""
  folder = shared_data / 'benchmarks' / 'Set5'
  # All but the first, as large as the other four together.
  _, *pairs = benchmarks.Benchmark(folder / 'HR', folder / 'LRx4')
  generator, variables, _ = weights.load_generator(pretrained.find('srgan'))
  plain, projected = (
    np.mean(
      [metrics.score(upscale(p.lr), p.hr, 'paper')['psnr'] for p in pairs]
    )
    for upscale in (
      upscaler.Upscaler(generator, variables, back_project=steps)
      for steps in (0, 1)
    )
  )
  assert 0.05 < projected - plain < 0.2
  assert plain > 29.5
