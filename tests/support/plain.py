"""Layers and features as they are written, differentiated by JAX."""

from flax import linen as nn
import jax
import jax.numpy as jnp

from srgan_jax.models import convolutions, epilogues, vgg


def activate(y, slope):
  return jnp.where(y >= 0, y, slope * y)


def normalize(x, mean, variance, scale, bias, slope=1.0):
  y = (x - mean) / jnp.sqrt(variance + epilogues.EPSILON) * scale + bias
  return activate(y, slope)


def normalize_batch(x, scale, bias, slope=1.0, groups=1):
  results, means, variances = [], [], []
  for group in (x[i::groups] for i in range(groups)):
    means.append(group.mean((0, 1, 2)))
    variances.append(group.var((0, 1, 2)))
    results.append(
      normalize(group, means[-1], variances[-1], scale, bias, slope)
    )
  y = jnp.stack(results, axis=1).reshape(x.shape)
  statistics = jnp.stack(means), jnp.stack(variances)
  return y, *jax.lax.stop_gradient(statistics)


def features(network, images, layer, *, dtype=jnp.float32):
  """VGG's features as `vgg.features`, of images on their own."""
  x = network.preprocessing(images)
  for name in vgg.layers_up_to(network.depth, layer):
    if name.endswith('_1') and name != 'conv1_1':
      x = nn.max_pool(x, (2, 2), strides=(2, 2))
    params = network.params[name]
    kernel = params['kernel']
    x = nn.relu(convolutions.plain(x, kernel) + params['bias'])
  return x * dict(network.feature_scale)[layer]


def add_bias(x, bias, slope=1.0):
  return activate(x + bias, slope)


def add_as_gpus(monkeypatch):
  """Has a CPU add up as a GPU does."""
  monkeypatch.setattr(epilogues, 'sums', epilogues._sums_by_loops)
  monkeypatch.setattr(epilogues, 'sums_beside', epilogues._sums_of_tiles)


def with_gradients(function, arguments, dy):
  """A function's value, and its gradients by all arguments; compiled."""

  def both(arguments, dy):
    y, pull_back = jax.vjp(function, *arguments)
    return y, *pull_back(dy)

  return jax.jit(both)(arguments, dy)
