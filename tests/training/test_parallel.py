"""The same step on one device, on two, and on two processes."""

import functools
import json
import os
import socket
import subprocess
import sys

import jax
from jax.sharding import Mesh
import numpy as np
import pytest
from safetensors.numpy import load_file

from srgan_jax import sharding
from srgan_jax.training import lock
from srgan_jax.training import step as step_lib
from srgan_jax.training.run import Run
from srgan_jax.training.setup import Setup
from tests.support import repository, small

# Sums over a batch in another order: float32 rounds each to 6e-8 of its size,
# and the sums here run over some 1e4 terms through ten layers.
TOLERANCE = 2e-5


def _steps(devices, step, state, perceptual):
  mesh = Mesh(np.asarray(jax.devices()[:devices]), (sharding.AXIS,))
  state, perceptual = jax.device_get((state, perceptual))
  state, perceptual = sharding.replicate((state, perceptual), mesh)
  batch = sharding.shard_batch(jax.device_get(small.batch(size=8)), mesh)
  assert len(batch.hr.sharding.device_set) == devices
  new, metrics = jax.jit(step)(state, batch, perceptual)
  return jax.device_get((new, metrics))


@pytest.mark.parametrize('stage', ['pretrain', 'gan'])
def test_two_devices_give_the_gradients_of_one(stage):
  if stage == 'gan':
    step, state = step_lib.gan_step, small.gan_state(ema=True)
  else:
    step, state = step_lib.pretrain_step, small.pretrain_state(ema=True)
  step = functools.partial(step, objective=small.VGG_OBJECTIVE)
  one, one_metrics = _steps(1, step, state, small.perceptual())
  two, two_metrics = _steps(2, step, state, small.perceptual())
  networks = ['generator', 'discriminator'] if stage == 'gan' else ['generator']
  for name in networks:
    # A tenth of the gradients, and the statistics of the global batch.
    for part in (
      lambda network: network.opt_state.inner_state[0].mu,
      lambda network: network.batch_stats,
    ):
      small.assert_close(
        part(getattr(two, name)), part(getattr(one, name)), TOLERANCE
      )
  for name, value in one_metrics.items():
    np.testing.assert_allclose(
      two_metrics[name], value, rtol=1e-4, err_msg=name
    )


def test_a_batch_that_the_devices_do_not_divide_is_refused():
  with pytest.raises(ValueError, match='batch_size=5 .* 2 devices'):
    sharding.make_mesh(5)


def _environment(devices):
  # The last of a flag counts.
  flag = f'--xla_force_host_platform_device_count={devices}'
  return os.environ | {'XLA_FLAGS': f'{os.environ["XLA_FLAGS"]} {flag}'}


def _command(workdir, *flags):
  module = sys.executable, '-m', 'srgan_jax.main'
  return [*module, f'--workdir={workdir}', *repository.TINY, *flags]


def _start(workdir, *flags, devices=1):
  """Starts two processes, which train as one and meet on loopback.

  `devices` are those of each process.
  """
  with socket.socket() as listener:
    listener.bind(('localhost', 0))
    port = listener.getsockname()[1]
  command = [
    *(*_command(workdir, *flags), '--config.distributed.processes=2'),
    f'--config.distributed.coordinator=localhost:{port}',
  ]
  return [
    subprocess.Popen(
      [*command, f'--config.distributed.process={index}'],
      cwd=repository.ROOT,
      env=_environment(devices),
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for index in range(2)
  ]


def _train_by_two(workdir, *flags, devices=1):
  running = _start(workdir, *flags, devices=devices)
  try:
    outputs = [process.communicate(timeout=400)[0] for process in running]
  finally:
    for process in running:  # none is left to later tests
      process.kill()
      process.communicate()
  statuses = [process.returncode for process in running]
  assert not any(statuses), '\n'.join(outputs)


_TIMED = {'images_per_s', 'input_wait'}


def _config(*flags):
  return repository.config_of(*repository.TINY, *flags)


def _results(workdir):
  """The generator and the lines of metrics."""
  lines = [
    json.loads(line)
    for line in (workdir / 'metrics.jsonl').read_text().splitlines()
  ]
  return load_file(workdir / 'generator.safetensors'), lines


def _assert_close(workdir, other):
  """The same run but for the order of sums."""
  ours, our_lines = _results(workdir)
  theirs, their_lines = _results(other)
  assert ours.keys() == theirs.keys()
  for ours_line, theirs_line in zip(our_lines, their_lines, strict=True):
    # A start's first call is not timed.
    names = theirs_line.keys() - _TIMED
    assert ours_line.keys() - _TIMED == names
    for name in names:
      if isinstance(theirs_line[name], float):
        assert ours_line[name] == pytest.approx(theirs_line[name], rel=1e-3)
      else:
        assert ours_line[name] == theirs_line[name]
  # Adam's first steps have the size of the learning rate (1e-3), whatever the
  # gradient's: where that is nearly 0, rounding may decide its sign.
  differing = [np.abs(ours[name] - theirs[name]) for name in ours]
  assert max(x.max() for x in differing) < 1e-2
  assert np.mean(np.concatenate([x.ravel() for x in differing])) < 1e-5


def test_processes_train_as_one_and_go_on_with_another_number(tmp_path):
  """One, then two, then one again, whatever reads the photos."""
  flags = (
    '--config.data.validation=hold-out:1',
    '--config.validate_every=2',
    '--config.ema_decay=0.9',
    '--config.stages.pretrain.steps=2',
  )
  resident = (*flags, '--config.data.loader=resident')
  tfdata = (*flags, '--config.data.loader=tfdata')
  parts, whole = tmp_path / 'parts', tmp_path / 'whole'
  setup = Setup(_config(*resident, '--config.stages.gan.steps=2'))
  Run(setup, parts).train()
  _train_by_two(parts, *tfdata, '--config.stages.gan.steps=4')
  longer = setup.reschedule(_config(*resident, '--config.stages.gan.steps=6'))
  Run(longer, parts).train()
  Run(longer, whole).train()
  _assert_close(parts, whole)
  _, lines = _results(parts)
  validated = [line['step'] for line in lines if 'psnr_y' in line]
  assert validated == [2, 2, 4, 6]


def test_processes_with_resident_photos_train_as_one_with_their_devices(
  tmp_path,
):
  flags = (
    '--config.data.loader=resident',
    '--config.data.placement=sharded',
    '--config.batch_norm=per_device',
    '--config.steps_per_call=2',
    '--config.log_every=2',
    '--config.stages.pretrain.steps=2',
    '--config.stages.gan.steps=0',
  )
  _train_by_two(tmp_path / 'parts', *flags, devices=2)
  alone = _command(tmp_path / 'whole', *flags)
  subprocess.run(alone, cwd=repository.ROOT, env=_environment(4), check=True)
  _assert_close(tmp_path / 'parts', tmp_path / 'whole')


def test_where_the_first_process_is_refused_all_end(tmp_path):
  with lock.held(tmp_path):
    running = _start(tmp_path, '--config.data.loader=resident')
    said = [process.communicate(timeout=400)[0] for process in running]
  assert all(process.returncode not in (0, None) for process in running), said
  assert 'is in use by process' in said[0]
  assert [path.name for path in tmp_path.iterdir()] == [lock.NAME]
