"""Normalisation, bias and activation as written, differentiated by JAX."""

import jax
import jax.numpy as jnp

from srgan_jax.models import epilogues


def activate(y, slope):
  return jnp.where(y >= 0, y, slope * y)


def normalize(x, mean, variance, scale, bias, slope=1.0):
  y = (x - mean) / jnp.sqrt(variance + epilogues.EPSILON) * scale + bias
  return activate(y, slope)


def normalize_batch(x, scale, bias, slope=1.0):
  mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
  y = normalize(x, mean, variance, scale, bias, slope)
  return y, *jax.lax.stop_gradient((mean, variance))


def add_bias(x, bias, slope=1.0):
  return activate(x + bias, slope)
