"""A generator for the tests of one module."""

import pytest

from tests.support.upscaling import save_generator


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  """A generator file of a small network with random weights."""
  folder = tmp_path_factory.mktemp('model')
  return save_generator(folder / 'generator.safetensors')
