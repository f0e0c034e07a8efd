"""A run interrupted anywhere ends bitwise equal to one that never was."""

import json
import os
import shutil
import time

import pytest

from srgan_jax.stress import training as attack
from srgan_jax.training import reporting
from tests.support import repository


def _assert_same_run(ours, theirs):
  assert attack.end(ours) == attack.end(theirs)


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('uninterrupted') / 'run'
  attack.finish(workdir)
  return workdir


def test_stopped_at_random_moments(uninterrupted, tmp_path):
  seed = int(os.environ.get('SRGAN_JAX_KILL_SEED', str(time.time_ns())))
  print(f'SRGAN_JAX_KILL_SEED={seed}')
  assert attack.kill(tmp_path / 'run', 2, seed)
  _assert_same_run(tmp_path / 'run', uninterrupted)


@pytest.mark.parametrize('share', [0.02, 0.6])
def test_a_full_disk_is_said_and_a_run_goes_on(uninterrupted, tmp_path, share):
  try:
    assert not attack.fill(tmp_path / 'disk', uninterrupted, share)
  except PermissionError as error:
    pytest.skip(str(error))


def test_a_finished_run_started_again_changes_nothing(uninterrupted, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(uninterrupted, workdir)
  attack.finish(workdir)
  _assert_same_run(workdir, uninterrupted)


def test_a_changed_config_is_refused_by_its_fields(uninterrupted, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(uninterrupted, workdir)
  process = attack.start(
    workdir,
    '--config.seed=1',
    '--config.batch_size=8',
    '--config.log_every=7',
    '--config.stages.gan.steps=99',
  )
  output, _ = process.communicate(timeout=300)
  assert process.returncode == 1
  assert 'batch_size (4 before, 8 now)' in output
  assert 'seed (0 before, 1 now)' in output
  assert 'log_every' not in output and 'steps' not in output
  assert 'Traceback' not in output


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ('stages.gan.steps=7', f'at step {attack.STEPS} already'),
    ('stages.gan.steps=0', f'at step {attack.STEPS} already'),
    ('stages.pretrain.steps=99', 'the next stage has begun'),
  ],
)
def test_what_was_trained_cannot_be_shortened(
  uninterrupted, tmp_path, change, message
):
  workdir = tmp_path / 'run'
  shutil.copytree(uninterrupted, workdir)
  process = attack.start(workdir, f'--config.{change}')
  output, _ = process.communicate(timeout=300)
  assert process.returncode == 1
  assert message in output and 'Traceback' not in output
  _assert_same_run(workdir, uninterrupted)


def test_other_images_are_refused(uninterrupted, tmp_path):
  workdir, photos = tmp_path / 'run', tmp_path / 'photos'
  shutil.copytree(uninterrupted, workdir)
  shutil.copytree(repository.PHOTOS / 'train', photos)
  attack.finish(workdir, f'--config.data.source=folder:{photos}')  # only moved
  next(photos.iterdir()).unlink()
  process = attack.start(workdir, f'--config.data.source=folder:{photos}')
  output, _ = process.communicate(timeout=300)
  assert process.returncode == 1
  assert 'inputs.images (10 before, 9 now)' in output


def test_lines_past_the_restored_step_are_cut(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  records = [
    {'step': step, 'stage': stage}
    for stage in ('pretrain', 'gan')
    for step in (1, 2, 3)
  ]
  whole = [json.dumps(record) + '\n' for record in records]
  path.write_text(''.join(whole) + '{"step": 4, "sta')
  reporting.cut_metrics(path, 'gan', 2)
  assert path.read_text() == ''.join(whole[:5])
  reporting.cut_metrics(path, 'pretrain', 2)
  assert path.read_text() == ''.join(whole[:2])
  reporting.cut_metrics(path, 'pretrain', 0)
  assert path.read_text() == ''
