"""Networks as the tests run them: each one program, not one an operation."""

import functools

import jax


@functools.partial(jax.jit, static_argnums=0)
def init(network, seed, images):
  """Initial variables; the programs of two seeds are one."""
  return network.init(jax.random.key(seed), images, train=False)


@functools.partial(jax.jit, static_argnums=0)
def infer(network, variables, images):
  """The output by the running statistics."""
  return network.apply(variables, images, train=False)


@functools.partial(jax.jit, static_argnums=0)
def train(network, variables, images):
  """The output by the batch's statistics, and the running ones after it."""
  return network.apply(variables, images, train=True, mutable=['batch_stats'])
