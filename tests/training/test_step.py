"""The steps against plain ones, and the paths that gradients may take."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from srgan_jax import losses
from srgan_jax.training import step as step_lib
from tests.support import plain, small
from tests.support.small import assert_close


@functools.cache
def compiled(step, objective):
  return jax.jit(functools.partial(step, objective=objective))


def _plain_gan_gradients(state, batch, perceptual, objective):
  """The algorithm in the plainest way: G's forward is computed anew."""
  g, d = state.generator, state.discriminator

  def forward(net, params, stats, x):
    return net.apply_fn(
      {'params': params, 'batch_stats': stats},
      x,
      train=True,
      mutable=['batch_stats'],
    )

  fake, _ = forward(g, g.params, g.batch_stats, batch.lr)

  def d_loss(params):
    real_logits, s = forward(d, params, d.batch_stats, batch.hr)
    fake_logits, s = forward(d, params, s['batch_stats'], fake)
    p_real, p_fake = jax.nn.sigmoid(real_logits), jax.nn.sigmoid(fake_logits)
    return -jnp.log(p_real).mean() - jnp.log(1 - p_fake).mean(), s

  d_gradients, d_stats = jax.grad(d_loss, has_aux=True)(d.params)
  new_d = d.apply_gradients(
    grads=d_gradients, batch_stats=d_stats['batch_stats']
  )

  def g_loss(params):
    sr, s = forward(g, params, g.batch_stats, batch.lr)
    logits, _ = forward(d, new_d.params, new_d.batch_stats, sr)
    features = [
      plain.features(perceptual, x, objective.content_layer)
      for x in (sr, batch.hr)
    ]
    content = jnp.mean((features[0] - features[1]) ** 2)
    adversarial = -jnp.log(jax.nn.sigmoid(logits)).mean()
    return content + objective.adversarial_weight * adversarial, s

  g_gradients, g_stats = jax.grad(g_loss, has_aux=True)(g.params)
  return d_gradients, new_d, g_gradients, g_stats['batch_stats']


@pytest.fixture(scope='module')
def update():
  """What an update takes, and the new state and metrics that it gives."""
  arguments = small.gan_state(), small.batch(), small.perceptual()
  step = compiled(step_lib.gan_step, small.VGG_OBJECTIVE)
  return arguments, *step(*arguments)


def test_the_fused_step_equals_the_plain_algorithm(update):
  arguments, new, metrics = update
  d_gradients, new_d, g_gradients, g_stats = jax.jit(
    functools.partial(_plain_gan_gradients, objective=small.VGG_OBJECTIVE)
  )(*arguments)
  # Adam divides by the gradient's size, so its first moment (a tenth of the
  # gradient) is compared and not the update.
  ours = new.generator.opt_state.inner_state[0].mu
  assert_close(ours, jax.tree.map(lambda x: 0.1 * x, g_gradients))
  ours = new.discriminator.opt_state.inner_state[0].mu
  assert_close(ours, jax.tree.map(lambda x: 0.1 * x, d_gradients))
  assert_close(new.generator.batch_stats, g_stats)
  assert_close(new.discriminator.batch_stats, new_d.batch_stats)
  for name, gradients in (
    ('generator', g_gradients),
    ('discriminator', d_gradients),
  ):
    assert_close(metrics[f'{name}_gradient_norm'], optax.tree.norm(gradients))


def test_metrics_are_the_terms_and_finite(update):
  *_, metrics = update
  assert set(metrics) == {
    'loss', 'content', 'adversarial', 'tv', 'adversarial_to_content',
    'discriminator_loss', 'd_real', 'd_fake', 'generator_gradient_norm',
    'discriminator_gradient_norm',
  }  # fmt: skip
  assert all(np.isfinite(value) for value in metrics.values())
  content, adversarial = metrics['content'], metrics['adversarial']
  assert_close(metrics['loss'], content + 1e-3 * adversarial)
  assert_close(metrics['adversarial_to_content'], 1e-3 * adversarial / content)
  assert 0 < metrics['d_real'] < 1 and 0 < metrics['d_fake'] < 1


def test_both_networks_move_and_vgg_does_not(update):
  (state, *_), new, _ = update
  for before, after in (
    (state.generator, new.generator),
    (state.discriminator, new.discriminator),
  ):
    changed = jax.tree.map(
      lambda a, b: bool(np.any(a != b)), before.variables, after.variables
    )
    assert all(jax.tree.leaves(changed))
    assert after.step == 1 and after.opt_state.inner_state[0].count == 1
  # VGG is an argument and no part of the state: nothing could update it.
  names = {
    jax.tree_util.keystr(path)
    for path, _ in jax.tree_util.tree_leaves_with_path(new)
  }
  assert not any('conv1_1' in name for name in names)


def test_the_content_loss_is_weighted_and_reduced_as_the_objective_says():
  def content(hr, network, **fields):
    objective = step_lib.Objective(content_layer='conv2_2', **fields)
    return step_lib._content_terms(0.9 * hr, hr, network, objective)[0]

  @jax.jit
  def contents(*arguments):
    return (
      content(*arguments),
      content(*arguments, pixel_weight=3.0),
      content(*arguments, content_reduction='sum_channels'),
    )

  hr = small.batch().hr
  mean, weighted, total = contents(hr, small.perceptual())
  assert_close(weighted - mean, 3 * losses.mse_loss(0.9 * hr, hr))
  assert_close(total, 128 * mean)


def test_the_total_variation_has_a_gradient():
  sr = small.batch().hr
  objective = step_lib.Objective(tv_weight=1.0)
  tv = lambda sr: step_lib._content_terms(sr, sr, None, objective)[1]
  assert np.all(np.isfinite(jax.grad(tv)(sr))) and np.any(jax.grad(tv)(sr))


def test_g_is_updated_against_the_d_just_updated():
  """With a D that jumps, the adversarial loss is the jumped D's."""
  batch = small.batch()
  still = small.gan_state()
  jumping = still.replace(
    discriminator=still.discriminator.with_learning_rate(0.05)
  )
  step = compiled(step_lib.gan_step, step_lib.Objective())
  _, slow = step(still, batch, None)
  _, fast = step(jumping, batch, None)
  assert slow['d_fake'] == fast['d_fake']  # before the update: the same D
  assert fast['adversarial'] > slow['adversarial'] + 0.1


def test_frozen_statistics_normalise_g_and_stay():
  """G's output and gradient are those of the generator as it is used."""
  batch, state = small.batch(), small.gan_state()
  statistics = jax.tree.map(
    lambda x: x + jnp.linspace(0.1, 0.4, x.size).reshape(x.shape),
    state.generator.batch_stats,
  )
  by_gradient = optax.sgd(1.0)
  generator = state.generator.replace(
    batch_stats=statistics,
    tx=by_gradient,
    opt_state=by_gradient.init(state.generator.params),
  )
  objective = step_lib.Objective(adversarial_weight=0.0, freeze_batch_norm=True)
  new, metrics = compiled(step_lib.gan_step, objective)(
    state.replace(generator=generator), batch, None
  )

  def content(params):
    sr = generator.apply_fn(
      {'params': params, 'batch_stats': statistics}, batch.lr, train=False
    )
    return jnp.mean((sr - batch.hr) ** 2)

  value, gradients = jax.jit(jax.value_and_grad(content))(generator.params)
  assert_close(metrics['content'], value)
  moved = jax.tree.map(jnp.subtract, generator.params, new.generator.params)
  assert_close(moved, gradients, tolerance=1e-3)
  jax.tree.map(
    np.testing.assert_array_equal, new.generator.batch_stats, statistics
  )


def test_pretraining_learns_a_batch_and_reports_its_tv():
  state, batch = small.pretrain_state(), small.batch()
  objective = step_lib.Objective(tv_weight=2e-8)
  step = compiled(step_lib.pretrain_step, objective)
  history = []
  for _ in range(40):
    state, metrics = step(state, batch, None)
    history.append(metrics)
  first, last = history[0], history[-1]
  assert last['content'] < 0.8 * first['content']
  assert first['tv'] > 0
  assert_close(first['loss'], first['content'] + 2e-8 * first['tv'])
  assert state.generator.step == 40


def test_ema_follows_the_generator_with_its_statistics():
  objective = step_lib.Objective(ema_decay=0.15)
  state = small.pretrain_state(ema=True)
  step = compiled(step_lib.pretrain_step, objective)
  expected = state.ema
  for count in (1, 2):
    state, _ = step(state, small.batch(count), None)
    # Warmed up: 2/11 would exceed 0.15, so the decay is 0.15 from step 1 on.
    decay = min(0.15, (1 + count) / (10 + count))
    expected = jax.tree.map(
      lambda old, new, decay=decay: decay * old + (1 - decay) * new,
      expected,
      state.generator.variables,
    )
  assert_close(state.ema, expected, 1e-6)
  assert set(state.ema) == {'params', 'batch_stats'}


def test_what_is_exported_is_the_average_where_there_is_one():
  generator = small.network_state(small.GENERATOR, 0)
  average = jax.tree.map(lambda x: x + 1, generator.variables)
  with_average = step_lib.PretrainState(generator, average)
  assert with_average.exported is average
  exported = step_lib.PretrainState(generator, None).exported
  jax.tree.map(np.testing.assert_array_equal, exported, generator.variables)


def test_the_step_has_no_convolution_that_it_does_not_need():
  """G's forward pass once; no gradient by VGG, or by LR's or HR's values."""
  step = jax.jit(
    functools.partial(step_lib.gan_step, objective=small.VGG_OBJECTIVE)
  )
  arguments = small.gan_state(), small.batch(), small.perceptual()
  # On CPU some convolutions are made of several (`convolutions`).
  program = step.trace(*arguments).lower(lowering_platforms=('tpu',)).as_text()
  g, d, vgg_layers = 2 * small.GENERATOR.blocks + 5, 8, 4
  expected = {
    'G: forward, by kernels, by inputs but LR': g + g + (g - 1),
    "D's update: real and fake in one, but not by images": d + d + (d - 1),
    'D for G: forward, by inputs': d + d,
    'VGG: SR and HR in one, by SR': 2 * vgg_layers,
  }
  assert program.count('stablehlo.convolution') == sum(expected.values())
