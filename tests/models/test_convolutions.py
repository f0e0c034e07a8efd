from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from srgan_jax.models import convolutions, layers
from tests.support import plain


def normal(*shape):
  return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def assert_equals_plain(conv, height, width, inputs, outputs, size, atol):
  """Forwards and backwards."""
  arguments = (
    normal(2, height, width, inputs),
    normal(size, size, inputs, outputs),
  )
  dy = normal(2, height, width, outputs)
  for ours, theirs in zip(
    plain.with_gradients(conv, arguments, dy),
    plain.with_gradients(convolutions.plain, arguments, dy),
    strict=True,
  ):
    np.testing.assert_allclose(ours, theirs, atol=atol)


@pytest.mark.parametrize('size', [3, 5])
@pytest.mark.parametrize('height, width', [(6, 8), (5, 1), (1, 4)])
@pytest.mark.parametrize(
  'conv, inputs, outputs',
  [(convolutions.conv_from_few, 3, 8), (convolutions.conv_to_few, 8, 3)],
)
def test_convolutions_of_few_channels_equal_plain_ones(
  conv, inputs, outputs, height, width, size
):
  assert_equals_plain(conv, height, width, inputs, outputs, size, 1e-4)


# Whole tiles of four rows, and parts of one. Values deviate by 24 to 27.
@pytest.mark.parametrize('height', [12, 13, 14, 15])
@pytest.mark.parametrize('inputs, outputs', [(64, 64), (64, 80)])
def test_a_convolution_of_many_channels_equals_a_plain_one(
  height, inputs, outputs
):
  assert_equals_plain(convolutions.conv, height, 5, inputs, outputs, 3, 5e-4)


@pytest.mark.parametrize('height, width', [(6, 8), (5, 7), (2, 3), (1, 4)])
def test_a_strided_convolution_equals_flax_and_its_gradients(height, width):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, height, width, 4)).astype(np.float32)
  ours = layers.StridedConv(5)
  theirs = nn.Conv(5, (3, 3), strides=2, padding='SAME', use_bias=False)
  params = ours.init(jax.random.key(0), x)
  y = theirs.apply(params, x)
  actual, *gradients = plain.with_gradients(ours.apply, (params, x), y)
  expected, *plain_gradients = plain.with_gradients(
    theirs.apply, (params, x), y
  )
  np.testing.assert_array_equal(actual, expected)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    gradients,
    plain_gradients,
  )


def convolutions_in(dtype, shape, kernel, platform='cpu'):
  x, kernel = jnp.zeros(shape, dtype), jnp.zeros(kernel, dtype)
  lowered = (
    jax.jit(convolutions.conv)
    .trace(x, kernel)
    .lower(lowering_platforms=(platform,))
  )
  return lowered.as_text().count('stablehlo.convolution(')


def test_winograds_algorithm_is_for_large_float32_convolutions_on_cpu():
  image, kernel = (1, 12, 8, 64), (3, 3, 64, 64)
  assert convolutions_in(jnp.float32, image, kernel) == 6
  assert convolutions_in(jnp.float32, image, kernel, 'cuda') == 1
  assert convolutions_in(jnp.float32, image, kernel, 'tpu') == 1
  assert convolutions_in(jnp.bfloat16, image, kernel) == 1
  assert convolutions_in(jnp.float32, (1, 11, 8, 64), kernel) == 1
  assert convolutions_in(jnp.float32, (1, 12, 8, 63), (3, 3, 63, 64)) == 1
  assert convolutions_in(jnp.float32, image, (1, 3, 64, 64)) == 1


def test_winograds_algorithm_rounds_little_more_than_a_plain_convolution():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(1, 24, 24, 128))
  kernel = rng.normal(size=(3, 3, 128, 64)) / np.sqrt(9 * 128)
  with jax.enable_x64(True):
    exact = np.array(convolutions.plain(jnp.array(x), jnp.array(kernel)))
  x, kernel = jnp.float32(x), jnp.float32(kernel)
  error = lambda conv: np.sqrt(
    np.mean((np.array(conv(x, kernel)) - exact) ** 2)
  )
  assert error(convolutions.conv) < 5 * error(convolutions.plain) < 5e-6
