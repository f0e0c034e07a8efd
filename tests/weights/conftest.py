"""Files of small networks, one a test."""

import pytest

from tests.support.weight_files import save_generator, save_vgg


@pytest.fixture
def generator_file(tmp_path):
  return save_generator(tmp_path)


@pytest.fixture
def vgg_file(tmp_path):
  return save_vgg(tmp_path)
