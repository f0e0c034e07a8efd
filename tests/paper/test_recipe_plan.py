"""The recipe's plan: how many updates its minutes are."""

import importlib.util
import json

import pytest

from srgan_jax.data import resident
from srgan_jax.paper import recipe as recipe_lib
from srgan_jax.speed import timed_calls
from srgan_jax.training import interruption, program, validation
from srgan_jax.training.run import Run
from tests.support.recipe import TINY, Clock


def _planned(folder, *arguments):
  """What the recipe plans for SRResNet-MSE, and its config; trains nothing."""
  configs = []

  def stop(self, deadline):
    configs.append(self.setup.config)
    raise interruption.Interrupted('pretrain stopped at step 1')

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Run, 'train', stop)
    with pytest.raises(SystemExit) as info:
      recipe_lib.main([*TINY, f'-o{folder}', *arguments])
  assert info.value.code == 143
  records = json.loads((folder / 'recipe.json').read_text())
  return records['srresnet-mse'], configs[0]


def _count_calls(monkeypatch, module, name):
  calls, original = [], getattr(module, name)

  def spy(*arguments, **settings):
    calls.append(arguments)
    return original(*arguments, **settings)

  monkeypatch.setattr(module, name, spy)
  return calls


def test_minutes_cost_one_decoding_and_one_compilation(tmp_path, monkeypatch):
  # As where TensorFlow is not installed.
  find = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util,
    'find_spec',
    lambda name, *a: None if name == 'tensorflow' else find(name, *a),
  )
  decoded = _count_calls(monkeypatch, resident, 'ResidentLoader')
  traced = _count_calls(monkeypatch, program, 'make_pictures')
  time_updates = timed_calls.seconds_per_step
  monkeypatch.setattr(
    timed_calls,
    'seconds_per_step',
    lambda *a, **k: 1e5 * time_updates(*a, **k),  # so that they are few
  )
  recipe_lib.main([*TINY, f'-o{tmp_path}', '--train=srresnet-mse=30m'])
  record = json.loads((tmp_path / 'recipe.json').read_text())['srresnet-mse']
  # Of 0.1 to 100 ms each.
  assert 1 <= record['steps'] < 0.85 * 1800 / (1e5 * 1e-4)
  assert record['ended']
  assert len(decoded) == 1 and len(traced) == 1


@pytest.mark.parametrize(
  ('validation_s', 'compilation', 'expected'),
  [
    # A minute less two validations that are timed, the compilation and 20.
    (1, 10, {'steps': 47, 'validations': 20}),
    # Half of 42 seconds are too few for six.
    (4, 10, {'steps': 37, 'validations': 5}),
    (1, 57, {'steps': 1, 'validations': 1}),
  ],
)
def test_the_minutes_are_all_that_a_variant_takes(
  tmp_path, monkeypatch, validation_s, compilation, expected
):
  clock = Clock(monkeypatch, update=0.5, compilation=compilation)

  def score(self, name, upscaler):
    clock.now += validation_s

  monkeypatch.setattr(validation.Validation, 'score', score)
  record, config = _planned(tmp_path, '--train=srresnet-mse=1m')
  assert {name: record[name] for name in expected} == expected
  every = config.validate_every
  assert -(-record['steps'] // every) <= expected['validations']


def test_all_calls_are_whole(tmp_path):
  record, config = _planned(
    tmp_path,
    '--config.steps_per_call=4',
    '--config.save_every=8',
    '--train=srresnet-mse=1001',
  )
  assert record['steps'] == 1004
  assert config.log_every == 8
  assert config.validate_every == 52 and config.save_every == 8


def test_minutes_become_updates_and_end_the_training(tmp_path, monkeypatch):
  clock = Clock(monkeypatch, update=0.5, compilation=0)
  times, score = [], validation.Validation.score

  def validate(*arguments):
    times.append(clock.now)
    clock.now += 0.5
    if len(times) == 4:  # two in planning, two in training
      clock.now = 1e9
    return score(*arguments)

  monkeypatch.setattr(validation.Validation, 'score', validate)
  recipe_lib.main([*TINY, f'-o{tmp_path}', '--train=srresnet-mse=1m'])
  record = json.loads((tmp_path / 'recipe.json').read_text())['srresnet-mse']
  assert record['steps'] == 83 and len(times) == 4
  assert record['ended'] and record['best_step'] <= 10


def test_a_stop_is_no_end(tmp_path):
  record, _ = _planned(tmp_path, '--train=srresnet-mse=5')
  assert not record['ended'] and record['steps'] == 5


def test_another_number_of_updates_is_said_not_to_count(tmp_path, capsys):
  calls = '--config.steps_per_call=2', '--config.save_every=2'
  _planned(tmp_path, *calls, '--train=srresnet-mse=6')
  assert 'do not count' not in capsys.readouterr().out
  record, _ = _planned(tmp_path, *calls, '--train=srresnet-mse=9')
  assert record['steps'] == 6
  said = capsys.readouterr().out.splitlines()
  assert said[-2:] == [
    'srresnet-mse: planned before, 10 updates do not count',
    'srresnet-mse: 6 updates',
  ]
  _planned(tmp_path, *calls, '--train=srresnet-mse=5')  # six too
  assert 'do not count' not in capsys.readouterr().out


@pytest.mark.parametrize('plan', ['srgan', 'srgan=0', 'x=5', 'srgan=5,srgan=5'])
def test_a_plan_is_variants_and_budgets(plan, capsys):
  with pytest.raises(SystemExit):
    recipe_lib.main([*TINY, '-oout', f'--train={plan}'])
  assert (
    'is not like srgan=20000' in capsys.readouterr().err or plan == 'srgan=0'
  )
