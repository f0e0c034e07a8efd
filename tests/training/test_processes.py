"""Processes of one run: of the same config and pictures, in one folder."""

import json
import pathlib
import time

import jax
from jax.experimental import multihost_utils
import numpy as np
import pytest

from srgan_jax import cli, main, runtime, sharding
from srgan_jax.training import lock, run, setup, workdir
from tests.support import repository

INPUTS = {'images': 10, 'image_contents': 'a' * 64}
OTHER = 'process 7 on elsewhere since 2026-01-01 00:00:00+00:00'


def among(monkeypatch, *first):
  """Has what the first processes gather come before ours."""
  gathered = iter(first)
  monkeypatch.setattr(
    sharding,
    'gather',
    lambda value: json.loads(json.dumps([next(gathered), value])),
  )


def described(inputs=None, **overrides):
  config = repository.tiny_config(**overrides)
  return config.to_dict() | {'inputs': INPUTS | (inputs or {})}


def folder_of(path, **overrides):
  return workdir.Workdir(path, repository.tiny_config(**overrides), INPUTS)


@pytest.mark.parametrize(
  ('first', 'said'),
  [
    ({'seed': 1}, 'seed (1 in process 0, 0 in process 1)'),
    ({'save_every': 3}, 'save_every (3 in process 0, '),
    ({'log_every': 3}, 'log_every (3 in process 0, '),
    ({'data.loader': 'tfdata'}, "data.loader ('tfdata' in process 0, "),
    ({'stages.gan.steps': 9}, 'stages.gan.steps (9 in process 0, 2 in '),
    ({'data.validation': 'hold-out:1'}, "data.validation ('hold-out:1' in "),
    ({'inputs': {'images': 9}}, 'inputs.images (9 in process 0, 10 in '),
    (
      {'seed': 1, 'inputs': {'image_contents': 'b'}},
      "inputs.image_contents ('b' in process 0, 'aa",
    ),
  ],
)
def test_processes_of_other_runs_are_refused(
  tmp_path, monkeypatch, first, said
):
  among(monkeypatch, described(**first))
  with pytest.raises(ValueError, match='are of different runs: ') as caught:
    folder_of(tmp_path / 'run', **{'data.loader': 'resident'}).check()
  assert said in str(caught.value) and '\n' not in str(caught.value)
  assert not (tmp_path / 'run').exists()


def test_where_things_lie_is_each_processes_own(tmp_path, monkeypatch):
  theirs = {
    'data.source': 'folder:/theirs',
    'data.validation': 'folder:/theirs',
    'data.cache_gib': 1.0,
    'perceptual.weights': 'theirs.safetensors',
    'distributed.process': 1,
  }
  among(monkeypatch, described(**theirs))
  folder_of(tmp_path, **{'data.validation': 'folder:/ours'}).check()


def test_a_process_that_sees_another_folder_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(workdir, '_PATIENCE', 0)
  among(monkeypatch, OTHER, True)
  with pytest.raises(ValueError) as caught:
    folder_of(tmp_path).claim().__enter__()
  assert f'process 1 does not see {tmp_path} of process 0' in str(caught.value)
  assert [path.name for path in tmp_path.iterdir()] == [lock.NAME]


def test_a_lock_that_a_drive_shows_late_is_waited_for(tmp_path, monkeypatch):
  among(monkeypatch, OTHER, True)
  show = lambda seconds: (tmp_path / lock.NAME).write_text(OTHER)
  monkeypatch.setattr(time, 'sleep', show)
  with folder_of(tmp_path).claim():
    assert (tmp_path / 'config.json').exists()


def test_a_lock_that_a_drive_lets_nobody_read_is_seen(tmp_path, monkeypatch):
  assert not lock.may_be_held_by(OTHER, tmp_path)
  (tmp_path / lock.NAME).write_text(OTHER)
  assert lock.may_be_held_by(OTHER, tmp_path)
  assert not lock.may_be_held_by('process 8', tmp_path)

  def refuse(*arguments, **settings):
    raise PermissionError(13, 'Permission denied')

  monkeypatch.setattr(pathlib.Path, 'read_text', refuse)
  assert lock.may_be_held_by('process 8', tmp_path)


def test_values_of_several_lengths_are_gathered(monkeypatch):
  theirs = {'a longer': 'value'}

  def gather(ours):
    if not ours.ndim:
      return np.stack([ours, len(json.dumps(theirs))])
    text = json.dumps(theirs).encode()
    return np.stack([ours, np.frombuffer(text, np.uint8)])

  assert sharding.gather((1,)) == [[1]]
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(multihost_utils, 'process_allgather', gather)
  assert sharding.gather({'é': 1}) == [{'é': 1}, theirs]


def test_where_another_process_has_gone_a_line_says_so(tmp_path, monkeypatch):
  def break_off(*arguments):
    raise jax.errors.JaxRuntimeError('UNKNOWN: Gloo failed: reset\nby peer')

  monkeypatch.setattr(cli, 'log_to_stderr', lambda: None)
  monkeypatch.setattr(runtime, 'enable_compilation_cache', lambda: None)
  monkeypatch.setattr(setup, 'Setup', lambda config: None)
  monkeypatch.setattr(run, 'Run', break_off)
  config = repository.tiny_config()
  with pytest.raises(jax.errors.JaxRuntimeError):
    main.train(config, tmp_path)
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  with pytest.raises(SystemExit, match=r'^srgan_jax: another process has gone'):
    main.train(config, tmp_path)
