"""A training crop's LR equals the crop of the full image's LR, byte by byte."""

import jax
import numpy as np
import pytest

from srgan_jax.data import batch as batch_lib
from srgan_jax.data import draw
from srgan_jax.imaging import imresize, resize

SIZE = 48


@pytest.fixture(scope='module')
def photo():
  # Extremes beside each other make over- and undershoots that are clipped.
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, (129, 142, 3), np.uint8)
  return np.where(rng.random((129, 142, 1)) < 0.3, noise // 128 * 255, noise)


def _positions(photo):
  bottom, right = (side // 4 * 4 - SIZE for side in photo.shape[:2])
  return [(y, x) for y in (0, 4, 40, bottom) for x in (0, 8, 44, right)]


def test_lr_is_the_crop_of_the_full_lr_made_before_the_symmetry(photo):
  full = imresize(photo[:128, :140], 1 / 4)
  drawn = [(y, x, s) for y, x in _positions(photo) for s in range(8)]
  crops = np.stack([draw.cut(photo, y, x, crop_size=SIZE) for y, x, _ in drawn])
  symmetries = np.array([symmetry for *_, symmetry in drawn], np.int32)
  made = jax.tree.map(
    np.asarray, jax.jit(batch_lib.make_batch)(crops, symmetries)
  )
  for i, (y, x, symmetry) in enumerate(drawn):
    lr = full[y // 4 : (y + SIZE) // 4, x // 4 : (x + SIZE) // 4]
    hr = photo[y : y + SIZE, x : x + SIZE]
    for bit, move in ((1, np.flipud), (2, np.fliplr), (4, _transpose)):
      if symmetry & bit:
        lr, hr = move(lr), move(hr)
    np.testing.assert_array_equal(_to_bytes(made.lr[i], 0, 255), lr)
    np.testing.assert_array_equal(_to_bytes(made.hr[i], 1, 127.5), hr)


def test_a_transposed_crop_has_another_lr(photo):
  """Why the symmetry comes last: the rounding between the passes."""
  hr = photo[:128, :128]
  transposed = imresize(np.ascontiguousarray(_transpose(hr)), 1 / 4)
  assert np.any(transposed != _transpose(imresize(hr, 1 / 4)))


def test_the_compiled_products_are_in_full_float32():
  crops = np.zeros((2, SIZE + 16, SIZE + 16, 3), np.uint8)
  lowered = jax.jit(resize.downscale_crops).lower(crops)
  dots = [
    line for line in lowered.as_text().splitlines() if 'dot_general' in line
  ]
  assert len(dots) == 2
  assert all('precision = [HIGHEST, HIGHEST]' in line for line in dots)
  assert all('xf32>' in line and 'bf16' not in line for line in dots)
  compiled = lowered.compile().as_text()
  assert 'bf16' not in compiled and 'f16[' not in compiled


def _transpose(image):
  return image.swapaxes(0, 1)


def _to_bytes(x, offset, factor):
  return np.round((np.asarray(x) + offset) * factor).astype(np.uint8)
