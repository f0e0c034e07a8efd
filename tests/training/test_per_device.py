"""Batch normalisation per device: each device's own statistics, few words."""

import functools
import re

import jax
from jax.sharding import Mesh
import numpy as np
import pytest

from srgan_jax import sharding
from srgan_jax.data.batch import make_batch
from srgan_jax.training import checkpoints, optimizers, program, stages
from tests.support import small

DEVICES = 2


def _placement(devices=DEVICES):
  mesh = Mesh(np.asarray(jax.devices()[:devices]), (sharding.AXIS,))
  return sharding.Placement(mesh, 'per_device')


def _host_state(name):
  state = small.gan_state if name == stages.GAN else small.pretrain_state
  return jax.device_get(state(ema=True))


@functools.cache
def _update(name):
  """One update on two devices: the program, the new state, the metrics."""
  placement, stage = _placement(), small.stage(name)
  step = program.make_update(
    stage,
    lambda pictures, rows: rows,
    placement.mesh,
    precision='highest',
    batch_norm='per_device',
  )
  rows = sharding.shard_batches(small.rows(1, 2 * DEVICES), placement.mesh)
  perceptual = sharding.replicate(stage.content.perceptual, placement.mesh)
  state = placement.place(_host_state(name))
  rates = optimizers.rates(stage.schedule, 1)
  compiled = step.lower(state, rows, rates, None, perceptual).compile()
  new, metrics = compiled(state, rows, rates, None, perceptual)
  return compiled.as_text(), new, jax.device_get(metrics)


@pytest.mark.parametrize('name', [stages.PRETRAIN, stages.GAN])
def test_gradients_are_the_mean_of_the_devices_own(name):
  _, state, metrics = _update(name)
  stage, (rows,) = small.stage(name), small.rows(1, 2 * DEVICES)
  step = jax.jit(functools.partial(stage.step, objective=stage.objective))
  alone = []
  for device in range(DEVICES):
    part = slice(2 * device, 2 * device + 2)
    batch = make_batch(rows['crop'][part], rows['symmetry'][part])
    alone.append(
      jax.device_get(step(_host_state(name), batch, stage.content.perceptual))
    )
  # G's and D's first moments are a tenth of their gradients. G's come through
  # the D just updated, which is another on each device alone: there, D's only.
  network = 'generator' if name == stages.PRETRAIN else 'discriminator'
  moments = lambda new: getattr(new, network).opt_state.inner_state[0].mu
  mean = jax.tree.map(
    lambda *x: np.mean(x, axis=0), *(moments(new) for new, _ in alone)
  )
  small.assert_close(jax.device_get(moments(state)), mean, 2e-5)
  # Every device's statistics are those of its own two crops.
  statistics = jax.device_get(getattr(state, network).batch_stats)
  for device, (new, _) in enumerate(alone):
    jax.tree.map(
      lambda a, b, device=device: np.testing.assert_allclose(
        a[device], b, rtol=1e-4, atol=1e-6
      ),
      statistics,
      getattr(new, network).batch_stats,
    )
  figure = 'loss' if name == stages.PRETRAIN else 'discriminator_loss'
  expected = np.mean([float(values[figure]) for _, values in alone])
  assert metrics[figure] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
  ('name', 'most'), [(stages.PRETRAIN, 2), (stages.GAN, 3)]
)
def test_devices_talk_once_a_network_and_once_for_the_metrics(name, most):
  text, state, _ = _update(name)
  assert 1 <= len(re.findall(r' all-reduce(?:-start)?\(', text)) <= most
  assert not re.search(r' (all-gather|collective-permute|all-to-all)\(', text)
  kernel = state.generator.params['conv_in']['kernel']
  copies = [np.asarray(shard.data) for shard in kernel.addressable_shards]
  assert all((copy == copies[0]).all() for copy in copies)


def test_what_leaves_the_run_are_mean_statistics():
  _, state, _ = _update(stages.PRETRAIN)
  fetched = _placement().fetch(state.exported)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, np.mean(b, axis=0), rtol=1e-6),
    fetched['batch_stats'],
    jax.device_get(state.ema['batch_stats']),
  )
  jax.tree.map(
    np.testing.assert_array_equal,
    fetched['params'],
    jax.device_get(state.ema['params']),
  )


@pytest.mark.parametrize('devices', [2, 1])
def test_a_checkpoint_goes_on_with_any_number_of_devices(tmp_path, devices):
  _, state, _ = _update(stages.PRETRAIN)
  saved = checkpoints.Checkpoints(tmp_path, _placement())
  saved.save(1, state, {'window': []})
  saved.close()
  placement = _placement(devices)
  saved = checkpoints.Checkpoints(tmp_path, placement)
  like = placement.place(_host_state(stages.PRETRAIN))
  restored, note = saved.restore(1, like)
  saved.close()
  assert note == {'window': [], 'devices': DEVICES}
  mean = restored.generator.batch_stats['block_0']['norm_0']['mean']
  old = np.asarray(state.generator.batch_stats['block_0']['norm_0']['mean'])
  assert mean.sharding.is_equivalent_to(
    sharding.batched(placement.mesh), mean.ndim
  )
  expected = old if devices == DEVICES else old.mean(0, keepdims=True)
  np.testing.assert_allclose(mean, expected, rtol=1e-6)
  np.testing.assert_array_equal(
    restored.generator.params['conv_in']['kernel'],
    state.generator.params['conv_in']['kernel'],
  )
