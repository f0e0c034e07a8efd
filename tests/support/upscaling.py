"""A small generator to upscale by, and pictures of noise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from srgan_jax import upscale, weights
from srgan_jax.models.generator import Generator
from srgan_jax.weights import architecture


@functools.cache
def network(channels=4, **fields):
  """A small generator whose BN, slopes and biases all matter."""
  generator = Generator(2, channels, init_scheme='he', **fields)
  init = jax.jit(lambda key, x: generator.init(key, x, train=False))
  variables = init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
  rng = np.random.default_rng(0)
  random = lambda x: jnp.asarray(rng.uniform(0.1, 0.6, x.shape), jnp.float32)
  variables = jax.tree.map(
    lambda x: random(x) if x.ndim == 1 else 0.3 * x, variables
  )
  return generator, variables


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
