"""The benchmark's figures."""

import json
import pathlib
import re

import pytest

from srgan_jax.speed import stand_ins
from srgan_jax.speed import training as training_speed
from srgan_jax.training.setup import Setup
from tests.support.repository import tiny_config
from tests.support.tools import run_tool


def _run(output: pathlib.Path, *arguments: str, **settings: str):
  return run_tool(
    'benchmark',
    *('--stage=pretrain', '--calls=2', f'--json={output}'),
    *arguments,
    **settings,
  )


def test_what_is_timed_is_not_validated():
  validated = {'data.validation': 'hold-out:1', 'data.lpips': 'x.safetensors'}
  config = tiny_config(keep_best_by='psnr_y', **validated)
  stand_ins.use_photos(config)
  Setup(config)


def test_every_input_is_timed(tmp_path):
  output = tmp_path / 'out.json'
  result = _run(
    output,
    '--input=synthetic,resident,tfdata',
    '--config.steps_per_call=2',
  )
  assert result.returncode == 0, result.stderr
  figures = json.loads(output.read_text())
  assert [entry['input'] for entry in figures['results']] == [
    'synthetic', 'resident', 'tfdata'
  ]  # fmt: skip
  for entry in figures['results']:
    values = entry['figures']
    assert 0 < values['step_ms']['median'] <= values['step_ms']['p95']
    assert values['compile_s'] > 0 and values['images_per_s'] > 0
    # The scan's flops are of one step: 4 crops through 1,699 convolutions or
    # so of 4 channels, three times.
    assert 1e6 < values['flops_per_step'] < 1e9
    assert values['peak_memory_bytes'] > 1e5
    assert 0 <= values['input_wait_fraction'] <= 1
  for name in ('compile_s', 'step_ms', 'images_per_s', 'flops_per_step'):
    assert figures[name] == figures['results'][0]['figures'][name]
  assert len(result.stdout.splitlines()) == 5


def test_nothing_but_its_own_input_takes_tensorflow(tmp_path):
  """And every figure is kept when a later one cannot be had."""
  output = tmp_path / 'out.json'
  result = _run(
    output,
    '--input=synthetic,resident,tfdata',
    without='tensorflow',
  )
  assert result.returncode == 1
  assert re.search('benchmark: .* takes TensorFlow', result.stderr)
  inputs = [e['input'] for e in json.loads(output.read_text())['results']]
  assert inputs == ['synthetic', 'resident']


def test_an_unknown_input_is_said_in_one_line(tmp_path):
  result = _run(tmp_path / 'out.json', '--input=residnet')
  assert result.returncode == 1
  assert 'of synthetic, resident, tfdata' in result.stderr
  assert 'Traceback' not in result.stderr


@pytest.mark.parametrize(
  ('field', 'message'),
  [
    ('stages.gan.steps', 'has no gan stage'),
    ('batch_size', 'config.batch_size must be at least 1'),
  ],
)
def test_what_cannot_be_timed_is_said(field, message):
  with pytest.raises(ValueError, match=message):
    training_speed.report(tiny_config(**{field: 0}), stage_names=['gan'])


@pytest.mark.parametrize(
  ('batch_norm', 'channels'), [('global', 4), ('per_device', 4), ('global', 64)]
)
def test_flops_are_those_of_all_devices(batch_norm, channels):
  """However the batch is split and a CPU computes, without the plugin."""
  config = tiny_config(
    batch_norm=batch_norm,
    **{'model.channels': channels, 'stages.gan.steps': 0},
  )
  setup = Setup(config)
  assert setup.mesh.size == 2
  # Of 8x8 LR pixels a crop, forward: 9x9 in, three 3x3, two to four times the
  # channels on 1 and 4 times the pixels, and 9x9 out (as 5x5) on 4 times.
  pixels = config.batch_size * 8 * 8
  kernels = 81 * 3 * channels + 9 * channels**2 * (3 + 4 * (1 + 4))
  forward = 2 * pixels * (kernels + 25 * 4 * channels * 12 * 4)
  flops = training_speed.flops_per_step(setup, setup.stages[0])
  assert 2.5 < flops / forward < 3  # and backward, to the parameters and back


def test_a_devices_peak_is_found_by_its_name():
  """By JAX's names of them, of which some are parts of others."""
  peak = training_speed.peak_flops
  for smaller, larger in (
    ('NVIDIA H100 PCIe', 'NVIDIA H100 80GB HBM3'),
    ('NVIDIA A100-SXM4-40GB', 'NVIDIA H200'),
    ('NVIDIA L4', 'NVIDIA L40S'),
    ('TPU v5 lite', 'TPU v5'),
    ('TPU v5', 'TPU v6 lite'),
  ):
    assert peak(smaller, 'default') < peak(larger, 'default')
  assert peak('NVIDIA H200', 'highest') < peak('NVIDIA H200', 'default')
  assert peak('TPU v4', 'highest') is None and peak('cpu', 'default') is None
