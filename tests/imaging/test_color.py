"""Lumas against scikit-image and BT.709's code values; the value ranges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.color import rgb2ycbcr

from srgan_jax.imaging import color

LEVELS = np.arange(256, dtype=np.uint8)


def _noise(*shape):
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_bt601_is_scikit_image_0_26s_rgb2ycbcr():
  image = _noise(23, 31, 3)
  luma = color.luma_bt601(image)
  assert luma.dtype == np.float64
  # The coefficients sum to 219 on both sides; only the last bits may differ.
  np.testing.assert_allclose(luma, rgb2ycbcr(image)[..., 0], rtol=1e-13)


# Code values of ITU-R BT.709's 100 % colour bars and of mid grey, 8 bits.
@pytest.mark.parametrize(
  ('rgb', 'code'),
  [
    ((255, 255, 255), 235),
    ((255, 255, 0), 219),
    ((0, 255, 255), 188),
    ((0, 255, 0), 173),
    ((255, 0, 255), 78),
    ((255, 0, 0), 63),
    ((0, 0, 255), 32),
    ((0, 0, 0), 16),
    ((128, 128, 128), 126),
  ],
)
def test_bt709_gives_the_code_values_of_the_colour_bars(rgb, code):
  luma = color.luma_bt709(np.array([[rgb]], np.uint8))
  assert luma.dtype == np.uint8
  assert luma.tolist() == [[code]]


def test_bt709_rounds_to_the_nearest_level():
  image = _noise(40, 40, 3)
  exact = 16 + image @ np.array([0.2126, 0.7152, 0.0722]) * 219 / 255
  error = color.luma_bt709(image) - exact
  assert abs(error).max() <= 0.5 + 1e-9
  assert error.min() < -0.45 and error.max() > 0.45


@pytest.mark.parametrize('luma', [color.luma_bt601, color.luma_bt709])
@pytest.mark.parametrize(
  'image',
  [_noise(4, 4), _noise(4, 4, 4), _noise(4, 4, 3).astype(np.float32)],
  ids=['gray', 'rgba', 'float'],
)
def test_luma_refuses_what_is_not_uint8_rgb(luma, image):
  with pytest.raises(ValueError, match=str(image.dtype)) as error:
    luma(image)
  assert str(list(image.shape)) in str(error.value)


@pytest.mark.parametrize('as_array', [np.asarray, jnp.asarray])
def test_ranges_end_where_they_should(as_array):
  unit = color.uint8_to_unit(as_array(LEVELS))
  signed = color.uint8_to_signed(as_array(LEVELS))
  assert unit.dtype == signed.dtype == np.float32
  assert isinstance(unit, type(as_array(LEVELS)))
  np.testing.assert_allclose(unit, np.linspace(0, 1, 256), atol=1e-7)
  np.testing.assert_allclose(signed, np.linspace(-1, 1, 256), atol=1e-7)
  assert (unit[0], unit[-1], signed[0], signed[-1]) == (0, 1, -1, 1)


@pytest.mark.parametrize('dtype', [np.uint8, np.float32, jnp.bfloat16])
def test_every_level_survives_the_way_there_and_back(dtype):
  def there_and_back(levels):
    return color.signed_to_uint8(color.uint8_to_signed(levels))

  levels = jnp.asarray(LEVELS).astype(dtype)  # bfloat16 holds 0..255 exactly
  for back in (
    there_and_back(np.asarray(levels)),
    there_and_back(levels),
    jax.jit(there_and_back)(levels),
  ):
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, LEVELS)


@pytest.mark.parametrize('as_array', [np.asarray, jnp.asarray])
def test_values_out_of_range_are_clipped_and_never_wrap_around(as_array):
  x = as_array(np.array([-1e9, -1.01, 1.004, 1.01, 3.5, 1e9], np.float32))
  assert color.signed_to_uint8(x).tolist() == [0, 0, 255, 255, 255, 255]


def test_halves_round_up():
  # 0 is level 127.5 exactly, the others lie a little below.
  x = np.array([0.0, -1e-6, -0.0078125], np.float32)
  assert color.signed_to_uint8(x).tolist() == [128, 127, 127]


def test_a_pictures_mean_colour_does_not_shift():
  picture = np.clip(_noise(64, 64, 3).astype(int) + 128, 0, 255)
  picture = picture.astype(np.uint8)  # half of it at white
  noise = np.random.default_rng(1).normal(0, 1e-3, picture.shape)
  back = color.signed_to_uint8(color.uint8_to_signed(picture) + noise)
  assert abs(back.mean() - picture.mean()) < 0.01
