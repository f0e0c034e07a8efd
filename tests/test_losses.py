"""Each loss and schedule against its equation, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from srgan_jax import losses
from srgan_jax.training import optimizers


def test_mse_by_hand():
  sr = jnp.array([[[[0.0, 0.5, -1.0]]]])
  hr = jnp.array([[[[1.0, 0.5, 1.0]]]])
  assert losses.mse_loss(sr, hr) == pytest.approx((1 + 0 + 4) / 3)


def test_feature_loss_reductions_are_a_factor_of_the_channels_apart():
  a, b = np.random.default_rng(0).normal(size=(2, 2, 3, 5, 7))
  mean = losses.feature_loss(a, b)
  assert mean == pytest.approx(np.mean((a - b) ** 2), rel=1e-5)
  # Equation 5: divided by W*H (and the batch) alone.
  eq5 = np.sum((a - b) ** 2) / (2 * 3 * 5)
  assert losses.feature_loss(a, b, 'sum_channels') == pytest.approx(
    eq5, rel=1e-5
  )
  with pytest.raises(ValueError, match="'sum'"):
    losses.feature_loss(a, b, 'sum')


@pytest.mark.parametrize('logit', [-3.0, 0.0, 2.5])
def test_adversarial_losses_by_their_logarithms(logit):
  d = 1 / (1 + np.exp(-logit))
  x = jnp.full((4,), logit)
  assert losses.adversarial_loss(x) == pytest.approx(-np.log(d), rel=1e-5)
  assert losses.discriminator_loss(x, -x) == pytest.approx(
    -2 * np.log(d), rel=1e-5
  )
  assert losses.discriminator_loss(x, x) == pytest.approx(
    -np.log(d) - np.log(1 - d), rel=1e-5
  )


def test_adversarial_losses_stay_finite_where_sigmoid_saturates():
  x = jnp.array([-1e4, 1e4])
  for loss in (
    losses.adversarial_loss,
    lambda x: losses.discriminator_loss(x, x),
  ):
    value, gradient = jax.value_and_grad(loss)(x)
    assert np.isfinite(value) and np.all(np.isfinite(gradient))


def test_total_variation_sums_over_an_image_and_averages_over_the_batch():
  flat = np.zeros((3, 4, 5, 2), np.float32)
  assert losses.total_variation(flat) == 0
  edge = flat.copy()
  edge[0, :, 2:] = 1.5  # one vertical edge of 4 rows, 2 channels
  edge[1, 1:] = -1  # one horizontal edge of 5 columns, 2 channels
  expected = (4 * 2 * 1.5 + 5 * 2 * 1) / 3
  assert losses.total_variation(edge) == pytest.approx(expected)


def test_pretrain_schedule_warms_up_and_decays():
  schedule = optimizers.pretrain_schedule('cosine', 4e-4, 2000, warmup=100)
  rates = np.array([schedule(step) for step in (0, 49, 99, 100, 1050, 1999)])
  np.testing.assert_allclose(rates[:4], [4e-6, 2e-4, 4e-4, 4e-4], rtol=1e-4)
  assert rates[4] == pytest.approx(2e-4, rel=1e-3)
  assert 0 < rates[5] < 1e-9
  constant = optimizers.pretrain_schedule('constant', 1e-4, 10)
  assert constant(0) == constant(9) == 1e-4
  assert optimizers.pretrain_schedule('constant', 1.0, 10, 1)(0) == 1.0


def test_gan_schedule_is_the_papers():
  schedule = optimizers.gan_schedule(1e-4, (100_000,))
  rates = [float(schedule(step)) for step in (0, 99_999, 100_001, 199_999)]
  np.testing.assert_allclose(rates, [1e-4, 1e-4, 1e-5, 1e-5], rtol=1e-6)


def test_gan_schedule_counts_its_boundaries_from_the_first_update():
  schedule = optimizers.gan_schedule(1e-4, (500,), warmup=100)
  rates = [float(schedule(step)) for step in (0, 49, 99, 499, 501)]
  np.testing.assert_allclose(rates, [1e-6, 5e-5, 1e-4, 1e-4, 1e-5], rtol=1e-4)


def test_adam_is_the_papers():
  """The first updates of Adam with beta1 = 0.9, computed by hand."""
  adam = optimizers.adam(0.1)
  params, state = jnp.array(0.0), adam.init(jnp.array(0.0))
  m = v = 0.0
  for count, gradient in enumerate((0.5, -2.0, 0.25), start=1):
    update, state = adam.update(jnp.array(gradient), state, params)
    m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
    step = m / (1 - 0.9**count) / (np.sqrt(v / (1 - 0.999**count)) + 1e-8)
    assert update == pytest.approx(-0.1 * step, rel=1e-4)
