"""The upscaling call: what it takes, what it refuses, what it says."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

import srgan_jax
from srgan_jax import pretrained
from srgan_jax.imaging import color, resize
from srgan_jax.upscaling import upscaler
from srgan_jax.weights import architecture
from tests.support.image_files import profile
from tests.support.upscaling import network, noise


@pytest.fixture(scope='module')
def upscaler_(model):
  return srgan_jax.load(model)


@pytest.mark.parametrize(
  'dtype', [np.uint8, np.uint16, '>u2', np.float16, '>f4', np.float64]
)
def test_every_dtype_comes_back(upscaler_, dtype):
  top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
  image = (np.random.default_rng(0).random((9, 7, 3)) * top).astype(dtype)
  sr = upscaler_(image)
  assert sr.dtype == dtype and sr.shape == (36, 28, 3)
  exact = upscaler_(color.to_unit(image)).astype(np.float64) * top
  step = 0.51 if top > 1 else 1e-3
  assert np.abs(sr.astype(np.float64) - exact).max() <= step
  assert sr.std() > top * 0.02


def test_every_number_of_channels_comes_back(upscaler_):
  rgba = noise(9, 7, 4)
  rgb = upscaler_(rgba[..., :3])
  sr = upscaler_(rgba)
  np.testing.assert_array_equal(sr[..., :3], rgb)
  np.testing.assert_array_equal(sr[..., 3], resize.imresize(rgba[..., 3], 4))
  gray = upscaler_(rgba[..., 0])
  assert gray.shape == (36, 28)
  three = upscaler_(rgba[..., [0, 0, 0]])
  luma = np.asarray(Image.fromarray(three).convert('L'))
  assert np.abs(gray.astype(int) - luma).max() <= 1
  np.testing.assert_array_equal(upscaler_(rgba[..., :1])[..., 0], gray)
  both = upscaler_(rgba[..., [0, 3]])
  np.testing.assert_array_equal(both[..., 0], gray)
  np.testing.assert_array_equal(both[..., 1], sr[..., 3])


def test_a_program_that_forbids_rank_promotion_can_load_and_upscale(model):
  image = noise(11, 13, 3)
  with jax.numpy_rank_promotion('raise'):
    architecture._shapes_of.cache_clear()
    strict = srgan_jax.load(model, back_project=1)
    sr, traced = strict(image), jax.jit(strict)(image)
  np.testing.assert_array_equal(sr, strict(image))
  assert np.abs(sr.astype(int) - traced).max() <= 1


def test_alpha_is_tiled_without_a_seam(model):
  tiled = srgan_jax.load(model, tile=32)
  rgba = noise(70, 45, 4)
  alpha = tiled(rgba)[..., 3]
  np.testing.assert_array_equal(alpha, resize.imresize(rgba[..., 3], 4))


def test_hidden_colours_do_not_bleed(upscaler_):
  image = np.full((30, 30, 4), 200, np.uint8)
  image[:, 15:, 3] = 0
  clean = upscaler_(image)
  image[:, 15:, :3] = 0  # black, where it cannot be seen
  np.testing.assert_array_equal(upscaler_(image), clean)


def test_batches_jit_and_jax_arrays(upscaler_):
  images = noise(3, 9, 7, 3)
  each = np.stack([upscaler_(image) for image in images])
  batch = upscaler_(jnp.asarray(images))
  assert isinstance(batch, jax.Array)
  np.testing.assert_array_equal(batch, each)
  traced = jax.jit(lambda x: upscaler_(x))
  for image in (images, images[0, ..., 0]):
    sr = traced(image)
    assert sr.dtype == jnp.uint8
    assert np.abs(np.asarray(sr, int) - upscaler_(image)).max() <= 1


def test_a_traced_call_has_both_derivatives():
  upscale = upscaler.Upscaler(*network(channels=64))
  total = jax.jit(lambda x: upscale(x).sum())
  x = jnp.asarray(noise(12, 4, 3) / np.float32(255))
  direction = x[::-1, ::-1]
  _, forward = jax.jvp(total, (x,), (direction,))
  backward = float(jnp.vdot(jax.grad(total)(x), direction))
  assert abs(backward) > 0.1
  assert float(forward) == pytest.approx(backward, rel=1e-4)


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK'])
def test_pil_images_come_back(upscaler_, mode):
  image = Image.fromarray(noise(6, 5, 3)).convert(mode)
  image.info.update(dpi=(300, 300), icc_profile=profile())
  sr = upscaler_(image)
  expected = {'1': 'L', 'P': 'RGB', 'CMYK': 'RGB'}.get(mode, mode)
  assert (sr.mode, sr.size) == (expected, (20, 24))
  assert sr.info['dpi'] == (300, 300)
  # Of its own colours, or of gray with the same curve.
  space = sr.info.get('icc_profile', b'')[16:20]
  assert space == {'1': b'GRAY', 'L': b'GRAY', 'LA': b'GRAY', 'CMYK': b''}.get(
    mode, b'RGB '
  )


def test_a_palette_of_grays_comes_back_gray(upscaler_):
  image = Image.fromarray(noise(6, 5, 3)).convert('L').convert('P')
  assert (image.mode, upscaler_(image).mode) == ('P', 'L')


@pytest.mark.parametrize(
  'image',
  [
    np.zeros((4, 4), np.int32),
    np.zeros((4, 4, 5), np.uint8),
    np.zeros((0, 4, 3), np.uint8),
    np.zeros((4,), np.uint8),
  ],
)
def test_other_arrays_are_refused(upscaler_, image):
  with pytest.raises(
    ValueError, match='must be uint8, uint16 or float, .* not'
  ):
    upscaler_(image)


@pytest.mark.parametrize('image', [None, b'\xff', [[0, 1]]])
def test_what_is_no_image_is_refused(upscaler_, image):
  with pytest.raises(ValueError, match='is a NumPy or JAX array, .* not'):
    upscaler_(image)


@pytest.mark.parametrize('value', [255.0, -1.0, np.nan])
def test_floats_of_another_range_are_refused(upscaler_, value):
  with pytest.raises(ValueError, match=r'must be in \[0, 1\], not from'):
    upscaler_(np.full((4, 4, 3), value))


def test_wrong_settings_are_refused(model):
  with pytest.raises(ValueError, match='tile of 24 .* larger than 24'):
    srgan_jax.load(model, tile=24)
  for tile in ('small', None, 32.5):
    with pytest.raises(ValueError, match=f'tile must be .* not {tile!r}'):
      srgan_jax.load(model, tile=tile)
  with pytest.raises(ValueError, match="precision must be one of .*'half'"):
    srgan_jax.load(model, precision='half')


def test_output_that_is_not_finite_is_refused():
  generator, variables = network()
  broken = jax.tree.map(lambda x: x + jnp.nan, variables)
  with pytest.raises(FloatingPointError, match='not finite'):
    upscaler.Upscaler(generator, broken)(np.zeros((4, 4, 3), np.uint8))


def test_infinite_output_is_refused_of_gray_pictures_too():
  generator, variables = network()
  variables = jax.tree.map(np.array, variables)
  variables['params']['conv_out']['bias'] += np.inf
  with pytest.raises(FloatingPointError, match='not finite'):
    upscaler.Upscaler(generator, variables)(np.zeros((4, 4), np.uint8))


def test_bfloat16_is_for_8_bits_alone(model, upscaler_):
  fast = srgan_jax.load(model, precision='bfloat16')
  image = noise(9, 7, 3)
  difference = np.abs(fast(image).astype(int) - upscaler_(image))
  assert 0 < difference.max() <= 8
  for other in (image.astype(np.uint16) * 257, color.to_unit(image)):
    np.testing.assert_array_equal(fast(other), upscaler_(other))


def test_paths_and_lists_are_taken(upscaler_, tmp_path):
  pixels = noise(5, 7, 3)
  Image.fromarray(pixels).save(tmp_path / 'a.png')
  array = upscaler_(pixels)
  for path in (tmp_path / 'a.png', str(tmp_path / 'a.png')):
    image = upscaler_(path)
    assert isinstance(image, Image.Image)
    np.testing.assert_array_equal(np.asarray(image), array)
  both = upscaler_([pixels, tmp_path / 'a.png', pixels[:3]])
  np.testing.assert_array_equal(both[0], array)
  assert both[1].size == (28, 20) and both[2].shape == (12, 28, 3)
  with pytest.raises(ValueError, match=r'no\.png'):
    upscaler_(tmp_path / 'no.png')


def test_an_upscaler_says_what_it_is(upscaler_):
  shipped = srgan_jax.load()
  (told,) = [m for m in srgan_jax.list_models() if m.name == pretrained.DEFAULT]
  assert shipped.scale == 4 and shipped.generator.blocks == 16
  assert (shipped.label, shipped.licence) == (told.label, told.licence)
  assert shipped.figures == told.figures
  assert set(shipped.variables) == {'params', 'batch_stats'}
  assert upscaler_.label == ''
