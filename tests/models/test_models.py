"""The networks: their sizes, layers, modes and orders (paper figure 4)."""

import functools
import itertools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from srgan_jax.models import layers
from srgan_jax.models.discriminator import Discriminator
from srgan_jax.models.generator import Generator
from tests.support import networks, plain


def _shapes(network, side):
  return jax.eval_shape(
    lambda key: network.init(key, jnp.zeros((1, side, side, 3)), train=False),
    jax.random.key(0),
  )


@pytest.mark.parametrize(
  ('blocks', 'channels', 'count'), [(16, 64, 1_548_547), (4, 32, 173_315)]
)
def test_the_generator_has_exactly_the_papers_parameters(
  blocks, channels, count
):
  c = channels
  block = 2 * (9 * c * c + 2 * c) + c
  by_hand = (
    (81 * 3 * c + c + c)  # conv_in, prelu_in
    + blocks * block
    + (9 * c * c + 2 * c)  # conv_mid, norm_mid
    + 2 * (9 * c * 4 * c + 4 * c + c)  # the sub-pixel layers
    + (81 * c * 3 + 3)  # conv_out
  )
  variables = _shapes(Generator(blocks, channels), 8)
  assert layers.parameter_count(variables['params']) == by_hand == count
  # Mean and variance of every BN layer.
  statistics = layers.parameter_count(variables['batch_stats'])
  assert statistics == (2 * blocks + 1) * 2 * c


def test_the_discriminator_has_exactly_the_papers_parameters():
  convolutions = [
    (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512),
    (512, 512),
  ]  # fmt: skip
  by_hand = (
    (27 * 64 + 64)
    + sum(9 * i * o + 2 * o for i, o in convolutions)
    + (6 * 6 * 512 * 1024 + 1024)
    + (1024 + 1)
  )
  params = _shapes(Discriminator(), 96)['params']
  assert layers.parameter_count(params) == by_hand == 23_563_649


def test_bfloat16_leaves_parameters_statistics_and_outputs_in_float32():
  def forward(network, images):
    variables = network.init(jax.random.key(0), images, train=False)
    output, updated = network.apply(
      variables, images, train=True, mutable=['batch_stats']
    )
    return output, variables, updated

  sr, *kept = jax.eval_shape(
    lambda x: forward(Generator(1, 8, jnp.dtype('bfloat16')), x),
    jnp.ones((2, 6, 5, 3)),
  )
  assert sr.shape == (2, 24, 20, 3)
  logits, *more = jax.eval_shape(
    lambda x: forward(Discriminator(4, jnp.dtype('bfloat16')), x),
    jnp.ones((2, 32, 32, 3)),
  )
  assert logits.shape == (2,)
  for leaf in jax.tree.leaves((sr, logits, kept, more)):
    assert leaf.dtype == jnp.float32


@pytest.mark.parametrize(
  'layer', [layers.Conv(4, (3, 3)), layers.ShuffledConv(4), layers.PReLU()]
)
def test_gradients_summed_over_many_pixels_survive_bfloat16(layer):
  """bfloat16 holds 8 bits: a sum in it stops at some 256 times its terms."""
  half = jnp.dtype('bfloat16')
  x = jnp.where(jnp.arange(8) % 2, -1, 1) * jnp.ones((4, 64, 64, 8))
  params = layer.init(jax.random.key(0), x)

  def vectors(layer, x):
    total = lambda params: layer.apply(params, x).astype(jnp.float32).sum()
    gradients = jax.jit(jax.grad(total))(params)['params']
    return gradients['bias' if 'bias' in gradients else 'slope']

  lower = layer.clone(dtype=half) if hasattr(layer, 'dtype') else layer
  np.testing.assert_allclose(
    vectors(lower, x.astype(half)), vectors(layer, x), rtol=1e-2
  )


def test_prelu_has_a_slope_per_channel_of_a_quarter():
  x = jnp.array([[[[-4.0, -8.0, 2.0]]]])
  variables = layers.PReLU().init(jax.random.key(0), x)
  np.testing.assert_array_equal(
    variables['params']['slope'], np.full(3, 0.25, np.float32)
  )
  y = layers.PReLU().apply({'params': {'slope': jnp.array([0.5, 0.1, 9])}}, x)
  np.testing.assert_allclose(y, [[[[-2.0, -0.8, 2.0]]]], rtol=1e-6)


@pytest.mark.parametrize('r', [2, 3])
def test_pixel_shuffle_by_its_definition(r):
  x = np.arange(2 * 3 * 5 * 3 * r * r).reshape(2, 3, 5, 3 * r * r)
  y = layers.pixel_shuffle(x, r)
  assert y.shape == (2, 3 * r, 5 * r, 3)
  for c, i, j in itertools.product(range(3), range(r), range(r)):
    np.testing.assert_array_equal(
      y[:, i::r, j::r, c], x[..., r * r * c + r * i + j]
    )


def test_a_shuffled_convolution_is_one_of_the_shuffled_image():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 5, 7, 8)).astype(np.float32)
  dy = rng.normal(size=(2, 10, 14, 3)).astype(np.float32)
  ours, theirs = layers.ShuffledConv(3), layers.Conv(3, (9, 9))
  params = ours.init(jax.random.key(0), x)['params']
  params['bias'] = jnp.array([0.1, 0.2, 0.3])
  y, *gradients = plain.with_gradients(
    lambda p, x: ours.apply({'params': p}, x), (params, x), dy
  )
  expected, *expected_gradients = plain.with_gradients(
    lambda p, x: theirs.apply({'params': p}, layers.pixel_shuffle(x, 2)),
    (params, x),
    dy,
  )
  np.testing.assert_allclose(y, expected, atol=2e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
    gradients,
    expected_gradients,
  )


def test_prelu_before_the_shuffle_is_prelu_behind_it():
  x = np.random.default_rng(0).normal(size=(1, 3, 3, 12)).astype(np.float32)
  variables = {'params': {'slope': jnp.array([0.1, 0.2, 0.3])}}
  before = layers.PReLU(4).apply(variables, x)
  behind = layers.PReLU().apply(variables, layers.pixel_shuffle(x, 2))
  np.testing.assert_array_equal(layers.pixel_shuffle(before, 2), behind)


@pytest.mark.parametrize('height, width', [(6, 8), (5, 7), (2, 3)])
def test_max_pool_equals_flax_and_its_gradient(height, width):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, height, width, 3)).astype(np.float32)
  theirs = lambda x: nn.max_pool(x, (2, 2), strides=(2, 2), padding='VALID')
  y = theirs(x)
  for ours, expected in zip(
    plain.with_gradients(layers.max_pool, (x,), y),
    plain.with_gradients(theirs, (x,), y),
    strict=True,
  ):
    np.testing.assert_array_equal(ours, expected)


def test_equal_values_share_the_gradient_of_their_maximum():
  pool = layers._max_pool_by_slices
  (gradient,) = jax.vjp(pool, jnp.ones((1, 2, 2, 1)))[1](jnp.ones((1, 1, 1, 1)))
  np.testing.assert_array_equal(gradient, np.full((1, 2, 2, 1), 0.25))


@pytest.mark.parametrize('train', [False, True])
def test_the_generator_equals_a_torch_network(train):
  pytest.importorskip('torch', reason='PyTorch is not installed')
  from tests.support import torch_twins

  rng = np.random.default_rng(1)
  generator = Generator(2, 8)
  lr = rng.random((2, 7, 9, 3)).astype(np.float32)
  variables = networks.init(generator, 0, lr)
  # No value stays at its initial 0 or 1.
  variables = jax.tree.map(
    lambda x: x + 0.3 * rng.random(x.shape, np.float32), variables
  )
  if train:
    ours, _ = networks.train(generator, variables, lr)
  else:
    ours = networks.infer(generator, variables, lr)
  module = torch_twins.torch_networks.Generator(2, 8)
  torch_twins.torch_networks.load(module, variables)
  theirs = torch_twins.run(module.train(train), lr)
  scale = np.abs(theirs).max()
  np.testing.assert_allclose(ours, theirs, atol=2e-5 * scale)


def test_the_discriminators_strides_and_slope_equal_a_torch_network():
  pytest.importorskip('torch', reason='PyTorch is not installed')
  from tests.support import torch_twins

  rng = np.random.default_rng(1)
  discriminator = Discriminator(4)
  images = rng.uniform(-1, 1, (3, 32, 32, 3)).astype(np.float32)
  variables = networks.init(discriminator, 0, images)
  variables = jax.tree.map(
    lambda x: x + 0.1 * rng.random(x.shape, np.float32), variables
  )
  ours, _ = networks.train(discriminator, variables, images)
  module = torch_twins.torch_networks.Discriminator(4, 32, exact=True)
  torch_twins.torch_networks.load(module, variables)
  theirs = torch_twins.run(module, images)
  np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_small_initial_weights_begin_as_the_shallow_path():
  lr = jax.random.uniform(jax.random.key(0), (1, 4, 4, 3))
  small, he = (
    networks.init(Generator(1, 8, init_scheme=scheme), 0, lr)['params']
    for scheme in ('small', 'he')
  )
  assert not np.any(small['norm_mid']['scale'])
  assert np.all(he['norm_mid']['scale'] == 1)
  for name, fan_in in (('conv_in', 81 * 3), ('conv_out', 81 * 8)):
    for params, gain in ((small, 1 / 3), (he, 2)):
      std = np.std(params[name]['kernel'])
      assert std == pytest.approx(np.sqrt(gain / fan_in), rel=0.1)


def test_icnr_begins_without_a_checkerboard():
  flat = jnp.full((1, 16, 16, 3), 0.7)

  def pattern(scheme):
    generator = Generator(1, 8, init_scheme=scheme)
    variables = networks.init(generator, 0, flat)
    sr = networks.infer(generator, variables, flat)
    inside = sr[0, 28:36, 28:36]  # two LR pixels, far from the borders
    return np.ptp(inside, axis=(0, 1)).max()

  assert pattern('icnr') < 1e-6 < 1e-3 < pattern('small')


def test_running_statistics_take_a_tenth_of_a_batchs():
  norm = layers.BatchNorm(use_running_average=False)
  x = jax.random.normal(jax.random.key(0), (8, 4, 4, 3)) + 2
  _, updated = norm.apply(
    norm.init(jax.random.key(1), x), x, mutable=['batch_stats']
  )
  running = updated['batch_stats']
  np.testing.assert_allclose(
    running['mean'], 0.1 * x.mean((0, 1, 2)), rtol=1e-5
  )
  expected = 0.9 + 0.1 * x.var((0, 1, 2))
  np.testing.assert_allclose(running['var'], expected, rtol=1e-5)


def test_inference_uses_running_statistics_and_leaves_them():
  generator = Generator(1, 4, init_scheme='he')
  lr = jax.random.uniform(jax.random.key(0), (2, 4, 4, 3))
  variables = networks.init(generator, 1, lr)
  forward = functools.partial(
    generator.apply, train=False, mutable=['batch_stats']
  )
  sr, updated = jax.jit(forward)(variables, lr)
  jax.tree.map(
    np.testing.assert_array_equal,
    updated['batch_stats'],
    variables['batch_stats'],
  )
  # A picture's result must not depend on those beside it.
  np.testing.assert_allclose(
    networks.infer(generator, variables, lr[:1]), sr[:1], atol=1e-5
  )
  trained, updated = networks.train(generator, variables, lr)
  assert np.abs(trained - sr).max() > 1e-3
  mean = updated['batch_stats']['norm_mid']['mean']
  assert np.abs(mean).max() > 0
