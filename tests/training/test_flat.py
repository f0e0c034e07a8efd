"""Packed states: the same numbers and names, and the same training."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
import numpy as np
import pytest

from srgan_jax import sharding
from srgan_jax.models import epilogues
from srgan_jax.training import flat, program, stages
from srgan_jax.training import step as step_lib
from tests.support import plain, small
from tests.support.small import assert_close, stage


def train(state, stage, *, steps, per_call, is_flat):
  mesh = Mesh(np.asarray(jax.devices()[:1]), (sharding.AXIS,))
  update = program.make_update(
    stage,
    lambda pictures, rows: rows,
    mesh,
    precision='highest',
    is_flat=is_flat,
  )
  state, perceptual = sharding.replicate(
    jax.device_get((state, stage.content.perceptual)), mesh
  )
  history, rows = [], small.rows(steps, 4)
  for first in range(0, steps, per_call):
    part = sharding.shard_batches(rows[first : first + per_call], mesh)
    rates = np.full(per_call, 1e-3, np.float32)
    state, metrics = update(state, part, rates, None, perceptual)
    history.append(metrics)
  columns = jax.tree.map(lambda *x: np.concatenate(x), *history)
  return jax.device_get(state), columns


def test_a_packed_state_comes_back_as_it_was():
  state = small.gan_state(ema=True)
  packed = jax.jit(flat.pack, static_argnums=1)(state, np.dtype('float32'))
  unpacked = jax.jit(flat.unpack)(packed, jnp.int32(0))
  jax.tree.map(np.testing.assert_array_equal, unpacked, state)
  assert jax.tree.structure(unpacked) == jax.tree.structure(state)
  # G, its moments and average: two arrays each; so D; statistics one each.
  arrays = [x for x in jax.tree.leaves(packed) if np.ndim(x)]
  assert len(arrays) == 2 * (4 + 3) + 3


def test_statistics_of_several_devices_stay_apart():
  state = sharding.spread(small.pretrain_state(ema=True), 4)
  packed = flat.pack(state, np.dtype('float32'), packs_statistics=False)
  assert packed.generator.batch_stats is not None
  jax.tree.map(
    np.testing.assert_array_equal, flat.unpack(packed, jnp.int32(0)), state
  )
  jax.tree.map(
    np.testing.assert_array_equal,
    packed.generator.batch_stats,
    state.generator.batch_stats,
  )


def test_kernels_lie_as_cudnn_reads_them():
  kernel = np.arange(3 * 3 * 2 * 5, dtype=np.float32).reshape(3, 3, 2, 5)
  packed = flat.pack(
    {'kernel': jnp.array(kernel), 'bias': jnp.ones(5)}, jnp.dtype('float32')
  )
  np.testing.assert_array_equal(
    packed.kernels.reshape(5, 3, 3, 2), kernel.transpose(3, 0, 1, 2)
  )


@pytest.mark.parametrize(
  ('name', 'state', 'objective'),
  [
    (stages.PRETRAIN, small.pretrain_state, {}),
    (
      stages.GAN,
      functools.partial(small.gan_state, ema=True),
      {'content_layer': 'conv2_2', 'ema_decay': 0.9},
    ),
  ],
)
def test_the_packed_loop_trains_as_single_plain_steps(
  name, state, objective, monkeypatch
):
  """Six updates by a GPU's program and by the plainest, on the same CPU."""
  run = functools.partial(
    train, state(), stage(name, step_lib.Objective(**objective)), steps=6
  )
  with monkeypatch.context() as patch:
    plain.add_as_gpus(patch)
    ours, metrics = run(per_call=3, is_flat=True)
  for part in ('normalize', 'normalize_batch', 'add_bias'):
    monkeypatch.setattr(epilogues, part, getattr(plain, part))
  theirs, expected = run(per_call=1, is_flat=False)
  assert jax.tree.structure(ours) == jax.tree.structure(theirs)
  assert_close(metrics, expected, 2e-3)
  assert_close(ours.generator.params, theirs.generator.params, 2e-3)
  assert_close(ours.generator.batch_stats, theirs.generator.batch_stats, 2e-3)
  assert_close(ours.ema, theirs.ema, 2e-3)
  if name == stages.GAN:
    d, expected_d = ours.discriminator, theirs.discriminator
    assert_close(d.params, expected_d.params, 2e-3)
    assert_close(d.batch_stats, expected_d.batch_stats, 2e-3)


def test_forty_updates_end_where_plain_ones_do(monkeypatch):
  run = functools.partial(
    train,
    small.pretrain_state(),
    stage(stages.PRETRAIN, step_lib.Objective()),
    steps=40,
  )
  with monkeypatch.context() as patch:
    plain.add_as_gpus(patch)
    ours, metrics = run(per_call=20, is_flat=True)
  for part in ('normalize', 'normalize_batch', 'add_bias'):
    monkeypatch.setattr(epilogues, part, getattr(plain, part))
  theirs, expected = run(per_call=1, is_flat=False)
  assert metrics['loss'][-1] < 0.8 * metrics['loss'][0]
  np.testing.assert_allclose(metrics['loss'], expected['loss'], rtol=1e-3)
  assert_close(ours.generator.params, theirs.generator.params, 1e-2)
