"""A recipe's folder: the variants' records, and the pieces of files."""

import json

import numpy as np
import pytest

from srgan_jax.paper import pieces, records
from srgan_jax.paper import recipe as recipe_lib
from srgan_jax.training import interruption
from srgan_jax.training.run import Run
from tests.support.recipe import TINY


def test_of_two_plans_of_one_variant_the_first_counts(tmp_path, monkeypatch):
  planned = []

  def plan_beside(self, *arguments):
    records.replace(
      tmp_path, 'srresnet-mse', {'seconds': 1.0, 'ended': False, 'steps': 3}
    )
    return {'steps': 5, 'validations': 1}

  def stop(self, deadline):
    planned.append(self.setup.config.stages.pretrain.steps)
    raise interruption.Interrupted('pretrain stopped at step 1')

  monkeypatch.setattr(recipe_lib.Recipe, '_plan', plan_beside)
  monkeypatch.setattr(Run, 'train', stop)
  with pytest.raises(SystemExit):
    recipe_lib.main([*TINY, f'-o{tmp_path}', '--train=srresnet-mse=5'])
  assert planned == [3]
  assert records.read(tmp_path)['srresnet-mse']['steps'] == 3


@pytest.mark.parametrize(
  'value',
  [
    [],
    {'srresnet-mse': {'seconds': 1}},
    {'srresnet-mse': []},
    {'srresnet-mse': {'ended': False, 'seconds': '1'}},
    {'srresnet-mse': {'ended': False, 'seconds': 1, 'steps': 0}},
    {'srresnet-mse': {'ended': True, 'seconds': 1, 'label': 'x'}},
    {'srgan-vgg19': {'ended': False, 'seconds': 1}},
  ],
)
@pytest.mark.parametrize('option', ['-o', '--start='])
def test_records_that_are_damaged_are_one_line(tmp_path, value, option):
  path = tmp_path / 'recipe.json'
  path.write_text(json.dumps(value))
  with pytest.raises(SystemExit) as info:
    recipe_lib.main(
      [
        *TINY,
        f'-o{tmp_path / "out"}',
        f'{option}{tmp_path}',
        '--train=srresnet-mse=5',
      ]
    )
  message = info.value.code
  assert message.startswith(f'train_recipe: {path} is damaged: ')
  assert '\n' not in message
  assert json.loads(path.read_text()) == value


def test_a_file_comes_back_from_its_pieces(tmp_path, monkeypatch):
  monkeypatch.setattr(pieces, '_PART', 1000)
  path = tmp_path / 'file'
  path.write_bytes(np.random.default_rng(0).bytes(10_500))
  pieces.split(path, tmp_path, 'x')
  assert len(list(tmp_path.glob('x-discriminator.*-of-11.part'))) == 11
  pieces.join(tmp_path, 'x', tmp_path / 'back')
  assert (tmp_path / 'back').read_bytes() == path.read_bytes()
  (tmp_path / 'x-discriminator.10-of-11.part').unlink()
  with pytest.raises(ValueError, match='lacks a piece of x-discriminator'):
    pieces.join(tmp_path, 'x', tmp_path / 'back')
