"""A run interrupted anywhere ends bitwise equal to one that never was."""

import json
import os
import pathlib
import shutil
import time

import pytest

from srgan_jax.training import reporting
from srgan_jax.training.run import Run
from srgan_jax.training.setup import Setup
from tests.stress import training as attack
from tests.support import repository, setups


def _run(workdir, *flags):
  """The run, in this process."""
  config = repository.config_of(*attack.FLAGS, *flags)
  return Run(setups.of(config), workdir)


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('uninterrupted') / 'run'
  _run(workdir).train()
  return workdir


def test_stopped_at_random_moments(uninterrupted, tmp_path):
  seed = int(os.environ.get('SRGAN_JAX_KILL_SEED', str(time.time_ns())))
  print(f'SRGAN_JAX_KILL_SEED={seed}')
  assert attack.kill(tmp_path / 'run', 2, seed)
  assert attack.end(tmp_path / 'run') == attack.end(uninterrupted)


def test_a_full_disk_is_said_and_a_run_goes_on(uninterrupted, tmp_path):
  """`python -m tests.stress` fills disks of other sizes."""
  try:
    assert not attack.fill(tmp_path / 'disk', uninterrupted, share=0.3)
  except PermissionError as error:
    pytest.skip(str(error))


@pytest.fixture
def finished(uninterrupted, tmp_path):
  """A copy of the run, to be started again."""
  return pathlib.Path(shutil.copytree(uninterrupted, tmp_path / 'run'))


def test_a_finished_run_started_again_changes_nothing(uninterrupted, finished):
  _run(finished).train()
  assert attack.end(finished) == attack.end(uninterrupted)


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
    ('stages.gan.steps=7', f'at step {attack.STEPS} already'),
    ('stages.gan.steps=0', f'at step {attack.STEPS} already'),
    ('stages.pretrain.steps=99', 'the next stage has begun'),
  ],
)
def test_what_was_trained_cannot_be_shortened(
  uninterrupted, finished, change, message
):
  with pytest.raises(ValueError, match=message):
    _run(finished, f'--config.{change}')
  assert attack.end(finished) == attack.end(uninterrupted)


def test_other_photos_are_refused(finished, tmp_path):
  photos = tmp_path / 'photos'
  shutil.copytree(repository.PHOTOS / 'train', photos)
  source = f'--config.data.source=folder:{photos}'
  _run(finished, source)  # only moved
  path = next(photos.iterdir())
  data = bytearray(path.read_bytes())
  data[-20] ^= 1  # of the pixels; sizes stay
  path.write_bytes(data)
  with pytest.raises(ValueError, match='another config: inputs.image_contents'):
    _run(finished, source)
  path.unlink()
  with pytest.raises(ValueError, match=r'inputs\.images \(10 before, 9 now\)'):
    _run(finished, source)


def test_what_a_stage_starts_from_may_move_but_not_change(
  uninterrupted, tmp_path
):
  field, workdir = 'stages.pretrain.init_generator', tmp_path / 'run'
  path, other = (
    shutil.copy(uninterrupted / f'{name}.safetensors', tmp_path)
    for name in ('generator', 'generator_pretrain')
  )

  def start(given):
    lengths = {'stages.pretrain.steps': 1, 'stages.gan.steps': 0}
    return Run(
      Setup(repository.tiny_config(**{field: str(given)}, **lengths)), workdir
    )

  start(path).train()
  start(shutil.move(path, tmp_path / 'moved.safetensors'))
  with pytest.raises(ValueError, match=f"config: {field} .* before, '' now"):
    start('')
  shutil.copy(other, path)
  with pytest.raises(ValueError, match=rf'config: inputs\.{field} \('):
    start(path)
  # A run from before there were digests goes on.
  config = json.loads((workdir / 'config.json').read_text())
  del config['inputs'][field]
  (workdir / 'config.json').write_text(json.dumps(config))
  start(path)


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
