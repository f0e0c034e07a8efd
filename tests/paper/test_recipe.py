"""The recipe: its chain of variants, and what travels."""

import json
import shutil

import jax
import numpy as np
from PIL import Image
import pytest

from srgan_jax import weights
from srgan_jax.evaluation import lpips
from srgan_jax.paper import recipe as recipe_lib
from srgan_jax.paper import records
from srgan_jax.training import interruption
from srgan_jax.training.run import Run
from tests.support import repository, small
from tests.support.recipe import TINY, Clock


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
  with Image.open(next((repository.PHOTOS / 'validation').glob('*.png'))) as hr:
    hr.crop((0, 0, 128, 96)).save(benchmarks / 'photo.png')
  output = folder / 'out'
  command = [
    *TINY,
    f'--lpips={metric}',
    f'--benchmarks={benchmarks.parent.parent}',
    f'-o{output}',
    '--train=srresnet-mse=8,srgan-mse=2',
  ]
  recipe_lib.main(command)
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
  monkeypatch.setattr('srgan_jax.training.run.Run', None)
  monkeypatch.setattr(recipe_lib.Recipe, 'report', lambda self: None)
  recipe_lib.main(command)
  assert (output / 'recipe.json').read_bytes() == before


def test_two_commands_in_one_folder_keep_each_others_records(
  trained, tmp_path, monkeypatch
):
  """The second begins and ends a variant while the first trains another."""
  output, command = trained
  shutil.copy(output / 'srresnet-mse.safetensors', tmp_path)
  command = [*command, f'-o{tmp_path}']
  monkeypatch.setattr(recipe_lib.Recipe, 'report', lambda self: None)
  train, seen = Run.train, []

  def train_beside(self, deadline):
    monkeypatch.setattr(Run, 'train', train)
    recipe_lib.main([*command, '--train=srresnet-mse=2'])
    seen.append(json.loads((tmp_path / 'recipe.json').read_text()))
    train(self, deadline)

  monkeypatch.setattr(Run, 'train', train_beside)
  recipe_lib.main([*command, '--train=srgan-mse=2,srresnet-mse=5'])
  assert seen[0]['srgan-mse']['steps'] == seen[0]['srresnet-mse']['steps'] == 2
  records = json.loads((tmp_path / 'recipe.json').read_text())
  assert records['srgan-mse']['ended']
  # Which is not trained again.
  assert records['srresnet-mse'] == seen[0]['srresnet-mse']
  rows = (tmp_path / 'curves.csv').read_text()
  assert 'srgan-mse,2,' in rows and 'srresnet-mse,2,' in rows


def test_another_folder_goes_on_from_what_travelled(trained, metric, tmp_path):
  output, _ = trained
  # Nothing but the files at the top.
  start = tmp_path / 'start'
  start.mkdir()
  for path in output.glob('*.*'):
    (start / path.name).write_bytes(path.read_bytes())
  again = tmp_path / 'again'
  recipe_lib.main(
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


def test_one_variant_goes_on_from_another_folder_alone(trained, tmp_path):
  """Without the SRResNet-MSE from which it once began."""
  output, command = trained
  arguments = [
    *command,
    f'-o{tmp_path / "further"}',
    f'--start={output}',
    '--train=srgan-mse=1',
  ]
  recipe_lib.main(arguments)
  assert records.read(tmp_path / 'further')['srgan-mse']['steps'] == 1
  start = tmp_path / 'start'
  start.mkdir()
  shutil.copy(output / 'recipe.json', start)
  with pytest.raises(SystemExit) as info:
    recipe_lib.main([*arguments, f'-o{tmp_path / "x"}', f'--start={start}'])
  assert info.value.code == (
    f'train_recipe: srgan-mse starts from {start}/srgan-mse.safetensors: not '
    'there'
  )


def test_a_new_budget_of_an_ended_variant_is_said_not_to_count(
  trained, monkeypatch, capsys
):
  output, command = trained
  monkeypatch.setattr(recipe_lib.Recipe, 'report', lambda self: None)
  recipe_lib.main([*command, '--train=srgan-mse=20m'])
  best = records.read(output)['srgan-mse']['best_step']
  assert (
    f'srgan-mse: ended before, best after {best} of 2 updates; a new budget '
    'does not count'
  ) in capsys.readouterr().out


def _end_the_minutes(clock, monkeypatch):
  """As soon as a variant is trained."""
  on_time = Run.train

  def late(self, deadline):
    clock.now += 1000
    on_time(self, deadline)

  monkeypatch.setattr(Run, 'train', late)
  monkeypatch.setattr(recipe_lib, '_time_validation', lambda *a: 0.1)


def test_too_few_minutes_stop_no_other_variant(
  trained, metric, tmp_path, monkeypatch, capsys
):
  output, command = trained
  shutil.copy(output / 'srresnet-mse.safetensors', tmp_path)
  vgg = small.save_vgg(tmp_path / 'vgg.safetensors')
  _end_the_minutes(Clock(monkeypatch, update=0.5, compilation=0), monkeypatch)
  with pytest.raises(SystemExit) as info:
    recipe_lib.main(
      [
        *command,
        f'-o{tmp_path}',
        f'--vgg={vgg}',
        '--train=srgan-mse=1m,srresnet-vgg22=1',
      ]
    )
  assert info.value.code == 'train_recipe: no generator of srgan-mse: see above'
  error = capsys.readouterr().err
  assert (
    'srgan-mse: its minutes ended before the first validation; with more it '
    'goes on'
  ) in error
  records = json.loads((tmp_path / 'recipe.json').read_text())
  assert not records['srgan-mse']['ended']
  assert list((tmp_path / 'srgan-mse' / 'checkpoints').rglob('*'))
  assert records['srresnet-vgg22']['ended']
  assert (tmp_path / 'table1.md').exists()
  assert (tmp_path / 'panels-Set5.png').exists()


def test_nothing_starts_from_an_srresnet_that_is_not_there(
  metric, tmp_path, monkeypatch, capsys
):
  _end_the_minutes(Clock(monkeypatch, update=0.5, compilation=0), monkeypatch)
  with pytest.raises(SystemExit) as info:
    recipe_lib.main(
      [
        *TINY,
        f'--lpips={metric}',
        f'-o{tmp_path}',
        '--train=srresnet-mse=1m,srgan-mse=1',
      ]
    )
  assert 'no generator of srresnet-mse, srgan-mse' in info.value.code
  assert 'srgan-mse starts from ' in capsys.readouterr().err


def test_curves_are_written_after_each_variant(metric, tmp_path, monkeypatch):
  there = []

  def write_a_line(self, name, budget):
    there.append((tmp_path / 'curves.csv').exists())
    folder = tmp_path / name
    folder.mkdir()
    line = {'step': 1, 'stage': 'pretrain', 'content': 0.5}
    (folder / 'metrics.jsonl').write_text(json.dumps(line) + '\n{"step": 2')
    self.records[name] = {'ended': False}
    if name == 'srgan-mse':
      raise interruption.Interrupted('gan stopped at step 1')

  monkeypatch.setattr(recipe_lib.Recipe, 'train', write_a_line)
  with pytest.raises(SystemExit) as info:
    recipe_lib.main(
      [
        *TINY,
        f'-o{tmp_path}',
        f'--lpips={metric}',
        '--train=srresnet-mse=1,srgan-mse=1',
      ]
    )
  assert info.value.code == 143
  assert there == [False, True]
  rows = (tmp_path / 'curves.csv').read_text().splitlines()
  assert rows[1:] == ['srresnet-mse,1,content,0.5', 'srgan-mse,1,content,0.5']


def test_panels_show_the_first_six_of_a_set(tmp_path, monkeypatch):
  folder = tmp_path / 'benchmarks' / 'BSD100' / 'HR'
  folder.mkdir(parents=True)
  for i in range(8):
    Image.new('RGB', (48, 48)).save(folder / f'{i}_HR.png')
  shown = []
  monkeypatch.setattr(recipe_lib.Recipe, 'train', _end_at_once)
  monkeypatch.setattr(recipe_lib.table1, 'main', lambda arguments: None)
  monkeypatch.setattr(recipe_lib.panels, 'main', shown.extend)
  recipe_lib.main(
    [
      *TINY,
      f'-o{tmp_path / "out"}',
      f'--benchmarks={tmp_path / "benchmarks"}',
      '--train=srresnet-mse=1',
    ]
  )
  crops = [argument for argument in shown if argument.startswith('--crop=')]
  assert crops == [f'--crop={i}' for i in range(6)]


def _end_at_once(self, name, budget):
  self.records[name] = {'ended': True, 'label': name}


@pytest.mark.parametrize(
  ('arguments', 'expected'),
  [
    (['--train=srgan-mse=5'], 'train srresnet-mse first'),
    (['--train=srresnet-mse=5,srgan-mse=5'], 'give --lpips'),
    (['--train=srresnet-mse=5,srgan=5', '--lpips=x'], 'need --vgg'),
    (['--train=srresnet-mse=5', '--config.sead=1'], 'no field config.sead'),
    (
      ['--train=srresnet-mse=5', '--config.stages.pretrain.steps=3'],
      '--config.stages.pretrain.steps=3: give --train',
    ),
    (['--config.stages.gan.steps=3'], 'steps=3: give --train'),
    (['--train=srresnet-mse=5', '--start=/nowhere'], '/nowhere/recipe.json'),
    (['--train=srresnet-mse=5', '--vgg=/nowhere.st'], '/nowhere.st'),
    (['--train=srresnet-mse=5', '--lpips=/nowhere.st'], '/nowhere.st'),
    (['--train=srresnet-mse=5', '--benchmarks=/nowhere'], '/nowhere holds no'),
  ],
)
def test_bad_arguments_are_one_line(tmp_path, arguments, expected):
  with pytest.raises(SystemExit) as info:
    recipe_lib.main([*TINY, f'-o{tmp_path / "out"}', *arguments])
  message = info.value.code
  assert message.startswith('train_recipe: ') and '\n' not in message
  assert expected in message
  assert not (tmp_path / 'out' / 'srresnet-mse').exists()


def test_a_distance_of_another_name_is_said_before_training(tmp_path):
  path = tmp_path / 'lpips.safetensors'
  lpips.save(
    path,
    small.lpips_metric('vgg16'),
    source_sha256='0' * 64,
    converter_version='0',
  )
  arguments = [f'-o{tmp_path / "out"}', f'--lpips={path}']
  with pytest.raises(SystemExit) as info:
    recipe_lib.main([*TINY, *arguments, '--train=srresnet-mse=1,srgan-mse=1'])
  assert info.value.code == (
    f'train_recipe: {path} is lpips_vgg16, and srgan-mse is chosen by '
    'lpips_alex'
  )
  assert not (tmp_path / 'out').exists()
