"""The recipe: its plan, its chain of variants, and what travels."""

import json
import types

import conftest
import jax
import numpy as np
from PIL import Image
import pytest
import small
import train_recipe

from srgan_jax import interruption, validation, weights
from srgan_jax.evaluation import lpips

TINY = [
  f'--data=folder:{conftest.PHOTOS / "train"}',
  '--hold-out=1',
  '--config.model.blocks=1',
  '--config.model.channels=4',
  '--config.model.discriminator_channels=4',
  '--config.batch_size=4',
  '--config.crop_size=32',
  '--config.save_every=3',
]


@pytest.fixture(scope='module')
def metric(tmp_path_factory):
  path = tmp_path_factory.mktemp('lpips') / 'lpips_alex.safetensors'
  lpips.save(
    path,
    small.lpips_metric('alex'),
    source_sha256='0' * 64,
    converter_version='0',
  )
  return path


@pytest.fixture(scope='module')
def trained(metric, tmp_path_factory):
  """A finished recipe's folder and the command that made it."""
  folder = tmp_path_factory.mktemp('recipe')
  benchmarks = folder / 'benchmarks' / 'Set5' / 'HR'
  benchmarks.mkdir(parents=True)
  with Image.open(next((conftest.PHOTOS / 'validation').glob('*.png'))) as hr:
    hr.crop((0, 0, 128, 96)).save(benchmarks / 'photo.png')
  output = folder / 'out'
  command = [
    *TINY,
    f'--lpips={metric}',
    f'--benchmarks={benchmarks.parent.parent}',
    f'-o{output}',
    '--train=srresnet-mse=8,srgan-mse=2',
  ]
  train_recipe.main(command)
  return output, command


def test_variants_are_trained_from_one_srresnet(trained):
  output, _ = trained
  records = json.loads((output / 'recipe.json').read_text())
  assert list(records) == ['srresnet-mse', 'srgan-mse']
  for label, steps in (('srresnet-mse', 8), ('srgan-mse', 2)):
    record = records[label]
    assert record['ended'] and record['label'] == label
    assert record['steps'] == steps and record['seconds'] > 0
    assert {'psnr_y', 'lpips_alex'} <= record['validation'].keys()
    _, _, metadata = weights.load_generator(output / f'{label}.safetensors')
    training = metadata['training']
    assert training['label'] == label
    assert training['steps'] == record['best_step'] <= steps
    assert training['config']['data']['loader'] == 'resident'
    assert training['config']['save_every'] == 3
    assert training['inputs']['images'] == 9
  assert training['config']['init_generator'].endswith(
    'srresnet-mse.safetensors'
  )
  assert training['config']['keep_best_by'] == 'lpips_alex'


def test_the_best_by_its_own_figure_is_what_is_taken(trained):
  output, _ = trained
  lines = [
    json.loads(line)
    for line in (output / 'srresnet-mse/metrics.jsonl').read_text().splitlines()
  ]
  validated = {
    line['step']: line['psnr_y'] for line in lines if 'psnr_y' in line
  }
  assert len(validated) == 8
  record = json.loads((output / 'recipe.json').read_text())['srresnet-mse']
  assert record['best_step'] == max(validated, key=validated.get)


def test_curves_table_and_panels_are_written(trained):
  output, _ = trained
  rows = (output / 'curves.csv').read_text().splitlines()
  assert rows[0] == 'variant,step,name,value'
  assert any(row.startswith('srgan-mse,2,lpips_alex,') for row in rows)
  assert 'SRGAN-MSE' in (output / 'table1.md').read_text()
  with Image.open(output / 'panels-Set5.png') as image:
    assert image.width > 4 * 96


def test_what_has_ended_is_not_trained_again(trained, monkeypatch):
  output, command = trained
  before = (output / 'recipe.json').read_bytes()
  monkeypatch.setattr('train_recipe.train.Run', None)
  monkeypatch.setattr(train_recipe.Recipe, 'report', lambda self: None)
  train_recipe.main(command)
  assert (output / 'recipe.json').read_bytes() == before


def test_another_folder_goes_on_from_what_travelled(trained, metric, tmp_path):
  output, _ = trained
  # Nothing but the files at the top.
  start = tmp_path / 'start'
  start.mkdir()
  for path in output.glob('*.*'):
    (start / path.name).write_bytes(path.read_bytes())
  again = tmp_path / 'again'
  train_recipe.main(
    [
      *TINY,
      f'--lpips={metric}',
      f'-o{again}',
      f'--start={start}',
      '--train=srresnet-mse=1,srgan-mse=1',
    ]
  )
  config = json.loads((again / 'srgan-mse' / 'config.json').read_text())
  assert config['init_generator'] == str(start / 'srgan-mse.safetensors')
  _, ours, _ = weights.load_discriminator(config['init_discriminator'])
  _, theirs, _ = weights.load_discriminator(
    output / 'srgan-mse' / 'discriminator.safetensors'
  )
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)
  config = json.loads((again / 'srresnet-mse' / 'config.json').read_text())
  before = config['stages']['pretrain']['init_generator']
  assert before == str(start / 'srresnet-mse.safetensors')


def test_updates_are_planned_by_the_time_of_one(tmp_path, monkeypatch):
  planned = []
  monkeypatch.setattr(
    train_recipe.Recipe,
    '_plan',
    lambda *a, plan=train_recipe.Recipe._plan: planned.append(plan(*a)) or 1,
  )
  train_recipe.main([*TINY, f'-o{tmp_path}', '--train=srresnet-mse=2m'])
  # Of some milliseconds each, on any machine that runs this.
  assert 0.85 * 120 / 1 < planned[0] < 0.85 * 120 / 1e-4


def _plan_100_updates(monkeypatch, monotonic):
  """For a minute by the clock that is given."""
  monkeypatch.setattr(
    train_recipe.benchmark,
    'measure',
    lambda *a, **k: {'step_ms': {'median': 510.0}},
  )
  clock = types.SimpleNamespace(monotonic=monotonic)
  monkeypatch.setattr(train_recipe, 'time', clock)
  monkeypatch.setattr(interruption, 'time', clock)


def test_minutes_become_updates_and_end_the_training(tmp_path, monkeypatch):
  validated, score = [], validation.Validation.score
  monkeypatch.setattr(
    validation.Validation,
    'score',
    lambda *a: validated.append(a) or score(*a),
  )
  late = lambda: 1e9 if len(validated) > 1 else 0.0
  _plan_100_updates(monkeypatch, late)
  train_recipe.main([*TINY, f'-o{tmp_path}', '--train=srresnet-mse=1m'])
  record = json.loads((tmp_path / 'recipe.json').read_text())['srresnet-mse']
  assert abs(record['steps'] - 100) <= 1
  assert record['ended'] and record['best_step'] <= 10 and len(validated) == 2


def test_too_few_minutes_lose_nothing(tmp_path, monkeypatch):
  began = iter([0.0])
  _plan_100_updates(monkeypatch, lambda: next(began, 1e9))
  with pytest.raises(SystemExit) as info:
    train_recipe.main([*TINY, f'-o{tmp_path}', '--train=srresnet-mse=1m'])
  assert 'before the first validation; with more it goes' in str(info.value)
  record = json.loads((tmp_path / 'recipe.json').read_text())['srresnet-mse']
  assert not record['ended']
  assert list((tmp_path / 'srresnet-mse' / 'checkpoints').rglob('*'))


def test_a_stop_is_no_end(tmp_path, monkeypatch):
  def stop(self, deadline):
    raise interruption.Interrupted('pretrain stopped at step 1')

  monkeypatch.setattr('train_recipe.train.Run.train', stop)
  with pytest.raises(SystemExit) as info:
    train_recipe.main([*TINY, f'-o{tmp_path}', '--train=srresnet-mse=5'])
  assert info.value.code == 143
  record = json.loads((tmp_path / 'recipe.json').read_text())['srresnet-mse']
  assert not record['ended'] and record['steps'] == 5


def test_a_file_comes_back_from_its_pieces(tmp_path, monkeypatch):
  monkeypatch.setattr(train_recipe, '_PART', 1000)
  path = tmp_path / 'file'
  path.write_bytes(np.random.default_rng(0).bytes(10_500))
  train_recipe.split(path, tmp_path, 'x')
  assert len(list(tmp_path.glob('x-discriminator.*-of-11.part'))) == 11
  train_recipe.join(tmp_path, 'x', tmp_path / 'back')
  assert (tmp_path / 'back').read_bytes() == path.read_bytes()
  (tmp_path / 'x-discriminator.10-of-11.part').unlink()
  with pytest.raises(ValueError, match='lacks a piece of x-discriminator'):
    train_recipe.join(tmp_path, 'x', tmp_path / 'back')


@pytest.mark.parametrize(
  ('arguments', 'expected'),
  [
    (['--train=srgan-mse=5'], 'train srresnet-mse first'),
    (['--train=srresnet-mse=5,srgan-mse=5'], 'give --lpips'),
    (['--train=srresnet-mse=5,srgan=5', '--lpips=x'], 'need --vgg'),
    (['--train=srresnet-mse=5', '--config.sead=1'], '--config.sead=1: no such'),
    (['--train=srresnet-mse=5', '--start=/nowhere'], '/nowhere/recipe.json'),
  ],
)
def test_bad_arguments_are_one_line(tmp_path, arguments, expected):
  with pytest.raises(SystemExit) as info:
    train_recipe.main([*TINY, f'-o{tmp_path / "out"}', *arguments])
  message = info.value.code
  assert message.startswith('train_recipe: ') and '\n' not in message
  assert expected in message


@pytest.mark.parametrize('plan', ['srgan', 'srgan=0', 'x=5', 'srgan=5,srgan=5'])
def test_a_plan_is_variants_and_budgets(plan, capsys):
  with pytest.raises(SystemExit):
    train_recipe.main([*TINY, '-oout', f'--train={plan}'])
  assert (
    'is not like srgan=20000' in capsys.readouterr().err or plan == 'srgan=0'
  )
