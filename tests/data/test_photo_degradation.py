"""The degradation 'photo': JPEG against Pillow's encoder, and each stage."""

import io

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from srgan_jax.data import batch, degradation, jpeg
from srgan_jax.imaging import resize


def _photo(height=96, width=128, seed=0):
  """Smooth areas, edges and noise."""
  rng = np.random.default_rng(seed)
  coarse = rng.integers(0, 256, (height // 16, width // 16, 3)).astype(np.uint8)
  smooth = np.asarray(Image.fromarray(coarse).resize((width, height)), float)
  smooth[height // 3 : height // 2, ::3] = rng.integers(0, 256, 3)
  smooth[:, width // 2 :] += rng.normal(0, 12, (height, width // 2, 3))
  return smooth.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize('quality', [10, 40, 50, 75, 90, 95, 100])
def test_jpeg_is_pillows(quality):
  rng = np.random.default_rng(quality)
  noise = rng.integers(0, 256, (96, 128, 3), np.uint8)
  extremes = 255 * (noise > 127).astype(np.uint8)
  images = np.stack([_photo(seed=quality), noise, extremes])
  ours = jax.jit(jpeg.compress)(images, jnp.full(3, quality + 0.5))
  for image, result in zip(images, ours, strict=True):
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'JPEG', quality=quality, subsampling=2)
    np.testing.assert_array_equal(result, Image.open(file))


@pytest.mark.parametrize(
  ('kernel', 'expected'),
  [
    # A pixel is the mean of what it covers.
    (0, lambda row, size: np.repeat(row, size).reshape(size, -1).mean(axis=1)),
    (1, lambda row, size: _by_pillow(row, size, Image.BILINEAR)),
    (2, lambda row, size: _by_pillow(row, size, Image.BICUBIC)),
  ],
)
@pytest.mark.parametrize(('source', 'target'), [(60, 25), (37, 52), (32, 32)])
def test_a_resize_is_that_of_its_kernel(kernel, expected, source, target):
  row = np.random.default_rng(0).random(source).astype(np.float32)
  if kernel == 0 and target > source:
    pytest.skip('area is for shrinking')
  matrix = degradation.resize_matrix(
    *(jnp.array([value]) for value in (kernel, source, target)), 64, 64
  )[0]
  result = np.asarray(matrix) @ np.pad(row, (0, 64 - source), constant_values=9)
  np.testing.assert_allclose(result[:target], expected(row, target), atol=1e-5)
  np.testing.assert_array_equal(result[target:], 0)


def _by_pillow(row, size, kernel):
  image = Image.fromarray(np.tile(row, (4, 1)))
  return np.asarray(image.resize((size, 4), kernel))[0]


def test_filters_keep_flat_areas_and_reach_the_edge():
  pixels = jnp.full((2, 40, 40, 3), 200.0)
  image = degradation._Image(pixels, jnp.array([40, 17]))
  kernels = degradation.gaussian_kernels(
    jnp.array([0.2, 3.0]), jnp.array([2.0, 1.0]), jnp.array([0.0, 1.0])
  )
  np.testing.assert_allclose(
    degradation._filter(image, kernels).pixels, pixels, atol=1e-3
  )


def test_a_filter_is_the_correlation_with_its_kernel():
  rng = np.random.default_rng(0)
  pixels = rng.uniform(60, 190, (1, 32, 32, 3)).astype(np.float32)
  kernel = rng.random((1, 21, 21)).astype(np.float32)
  kernel /= kernel.sum()
  image = degradation._Image(jnp.asarray(pixels), jnp.array([32]))
  padded = np.pad(pixels[0], ((10, 10), (10, 10), (0, 0)), mode='edge')
  windows = np.lib.stride_tricks.sliding_window_view(padded, (21, 21), (0, 1))
  expected = np.einsum('hwcij,ij->hwc', windows, kernel[0, ::-1, ::-1])
  result = degradation._filter(image, jnp.asarray(kernel)).pixels[0]
  np.testing.assert_allclose(result, expected, atol=1e-2)


def test_sinc_filters_are_low_pass():
  """The frequency response is 1 below the cutoff and 0 above, but rings."""
  kernels = degradation._sinc_kernels()
  response = np.abs(np.fft.fft2(kernels, (256, 256)))
  frequency = np.abs(np.fft.fftfreq(256)) * 2 * np.pi
  radius = np.hypot(frequency[:, None], frequency[None, :])
  for cutoff, each in zip(degradation._CUTOFFS[:20], response, strict=False):
    assert each[radius < 0.7 * cutoff].min() > 0.8
    assert each[radius > 1.3 * cutoff].max() < 0.2


def test_a_key_decides_the_degradation_and_a_quarter_stays_clean():
  crops = jnp.asarray(np.stack([_photo(64, 64, seed) for seed in range(64)]))
  degrade = jax.jit(degradation.degrade)
  first, again, other = (
    np.asarray(degrade(jax.random.key(seed), crops)) for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(first, again)
  assert (first != other).any(axis=(1, 2, 3)).mean() > 0.8
  clean = np.asarray(resize.downscale_crops(crops))
  assert first.shape == clean.shape and first.dtype == np.uint8
  is_clean = (first == clean).all(axis=(1, 2, 3))
  assert 8 <= is_clean.sum() <= 26
  # Nothing is moved: each LR is nearest to its own crop.
  distance = np.abs(first[:, None].astype(int) - clean).mean(axis=(2, 3, 4))
  assert (distance.argmin(axis=1) == np.arange(64)).mean() > 0.9


def test_degraded_batches_keep_their_originals():
  crops = np.stack([_photo(64, 64, seed) for seed in range(4)])
  symmetry = jnp.arange(4)
  make = jax.jit(batch.make_batch)
  plain = make(crops, symmetry)
  degraded = make(crops, symmetry, jax.random.key(3))
  np.testing.assert_array_equal(plain.hr, degraded.hr)
  assert plain.lr.shape == degraded.lr.shape
  assert not np.array_equal(plain.lr, degraded.lr)
