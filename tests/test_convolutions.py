from flax import linen as nn
import jax
import numpy as np
import pytest

from srgan_jax.models import convolutions, layers


@pytest.mark.parametrize('size', [3, 5])
@pytest.mark.parametrize('height, width', [(6, 8), (5, 1), (1, 4)])
@pytest.mark.parametrize(
  'conv, inputs, outputs',
  [(convolutions.conv_from_few, 3, 8), (convolutions.conv_to_few, 8, 3)],
)
def test_convolutions_of_few_channels_equal_plain_ones(
  conv, inputs, outputs, height, width, size
):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, height, width, inputs)).astype(np.float32)
  kernel = rng.normal(size=(size, size, inputs, outputs)).astype(np.float32)
  dy = rng.normal(size=(2, height, width, outputs)).astype(np.float32)
  y, pull_back = jax.vjp(conv, x, kernel)
  expected, expected_pull_back = jax.vjp(convolutions.plain, x, kernel)
  np.testing.assert_allclose(y, expected, atol=1e-4)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
    pull_back(dy),
    expected_pull_back(dy),
  )


@pytest.mark.parametrize('height, width', [(6, 8), (5, 7), (2, 3), (1, 4)])
def test_a_strided_convolution_equals_flax_and_its_gradients(height, width):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, height, width, 4)).astype(np.float32)
  ours = layers.StridedConv(5)
  theirs = nn.Conv(5, (3, 3), strides=2, padding='SAME', use_bias=False)
  params = ours.init(jax.random.key(0), x)
  y, pull_back = jax.vjp(ours.apply, params, x)
  expected, expected_pull_back = jax.vjp(theirs.apply, params, x)
  np.testing.assert_array_equal(y, expected)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    pull_back(y),
    expected_pull_back(y),
  )
