"""That both sides of the comparison with PyTorch are one, and what is said."""

import json
import time

import jax
import numpy as np
import pytest

from tests.support.repository import tiny_config
from tests.support.tools import run_tool

torch = pytest.importorskip('torch', reason='PyTorch is not installed')

from srgan_jax.speed import torch_comparison, torch_networks, torch_sides
from srgan_jax.speed.timed_calls import Synthetic, TimedCalls
from srgan_jax.training.setup import Setup


def one_batch(config, pictures):
  rng = np.random.default_rng(0)
  side = config.crop_size + 16
  crops = rng.integers(0, 256, (pictures, side, side, 3), np.uint8)
  count = config.batch_size
  return {
    'crop': np.resize(crops, (count, *crops.shape[1:])),
    'symmetry': np.zeros(count, np.int32),
  }


def make_sides(rows=None, variant='eager', **overrides):
  """Ours and PyTorch's, of the GAN stage."""
  config = tiny_config(**{'model.init': 'he'}, **overrides)
  loader = Synthetic(config)
  loader.rows = rows or one_batch(config, 4)
  setup = Setup(config)
  stage = setup.stages[-1]
  theirs = torch_sides.Trainer(
    setup, stage, loader.rows, variant=variant, device='cpu', exact=True
  )
  return TimedCalls(setup, stage, loader), theirs


def test_losses_are_the_same_with_frozen_statistics():
  sides = make_sides(**{'stages.gan.freeze_batch_norm': True})
  first, second = torch_comparison.compare(*sides)
  assert max(first.values()) < 1e-4
  assert max(second.values()) < 1e-3


def test_statistics_per_device_are_the_configs():
  """PyTorch's are the batch's: those of a device, if all have one picture."""
  one, four = (
    make_sides(one_batch(tiny_config(), count), batch_norm='per_device')
    for count in (1, 4)
  )
  first, second = torch_comparison.compare(*one)
  assert max(first.values()) < 1e-4
  assert max(second.values()) < 1e-3
  with pytest.raises(ValueError, match='the two sides differ'):
    torch_comparison.compare(*four)


class Side:
  """Gives prepared losses."""

  def __init__(self, *losses):
    self._losses = iter(losses)

  def step(self):
    return {'loss': next(self._losses)}


def test_the_first_update_alone_must_be_the_same():
  ours = Side(np.array([1.0]), np.array([3.0]))
  first, second = torch_comparison.compare(ours, Side(1.001, 2.0))
  assert first == {'loss': pytest.approx(1e-3, rel=0.01)}
  assert second == {'loss': 0.5}
  for wrong in (1.01, float('nan')):
    ours = Side(np.array([wrong]), np.array([2.0]))
    with pytest.raises(ValueError, match='the two sides differ'):
      torch_comparison.compare(ours, Side(1.0, 2.0))


def test_a_turn_is_as_many_updates_of_each_side(monkeypatch):
  """A call of ours may be several."""
  clock = iter(range(100))
  monkeypatch.setattr(time, 'perf_counter', lambda: next(clock))

  class Counted:
    def __init__(self, updates):
      self.updates, self.calls = updates, 0

    def step(self):
      self.calls += 1

    def synchronize(self):
      pass

  sides = {'ours': Counted(20), 'theirs': Counted(1)}
  times = torch_comparison.time_in_turns(sides, rounds=2, updates=40)
  assert [side.calls for side in sides.values()] == [4, 80]
  assert times == {'ours': [25.0, 25.0], 'theirs': [25.0, 25.0]}


def test_the_command_times_both_sides(tmp_path):
  output = tmp_path / 'out.json'
  # Without TensorFlow: the batch is its own.
  result = run_tool(
    'benchmark_torch',
    '--rounds=1',
    '--updates=2',
    '--stage=gan',
    '--variants=channels_last',
    '--config.stages.gan.content=vgg22',
    '--config.steps_per_call=2',
    f'--json={output}',
    without='tensorflow',
  )
  assert result.returncode == 0, result.stderr
  figures = json.loads(output.read_text())
  (gan,) = figures['results']
  first, second = gan['differences']
  assert set(first) == {
    'loss', 'content', 'adversarial', 'discriminator_loss'
  }  # fmt: skip
  assert max(first.values()) < 1e-4 and max(second.values()) < 1e-3
  assert gan['median_ms'].keys() == {'ours', 'channels_last'}
  assert figures['steps_per_call'] == 2
  assert figures['devices'] == 2 and figures['precision'] == 'float32'
  assert figures['cudnn_benchmark'] is True
  assert figures['cudnn_tf32'] is False
  assert 'cudnn' in figures


def test_an_unknown_variant_is_said_in_one_line():
  result = run_tool('benchmark_torch', '--variants=egaer')
  assert result.returncode == 1
  assert 'of eager, channels_last, compile, graphs' in result.stderr
  assert 'Traceback' not in result.stderr


def test_what_fails_is_left_out_and_what_was_timed_is_kept(
  tmp_path, monkeypatch, capsys
):
  def compile(self):
    raise RuntimeError('no compiler\nfor it')

  class Discriminator(torch_networks.Discriminator):
    def __init__(self, channels, side, exact):
      if not exact:
        raise MemoryError('no room')
      super().__init__(channels, side, exact)

  monkeypatch.setattr(torch.nn.Module, 'compile', compile)
  monkeypatch.setattr(torch_networks, 'Discriminator', Discriminator)
  output = tmp_path / 'out.json'
  with pytest.raises(ValueError, match='gan: no variant of PyTorch is left'):
    torch_comparison.report(
      tiny_config(),
      variants=('compile', 'eager'),
      rounds=1,
      updates=2,
      json_file=str(output),
    )
  assert capsys.readouterr().err.splitlines() == [
    'benchmark_torch: pretrain without compile: RuntimeError: no compiler',
    'benchmark_torch: gan without compile: MemoryError: no room',
    'benchmark_torch: gan without eager: MemoryError: no room',
  ]
  (pretrain,) = json.loads(output.read_text())['results']
  assert pretrain['stage'] == 'pretrain'
  assert pretrain['median_ms'].keys() == {'ours', 'eager'}


def test_a_stage_that_the_config_lacks_is_said():
  config = tiny_config(**{'stages.gan.steps': 0})
  with pytest.raises(ValueError, match='the config has no gan stage'):
    torch_comparison.report(config, stage_names=['gan'])


@pytest.mark.parametrize(
  ('backend', 'devices', 'message'),
  [
    ('cpu', 1, '--variants=graphs takes an NVIDIA GPU'),
    ('gpu', 4, '4 GPUs and PyTorch one; CUDA_VISIBLE_DEVICES=0'),
    ('tpu', 1, 'JAX runs on a tpu and this PyTorch does not'),
  ],
)
def test_both_sides_need_one_device(monkeypatch, backend, devices, message):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  monkeypatch.setattr(jax, 'device_count', lambda: devices)
  monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
  with pytest.raises(ValueError, match=message):
    torch_comparison.shared_device(['eager', 'graphs'])
