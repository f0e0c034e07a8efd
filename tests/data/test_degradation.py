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


def test_lr_crop_is_the_crop_of_the_full_lr(photo):
  hr = photo[:128, :140]
  full = imresize(hr, 1 / 4)
  positions = _positions(photo)
  crops = np.stack(
    [draw.cut(photo, y, x, crop_size=SIZE) for y, x in positions]
  )
  lr = jax.jit(resize.downscale_crops)(crops)
  for (y, x), ours in zip(positions, np.asarray(lr), strict=True):
    theirs = full[y // 4 : (y + SIZE) // 4, x // 4 : (x + SIZE) // 4]
    np.testing.assert_array_equal(ours, theirs, f'{y}, {x}')


@pytest.mark.parametrize('symmetry', range(8))
def test_lr_is_made_before_the_symmetry(photo, symmetry):
  full = imresize(photo[:128, :140], 1 / 4)
  positions = _positions(photo)
  crops = np.stack(
    [draw.cut(photo, y, x, crop_size=SIZE) for y, x in positions]
  )
  made = jax.jit(batch_lib.make_batch)(
    crops, np.full(len(crops), symmetry, np.int32)
  )
  for i, (y, x) in enumerate(positions):
    lr = full[y // 4 : (y + SIZE) // 4, x // 4 : (x + SIZE) // 4]
    hr = photo[y : y + SIZE, x : x + SIZE]
    for bit, move in ((1, np.flipud), (2, np.fliplr), (4, _transpose)):
      if symmetry & bit:
        lr, hr = move(lr), move(hr)
    np.testing.assert_array_equal(_to_bytes(made.lr[i], 0, 255), lr)
    np.testing.assert_array_equal(_to_bytes(made.hr[i], 1, 127.5), hr)


def test_the_symmetries_are_eight_and_reach_each_row_of_its_own():
  image = np.arange(9, dtype=np.uint8).reshape(3, 3, 1)
  turned = batch_lib.apply_symmetry(
    np.stack([image] * 8), np.arange(8, dtype=np.int32)
  )
  assert len({x.tobytes() for x in np.asarray(turned)}) == 8


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


def test_bfloat16_products_would_be_seen(photo, monkeypatch):
  """The byte tests above can fail: in bfloat16 the weights are not exact."""
  crop = draw.cut(photo, 40, 44, crop_size=SIZE)[None]
  exact = resize.downscale_crops(crop)
  matrix = resize._crop_matrix
  monkeypatch.setattr(
    resize,
    '_crop_matrix',
    lambda *sides: np.asarray(
      jax.numpy.asarray(matrix(*sides), 'bfloat16'), np.float32
    ),
  )
  assert np.any(np.asarray(resize.downscale_crops(crop)) != exact)


def _transpose(image):
  return image.swapaxes(0, 1)


def _to_bytes(x, offset, factor):
  return np.round((np.asarray(x) + offset) * factor).astype(np.uint8)
