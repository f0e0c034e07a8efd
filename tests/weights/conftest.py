"""Files of small networks, one a test."""

import pytest

from srgan_jax import weights
from tests.support import weight_files


@pytest.fixture
def generator_file(tmp_path):
  path = tmp_path / 'generator.safetensors'
  weights.save_generator(
    path,
    weight_files.make_variables(),
    architecture=weight_files.ARCHITECTURE,
    training=weight_files.TRAINING,
  )
  return path


@pytest.fixture
def vgg_file(tmp_path):
  path = tmp_path / 'vgg19.safetensors'
  network = weight_files.make_network()
  weights.save_vgg(path, network, **weight_files.PROVENANCE)
  return path
