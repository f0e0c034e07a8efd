"""What the upscaling call takes besides arrays, and what it says of itself."""

import numpy as np
from PIL import Image
import pytest

import srgan_jax
from srgan_jax import pretrained
from tests.support import small


@pytest.fixture
def model(tmp_path):
  return small.save_generator(tmp_path / 'small.safetensors')


def test_paths_and_lists_are_taken(model, tmp_path):
  upscale_all = srgan_jax.load(model)
  pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
  Image.fromarray(pixels).save(tmp_path / 'a.png')
  array = upscale_all(pixels)
  for path in (tmp_path / 'a.png', str(tmp_path / 'a.png')):
    image = upscale_all(path)
    assert isinstance(image, Image.Image)
    np.testing.assert_array_equal(np.asarray(image), array)
  both = upscale_all([pixels, tmp_path / 'a.png', pixels[:3]])
  np.testing.assert_array_equal(both[0], array)
  assert both[1].size == (28, 20) and both[2].shape == (12, 28, 3)
  with pytest.raises(ValueError, match=r'no\.png'):
    upscale_all(tmp_path / 'no.png')


def test_an_upscaler_says_what_it_is(model):
  shipped = srgan_jax.load()
  (told,) = [m for m in srgan_jax.list_models() if m.name == pretrained.DEFAULT]
  assert shipped.scale == 4 and shipped.generator.blocks == 16
  assert (shipped.label, shipped.licence) == (told.label, told.licence)
  assert shipped.figures == told.figures
  assert set(shipped.variables) == {'params', 'batch_stats'}
  assert srgan_jax.load(model).label == ''
