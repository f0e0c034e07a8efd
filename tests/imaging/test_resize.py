"""`imresize` against MATLAB's files and against its definition, tap by tap."""

import math

import numpy as np
from PIL import Image
import pytest

from srgan_jax.imaging import imresize
from srgan_jax.imaging.resize import imresize_to


def _reference(image, scales, edge, size=None):
  """MATLAB's definition, written as loops over pixels and taps."""
  order = np.argsort(scales, kind='stable')  # [~, order] = sort(scale)
  size = size or [
    math.ceil(n * s) for n, s in zip(image.shape[:2], scales, strict=True)
  ]
  for axis in order:
    scale = scales[axis]
    image = np.moveaxis(image, axis, 0)
    length = image.shape[0]
    rows = []
    for i in range(size[axis]):
      u = (i + 1) / scale + 0.5 * (1 - 1 / scale)  # 1-based
      stretch = min(1.0, scale)
      first = math.floor(u - 2 / stretch)
      total, row = 0.0, 0.0
      for j in range(first, first + math.ceil(4 / stretch) + 2):
        x = abs(stretch * (u - j))
        if x <= 1:
          weight = 1.5 * x**3 - 2.5 * x**2 + 1
        elif x <= 2:
          weight = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        else:
          weight = 0.0
        k = j - 1
        if edge == 'clamp':
          k = min(max(k, 0), length - 1)
        else:
          while not 0 <= k < length:
            k = -1 - k if k < 0 else 2 * length - 1 - k
        total += weight
        row = row + weight * image[k].astype(float)
      rows.append(np.clip(np.floor(row / total + 0.5), 0, 255))
    image = np.moveaxis(np.stack(rows).astype(np.uint8), 0, axis)
  return image


@pytest.mark.parametrize('benchmark', ['Set5', 'Set14'])
def test_public_lr_files_come_out_byte_for_byte(shared_data, benchmark):
  folder = shared_data / 'benchmarks' / benchmark
  files = sorted((folder / 'HR').glob('*.png'))
  assert len(files) == int(benchmark[3:])
  for file in files:
    hr = np.asarray(Image.open(file))
    lr = np.asarray(Image.open(folder / 'LRx4' / file.name))
    np.testing.assert_array_equal(imresize(hr, 1 / 4), lr, file.name)


@pytest.mark.parametrize('edge', ['clamp', 'mirror'])
@pytest.mark.parametrize('scale', [1 / 4, 1 / 2, 1 / 3, 0.7, 1, 2, 4])
def test_equals_the_definition(scale, edge):
  image = np.random.default_rng(0).integers(0, 256, (13, 10, 3), np.uint8)
  np.testing.assert_array_equal(
    imresize(image, scale, edge), _reference(image, (scale, scale), edge)
  )


@pytest.mark.parametrize(
  'size',
  [
    (16, 20),
    (32, 10),
    (16, 10),
    (64, 12),
    (9, 40),
    (33, 21),
    (31, 21),
    (50, 5),
  ],
)
def test_the_smaller_of_two_scales_is_taken_first(size):
  image = np.random.default_rng(1).integers(0, 256, (32, 20, 3), np.uint8)
  scales = (size[0] / 32, size[1] / 20)
  expected = _reference(image, scales, 'clamp', size)
  np.testing.assert_array_equal(imresize_to(image, *size), expected)


def test_which_scale_is_first_shows_in_whole_numbers():
  # By hand. A pair is halved to its mean, here 255 and 127.5, rounded to 128;
  # (a, b) is doubled to (137a - 9b, 102a + 26b, 26a + 102b, 137b - 9a) / 128.
  # Doubled first, the last would be the mean of 0 and 255, 128.
  image = np.array([[255, 255], [0, 255]], np.uint8)
  expected = [255, 229, 154, 119]
  assert imresize_to(image, 4, 1)[:, 0].tolist() == expected
  assert imresize_to(image.T, 1, 4)[0].tolist() == expected


def test_mirror_reads_several_reflections_of_a_tiny_image():
  image = np.array([[0, 255], [255, 0]], np.uint8)
  np.testing.assert_array_equal(
    imresize(image, 1 / 4, 'mirror'),
    _reference(image, (1 / 4, 1 / 4), 'mirror'),
  )


def test_two_roundings_differ_from_one():
  image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
  once = np.floor(imresize(image.astype(float), 1 / 4) + 0.5).clip(0, 255)
  differing = np.mean(imresize(image, 1 / 4) != once)
  assert 0.02 < differing < 0.3  # 11 % on photos


def test_floats_are_neither_rounded_nor_clipped():
  step = np.repeat([0.0, 1.0], 16)[None].repeat(32, axis=0)
  resized = imresize(step, 4)
  assert resized.min() < 0 and resized.max() > 1
  assert resized.dtype == np.float64


def test_uint16_keeps_its_depth():
  image = np.full((8, 8), 65535, np.uint16)
  image[:, 4:] = 0
  resized = imresize(image, 2)
  assert resized.dtype == np.uint16
  assert resized.max() == 65535 and resized.min() == 0


@pytest.mark.parametrize(
  ('image', 'scale', 'edge', 'message'),
  [
    (np.zeros((0, 4), np.uint8), 2, 'clamp', r'shape \(0, 4\)'),
    (np.zeros((4,), np.uint8), 2, 'clamp', r'shape \(4,\)'),
    (np.zeros((4, 4), np.int32), 2, 'clamp', 'int32'),
    (np.zeros((4, 4), np.uint8), 0, 'clamp', 'not 0'),
    (np.zeros((4, 4), np.uint8), math.nan, 'clamp', 'nan'),
    (np.zeros((4, 4), np.uint8), 2, 'wrap', "'wrap'"),
  ],
)
def test_bad_input_is_named(image, scale, edge, message):
  with pytest.raises(ValueError, match=message):
    imresize(image, scale, edge)
