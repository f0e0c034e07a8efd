"""What damaged files, full disks and signals do to a run: one line, no loss."""

import json
import pathlib
import shutil
import sys
import threading
import time
import types

import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest

from srgan_jax import sharding
from srgan_jax.training import checkpoints
from srgan_jax.training.inputs import Inputs
from srgan_jax.training.run import Run
from tests.support import repository, setups, small

STEPS = 3


def make_setup(**changes):
  config = repository.tiny_config(
    **{
      'save_every': 1,
      'log_every': 1,
      'data.loader': 'resident',
      'stages.pretrain.steps': STEPS,
      'stages.gan.steps': 0,
    }
  )
  config.update_from_flattened_dict(changes)
  return setups.of(config)


@pytest.fixture(scope='module')
def inputs():
  setup = make_setup()
  return Inputs(setup.config, setup.mesh)


@pytest.fixture(scope='module')
def trained(tmp_path_factory, inputs):
  folder = tmp_path_factory.mktemp('trained') / 'run'
  Run(make_setup(), folder, inputs).train()
  return folder


@pytest.fixture
def damaged(trained, tmp_path):
  """A copy of the trained run, to be damaged."""
  return pathlib.Path(shutil.copytree(trained, tmp_path / 'run'))


def refusal(folder, inputs):
  with pytest.raises(ValueError) as caught:
    Run(make_setup(), folder, inputs)
  message = str(caught.value)
  assert '\n' not in message
  return message


def newest(folder):
  return folder / 'checkpoints' / 'pretrain' / str(STEPS)


def test_a_flipped_byte_in_any_file_of_a_checkpoint_is_noticed(damaged, inputs):
  paths = [path for path in newest(damaged).rglob('*') if path.is_file()]
  assert len(paths) > 12
  for path in paths:
    whole = path.read_bytes()
    for place in {0, len(whole) // 2, len(whole) - 1}:
      flipped = bytearray(whole)
      flipped[place] ^= 1
      path.write_bytes(flipped)
      message = refusal(damaged, inputs)
      assert f'{newest(damaged)} (step {STEPS}) is damaged: ' in message
      if path.name != 'checksums.json':  # else it belies others
        assert path.name in message
      assert '--config.resume=whole goes on from step 2' in message
    path.write_bytes(whole)
  Run(make_setup(), damaged, inputs)  # whole again


def tensors(folder):
  """The generator's file without its head, where the config is."""
  data = (folder / 'generator.safetensors').read_bytes()
  return data[8 + int.from_bytes(data[:8], 'little') :]


def assert_goes_on(damaged, trained, inputs):
  Run(make_setup(resume='whole'), damaged, inputs).train()
  assert tensors(damaged) == tensors(trained)


def cut(checkpoint):
  path = max(checkpoint.rglob('*'), key=lambda path: path.stat().st_size)
  path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
  'damage',
  [
    cut,
    lambda path: (path / 'note' / 'metadata').unlink(),
    lambda path: (path / 'checksums.json').unlink(),
    lambda path: shutil.rmtree(path / 'state'),
    lambda path: [shutil.rmtree(path), path.mkdir()],
    lambda path: (path / 'checksums.json').write_text('[' * 10**5),
  ],
  ids=['cut', 'missing', 'no checksums', 'no state', 'empty', 'nested'],
)
def test_a_run_goes_on_from_the_newest_whole_checkpoint_when_told(
  damaged, trained, inputs, damage
):
  damage(newest(damaged))
  assert 'is damaged' in refusal(damaged, inputs)
  assert_goes_on(damaged, trained, inputs)
  assert newest(damaged).with_name(f'{STEPS}.damaged').exists()
  Run(make_setup(), damaged, inputs).train()  # and needs no telling again


def test_without_a_whole_checkpoint_a_stage_starts_again_when_told(
  damaged, trained, inputs
):
  for step in checkpoints.steps(newest(damaged).parent):
    cut(newest(damaged).with_name(str(step)))
  assert 'no older one of the stage is whole' in refusal(damaged, inputs)
  assert_goes_on(damaged, trained, inputs)


def test_a_stage_that_the_next_one_holds_is_not_read_again(tmp_path, inputs):
  setup = make_setup(**{'stages.gan.steps': 1})
  Run(setup, tmp_path, inputs).train()
  cut(newest(tmp_path))
  for resume in ('newest', 'whole'):
    config = setup.config.copy_and_resolve_references()
    config.resume, config.stages.gan.steps = resume, 2
    Run(setup.reschedule(config), tmp_path, inputs).train()
  assert (tmp_path / 'checkpoints' / 'gan' / '2').exists()
  assert newest(tmp_path).exists()


@pytest.mark.parametrize('text', ['', '{"seed": 0', '[]', '\0\0', '[' * 10**5])
def test_a_damaged_config_is_named(damaged, inputs, text):
  path = damaged / 'config.json'
  path.write_text(text)
  assert refusal(damaged, inputs).startswith(f'{path} is damaged')
  Run(make_setup(resume='whole'), damaged, inputs).train()
  assert json.loads(path.read_text())['batch_size'] == 4


@pytest.mark.parametrize(
  'line',
  [
    *(b'hello', b'{}', b'[1]', b'\xff\xfe', b'{"step": 1, "stage": "x"}'),
    *(b'{"step": 1e999, "stage": "gan"}', b'[' * 10**5),
  ],
  ids=range(7),
)
def test_a_foreign_line_of_metrics_is_dropped(damaged, inputs, line, caplog):
  path = damaged / 'metrics.jsonl'
  lines = path.read_bytes().splitlines()
  path.write_bytes(b'\n'.join([lines[0], line, *lines[1:]]) + b'\n')
  Run(make_setup(), damaged, inputs).train()
  assert f'{path}: dropped damaged lines: [2]' in caplog.text
  assert path.read_bytes().splitlines() == lines


@pytest.fixture(scope='module')
def placement():
  return sharding.Placement(sharding.make_mesh(4), 'global')


def test_a_checkpoint_of_another_shape_is_one_line(tmp_path, placement):
  state = placement.place(small.pretrain_state())
  with checkpoints.Checkpoints(tmp_path, placement) as saved:
    saved.save(1, state, {'window': []})
    saved.close()
    other = placement.place(small.gan_state())
    with pytest.raises(ValueError, match='1 cannot be restored: ') as caught:
      saved.restore(1, other)
  assert '\n' not in str(caught.value) and len(str(caught.value)) < 600


def test_what_changes_while_it_is_saved_is_saved_as_it_was(
  tmp_path, placement, monkeypatch
):
  write, changed = ocp.JsonCheckpointHandler._save_fn, threading.Event()

  async def write_late(*arguments):
    assert changed.wait(60)
    await write(*arguments)

  monkeypatch.setattr(ocp.JsonCheckpointHandler, '_save_fn', write_late)
  state, window = placement.place(small.pretrain_state()), [{'loss': 0.5}]
  with checkpoints.Checkpoints(tmp_path, placement) as saved:
    saved.save(1, state, {'window': window})
    window.append({'loss': 0.25})
    changed.set()
    saved.close()
    assert saved.restore(1, state)[1]['window'] == [{'loss': 0.5}]


def test_optimizers_count_apart_after_resume(tmp_path, placement):
  state = small.gan_state()
  # G has been trained before D: its optimizer has counted further.
  adam, *rest = state.generator.opt_state.inner_state
  inner = (adam._replace(count=jnp.asarray(7, jnp.int32)), *rest)
  optimizer = state.generator.opt_state._replace(inner_state=inner)
  generator = state.generator.replace(opt_state=optimizer, step=7)
  state, trained = map(
    placement.place, (state, state.replace(generator=generator))
  )
  with checkpoints.Checkpoints(tmp_path, placement) as saved:
    saved.save(1, trained, {})
    restored, _ = saved.restore(1, state)
  for network, count in ((restored.generator, 7), (restored.discriminator, 0)):
    assert int(network.opt_state.inner_state[0].count) == count
    assert int(network.step) == count


def test_a_failed_run_does_not_wait_for_a_save_that_never_ends(
  tmp_path, placement, monkeypatch
):
  monkeypatch.setattr(checkpoints, '_PATIENCE', 0.2)
  with pytest.raises(FloatingPointError):
    with checkpoints.Checkpoints(tmp_path, placement) as saved:
      monkeypatch.setattr(
        saved._manager, 'wait_until_finished', lambda: time.sleep(60)
      )
      began = time.monotonic()
      raise FloatingPointError
  assert time.monotonic() - began < 10


def test_what_a_failed_save_leaves_running_is_not_heard(
  tmp_path, placement, monkeypatch
):
  heard = []
  monkeypatch.setattr(sys, 'unraisablehook', heard.append)
  other = types.SimpleNamespace(exc_value=RuntimeError('a fault'))
  late = types.SimpleNamespace(exc_value=RuntimeError('Event loop is closed'))
  with pytest.raises(OSError, match='no room'):
    with checkpoints.Checkpoints(tmp_path, placement):
      raise OSError('no room')
  for unraisable in (late, other):
    sys.unraisablehook(unraisable)
  assert heard == [other]


def test_a_long_message_keeps_what_failed_and_why(
  tmp_path, placement, monkeypatch
):
  saved = checkpoints.Checkpoints(tmp_path, placement)

  def fail(*args, **options):
    raise ValueError(f"Error writing {'x' * 500} [os_error_code='28'] [x]")

  monkeypatch.setattr(saved._manager, 'save', fail)
  with pytest.raises(OSError, match='of step 5 .*: Error writing .*No space'):
    saved.save(5, {}, {})
