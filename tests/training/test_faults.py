"""Seven faults found in other implementations; none can be here unnoticed.

Every check runs twice: on the code as it is, and on a copy with the fault put
in, where it has to fail.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from srgan_jax import losses, sharding
from srgan_jax.imaging import resize
from srgan_jax.models import convolutions, layers, vgg
from srgan_jax.models.generator import Generator
from srgan_jax.training import checkpoints
from srgan_jax.training import step as step_lib
from tests.support import small


def content_loss_has_a_gradient(tmp_path):
  sr, hr = small.batch(0).hr, small.batch(1).hr
  for layer in (None, 'conv2_2'):
    objective = step_lib.Objective(content_layer=layer)

    def content(x, objective=objective):
      return step_lib._content_terms(x, hr, small.perceptual(), objective)[0]

    gradient = jax.grad(content)(sr)
    direction = gradient / jnp.linalg.norm(gradient)
    step = 0.05
    slope = (
      content(sr + step * direction) - content(sr - step * direction)
    ) / (2 * step)
    norm = jnp.linalg.norm(gradient)
    assert norm > 0
    np.testing.assert_allclose(slope, norm, rtol=0.1)


def detach_content_loss(monkeypatch):
  for name in ('mse_loss', 'feature_loss'):
    loss = getattr(losses, name)
    monkeypatch.setattr(
      losses,
      name,
      lambda sr, *rest, loss=loss: loss(jax.lax.stop_gradient(sr), *rest),
    )


def ema_keeps_most_of_the_average(tmp_path):
  generator = small.network_state(small.GENERATOR, 0).replace(
    step=jnp.asarray(10**6)
  )
  zeros = jax.tree.map(jnp.zeros_like, generator.variables)
  ones = generator.replace(
    params=jax.tree.map(jnp.ones_like, generator.params),
    batch_stats=jax.tree.map(jnp.ones_like, generator.batch_stats),
  )
  ema = step_lib._average(zeros, ones, step_lib.Objective(ema_decay=0.999))
  for leaf in jax.tree.leaves(ema):
    np.testing.assert_allclose(leaf, 0.001, rtol=1e-3)


def swap_ema(monkeypatch):
  average = step_lib._average

  def swapped(ema, generator, objective):
    as_state = generator.replace(
      params=ema['params'], batch_stats=ema['batch_stats']
    )
    return average(generator.variables, as_state, objective)

  monkeypatch.setattr(step_lib, '_average', swapped)


def vgg_sees_normalised_images(tmp_path):
  images, network = small.batch().hr, small.perceptual()
  mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
  by_hand = ((np.asarray(images) + 1) / 2 - mean) / std
  expected = vgg.VGG(16, 'conv2_2').apply(
    {'params': network.params}, by_hand.astype(np.float32)
  )
  np.testing.assert_allclose(
    vgg.features(network, images, 'conv2_2'), expected / 12.75, atol=1e-5
  )


def skip_normalisation(monkeypatch):
  monkeypatch.setattr(vgg.Preprocessing, '__call__', lambda _, images: images)


def features_are_taken_after_the_relu(tmp_path):
  features = vgg.features(small.perceptual(), small.batch().hr, 'conv2_2')
  assert np.min(features) == 0 and np.mean(features > 0) > 0.1


def skip_the_last_relu(monkeypatch):
  convolve, calls = vgg._convolve, []

  def all_but_the_last(every, x, kernel, bias):
    calls.append(x)
    if len(calls) % 4:
      return convolve(every, x, kernel, bias)
    # conv2_2 is the fourth of every pass.
    return convolutions.conv(x, kernel) + bias

  monkeypatch.setattr(vgg, '_convolve', all_but_the_last)


def prelu_has_a_slope_per_channel(tmp_path):
  variables = jax.eval_shape(
    lambda x: Generator(2, 8).init(jax.random.key(0), x, train=False),
    jnp.zeros((1, 4, 4, 3)),
  )
  slopes = [
    leaf.shape
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables)
    if 'prelu' in jax.tree_util.keystr(path)
  ]
  assert slopes == [(8,)] * 5  # input, two blocks, two sub-pixel layers


def share_prelu_slope(monkeypatch):
  class Shared(layers.PReLU):
    @layers.nn.compact
    def slope(self, channels):
      slope = self.param('slope', layers.nn.initializers.constant(0.25), ())
      return jnp.broadcast_to(slope, (channels,))

  monkeypatch.setattr(layers, 'PReLU', Shared)


def lr_is_antialiased(tmp_path):
  # A pattern finer than LR can show has to become its mean.
  stripes = np.zeros((1, 64, 64, 3), np.uint8)
  stripes[:, :, ::2] = 255
  lr = np.asarray(resize.downscale_crops(stripes)).astype(int)
  assert lr.shape == (1, 12, 12, 3)
  assert np.abs(lr - 127.5).max() < 2


def downscale_without_antialiasing(monkeypatch):
  monkeypatch.setattr(
    resize, 'downscale_crops', lambda crops: crops[:, 8:-8:4, 8:-8:4]
  )


def optimizers_count_apart_after_resume(tmp_path):
  state = small.gan_state()
  step = jax.jit(
    functools.partial(step_lib.gan_step, objective=step_lib.Objective())
  )
  # G has been trained before D: its optimizer has counted further.
  count = jnp.asarray(7, jnp.int32)
  state = state.replace(
    generator=_with_count(state.generator, count).replace(step=7)
  )
  mesh = sharding.make_mesh(4)
  placement = sharding.Placement(mesh, 'global')
  saved = checkpoints.Checkpoints(tmp_path, placement)
  saved.save(1, state, {})
  restored, _ = saved.restore(1, state)
  saved.close()
  new, _ = step(restored, small.batch(), None)
  assert int(new.generator.opt_state.inner_state[0].count) == 8
  assert int(new.discriminator.opt_state.inner_state[0].count) == 1
  assert int(new.generator.step) == 8
  assert int(new.discriminator.step) == 1


def _with_count(network, count):
  """The network, whose Adam has counted so far."""
  adam, *rest = network.opt_state.inner_state
  inner = (adam._replace(count=count), *rest)
  return network.replace(
    opt_state=network.opt_state._replace(inner_state=inner)
  )


def share_the_step_count(monkeypatch):
  restore = checkpoints.Checkpoints.restore

  def shared(self, step, like):
    state, note = restore(self, step, like)
    g, d = state.generator, state.discriminator
    d = _with_count(d, g.opt_state.inner_state[0].count).replace(step=g.step)
    return state.replace(discriminator=d), note

  monkeypatch.setattr(checkpoints.Checkpoints, 'restore', shared)


FAULTS = {
  'content_loss_without_gradient': (
    content_loss_has_a_gradient,
    detach_content_loss,
  ),
  'ema_with_its_weights_swapped': (ema_keeps_most_of_the_average, swap_ema),
  'vgg_features_of_unnormalised_input': (
    vgg_sees_normalised_images,
    skip_normalisation,
  ),
  'feature_before_the_relu': (
    features_are_taken_after_the_relu,
    skip_the_last_relu,
  ),
  'scalar_prelu': (prelu_has_a_slope_per_channel, share_prelu_slope),
  'lr_without_antialiasing': (
    lr_is_antialiased,
    downscale_without_antialiasing,
  ),
  'optimizers_sharing_a_step_count_after_resume': (
    optimizers_count_apart_after_resume,
    share_the_step_count,
  ),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_has_not(fault, tmp_path):
  check, _ = FAULTS[fault]
  check(tmp_path)


@pytest.mark.parametrize('fault', FAULTS)
def test_would_notice(fault, tmp_path, monkeypatch):
  check, put_in = FAULTS[fault]
  put_in(monkeypatch)
  with pytest.raises(AssertionError):
    check(tmp_path)
