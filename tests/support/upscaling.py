"""A small generator to upscale by, and pictures of noise."""

import functools

import jax
import numpy as np

from srgan_jax import upscale, weights
from srgan_jax.models.generator import Generator
from srgan_jax.weights import architecture
from tests.support import networks


@functools.cache
def network(channels=4, **fields):
  """A small generator whose BN, slopes and biases all matter."""
  generator = Generator(2, channels, init_scheme='he', **fields)
  variables = networks.init(generator, 0, np.zeros((1, 4, 4, 3), np.float32))
  rng = np.random.default_rng(0)
  random = lambda x: np.float32(rng.uniform(0.1, 0.6, x.shape))
  variables = jax.tree.map(
    lambda x: random(x) if x.ndim == 1 else np.float32(0.3) * np.asarray(x),
    variables,
  )
  return generator, jax.device_put(variables)


def save_generator(path, variables=None, **training):
  """Writes `network`, by default with its own variables, as a file."""
  generator, own = network()
  weights.save_generator(
    path,
    own if variables is None else variables,
    architecture=architecture.of_generator(generator),
    training=training,
  )
  return path


def run(*arguments):
  """The command's exit status."""
  return upscale.main([str(argument) for argument in arguments])


def noise(*shape):
  return np.random.default_rng(shape).integers(0, 256, shape, np.uint8)


def nearest_neighbour():
  """Weights with which the network repeats every pixel 4 by 4 times."""
  generator, variables = network()
  params = jax.tree.map(np.zeros_like, variables['params'])
  for channel in range(3):
    params['conv_in']['kernel'][4, 4, channel, channel] = 1
    for name in ('upsample_0', 'upsample_1'):
      four = slice(4 * channel, 4 * channel + 4)
      params[name]['conv']['kernel'][1, 1, channel, four] = 1
    params['conv_out']['kernel'][4, 4, channel, channel] = 2
  params['conv_out']['bias'] -= 1
  return generator, variables | {'params': params}
