"""A run interrupted anywhere ends bitwise equal to one that never was."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from srgan_jax.training import reporting
from srgan_jax.training.run import Run
from srgan_jax.training.setup import Setup
from tests.support import repository

KILLS = int(os.environ.get('SRGAN_JAX_KILLS', '2'))
STEPS = 30
_TIMED = {'images_per_s', 'input_wait'}

# Saves are frequent, so that some kills come in the middle of one.
_FLAGS = (
  *repository.TINY,
  '--config.data.loader=resident',
  f'--config.stages.pretrain.steps={STEPS}',
  f'--config.stages.gan.steps={STEPS}',
  '--config.save_every=3',
  '--config.log_every=3',
  '--config.ema_decay=0.9',
)


def _run(workdir, *flags):
  """The run, in this process."""
  return Run(Setup(repository.config_of(*_FLAGS, *flags)), workdir)


def _last_step(workdir: pathlib.Path) -> int:
  """Steps logged so far, over both stages."""
  path = workdir / 'metrics.jsonl'
  lines = path.read_text().splitlines() if path.exists() else []
  try:
    last = json.loads(lines[-1])
  except (IndexError, json.JSONDecodeError):
    return 0
  return last['step'] + (STEPS if last['stage'] == 'gan' else 0)


def _checkpoint(workdir, stage):
  folder = workdir / 'checkpoints' / stage / str(STEPS) / 'state'
  return ocp.StandardCheckpointer().restore(folder.absolute())


def _lines(workdir):
  return [
    {k: v for k, v in json.loads(line).items() if k not in _TIMED}
    for line in (workdir / 'metrics.jsonl').read_text().splitlines()
  ]


def _assert_same_run(ours, theirs):
  for stage in ('pretrain', 'gan'):
    a, b = _checkpoint(ours, stage), _checkpoint(theirs, stage)
    flat_a, tree_a = jax.tree.flatten(a)
    flat_b, tree_b = jax.tree.flatten(b)
    assert tree_a == tree_b and len(flat_a) > 20
    for x, y in zip(flat_a, flat_b, strict=True):
      assert np.asarray(x).tobytes() == np.asarray(y).tobytes()
  assert _lines(ours) == _lines(theirs)
  for name in ('generator.safetensors', 'generator_pretrain.safetensors'):
    assert (ours / name).read_bytes() == (theirs / name).read_bytes()


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('uninterrupted') / 'run'
  _run(workdir).train()
  return workdir


def test_killed_at_random_moments(uninterrupted, tmp_path):
  seed = int(os.environ.get('SRGAN_JAX_KILL_SEED', str(time.time_ns())))
  print(f'SRGAN_JAX_KILL_SEED={seed}')
  rng = random.Random(seed)
  workdir = tmp_path / 'run'
  # Not the last steps: a run that ends before the signal was not killed.
  stops = sorted(rng.sample(range(2, 2 * STEPS - 20), KILLS))
  kills = 0
  for number, stop in enumerate(stops):
    process = subprocess.Popen(
      [
        *(sys.executable, '-m', 'srgan_jax.main', *_FLAGS),
        f'--workdir={workdir}',
      ],
      cwd=repository.ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    try:
      while _last_step(workdir) < stop and process.poll() is None:
        time.sleep(0.005)
      time.sleep(rng.uniform(0, 0.2))
      sent = signal.SIGTERM if number % 2 else signal.SIGKILL
      process.send_signal(sent)
      output, _ = process.communicate(timeout=300)
    finally:
      process.kill()
    # On a busy machine the signal may come late even so.
    assert process.returncode in (-sent, 143, 0), output
    kills += process.returncode != 0
    print(
      f'killed by {sent.name} at about {stop}: {_last_step(workdir)} logged'
    )
  assert kills
  _run(workdir).train()
  _assert_same_run(workdir, uninterrupted)


@pytest.fixture
def finished(uninterrupted, tmp_path):
  """A copy of the run, to be started again."""
  return pathlib.Path(shutil.copytree(uninterrupted, tmp_path / 'run'))


def test_a_finished_run_started_again_changes_nothing(uninterrupted, finished):
  _run(finished).train()
  _assert_same_run(finished, uninterrupted)


def test_a_changed_config_is_refused_by_its_fields(finished):
  with pytest.raises(ValueError) as caught:
    _run(
      finished,
      '--config.seed=1',
      '--config.batch_size=8',
      '--config.log_every=7',
      '--config.stages.gan.steps=99',
    )
  message = str(caught.value)
  assert 'batch_size (4 before, 8 now)' in message
  assert 'seed (0 before, 1 now)' in message
  assert 'log_every' not in message and 'steps' not in message


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ('stages.gan.steps=7', f'at step {STEPS} already'),
    ('stages.gan.steps=0', f'at step {STEPS} already'),
    ('stages.pretrain.steps=99', 'the next stage has begun'),
  ],
)
def test_what_was_trained_cannot_be_shortened(
  uninterrupted, finished, change, message
):
  with pytest.raises(ValueError, match=message):
    _run(finished, f'--config.{change}')
  _assert_same_run(finished, uninterrupted)


def test_other_photos_are_refused(finished, tmp_path):
  photos = tmp_path / 'photos'
  shutil.copytree(repository.PHOTOS / 'train', photos)
  _run(finished, f'--config.data.source=folder:{photos}')  # only moved
  next(photos.iterdir()).unlink()
  with pytest.raises(ValueError, match=r'inputs\.images \(10 before, 9 now\)'):
    _run(finished, f'--config.data.source=folder:{photos}')


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
