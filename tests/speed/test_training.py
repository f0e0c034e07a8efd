"""The benchmark's figures."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from srgan_jax.speed import training as training_speed
from srgan_jax.training.setup import Setup
from tests.support import repository
from tests.support.repository import tiny_config

# Runs a tool as if TensorFlow were not installed.
_WITHOUT_TENSORFLOW = (
  "import runpy, sys; sys.modules['tensorflow'] = None; sys.argv.pop(0); "
  "runpy.run_path(sys.argv[0], None, '__main__')"
)


def _run(
  tool: str, output: pathlib.Path, *arguments: str, python: tuple[str, ...] = ()
):
  result = subprocess.run(
    [
      *(sys.executable, *python, f'tools/{tool}', *repository.TINY),
      *('--calls=2', f'--json={output}', *arguments),
    ],
    cwd=repository.ROOT,
    capture_output=True,
    text=True,
    env={**os.environ, 'PYTHONPATH': str(repository.ROOT)},
  )
  assert result.returncode == 0, result.stderr
  return result.stdout, json.loads(output.read_text())


def test_every_input_is_timed(tmp_path):
  said, figures = _run(
    'benchmark.py',
    tmp_path / 'out.json',
    '--stage=pretrain',
    '--input=synthetic,resident,tfdata',
    '--config.steps_per_call=2',
    f'--profile={tmp_path / "trace"}',
  )
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
  assert list((tmp_path / 'trace').rglob('*.xplane.pb'))
  assert len(said.splitlines()) == 5


def test_nothing_but_its_own_input_takes_tensorflow(tmp_path):
  """And every figure is kept when a later one cannot be had."""
  without = ('-c', _WITHOUT_TENSORFLOW)
  output = tmp_path / 'out.json'
  _, figures = _run('benchmark.py', output, '--stage=pretrain', python=without)
  assert [entry['input'] for entry in figures['results']] == ['synthetic']
  arguments = ['--stage=pretrain', '--input=resident,tfdata']
  with pytest.raises(AssertionError, match='benchmark: .* takes TensorFlow'):
    _run('benchmark.py', output, *arguments, python=without)
  (entry,) = json.loads(output.read_text())['results']
  assert entry['input'] == 'resident'


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--input=residnet'], 'of synthetic, resident, tfdata'),
    (['--config.stages.gan.steps=0', '--stage=gan'], 'has no gan stage'),
    (['--config.batch_size=0'], 'config.batch_size must be at least 1'),
  ],
)
def test_what_cannot_be_timed_is_said(tmp_path, arguments, message):
  with pytest.raises(AssertionError) as caught:
    _run('benchmark.py', tmp_path / 'out.json', *arguments)
  assert message in str(caught.value)
  assert 'Traceback' not in str(caught.value)


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
  assert setup.mesh.size == 4
  # Of 8x8 LR pixels a crop, forward: 9x9 in, three 3x3, two to four times the
  # channels on 1 and 4 times the pixels, and 9x9 out (as 5x5) on 4 times.
  pixels = config.batch_size * 8 * 8
  kernels = 81 * 3 * channels + 9 * channels**2 * (3 + 4 * (1 + 4))
  forward = 2 * pixels * (kernels + 25 * 4 * channels * 12 * 4)
  flops = training_speed.flops_per_step(setup, setup.stages[0])
  assert 2.5 < flops / forward < 3  # and backward, to the parameters and back


@pytest.mark.parametrize(
  ('kind', 'precision', 'expected'),
  [
    ('NVIDIA H200', 'default', 989e12),
    ('NVIDIA H200', 'highest', 67e12),
    ('NVIDIA H100 80GB HBM3', 'default', 989e12),
    ('NVIDIA H100 PCIe', 'default', 756e12),
    ('NVIDIA A100-SXM4-40GB', 'highest', 19.5e12),
    ('NVIDIA L4', 'default', 121e12),
    ('NVIDIA L40S', 'default', 362e12),
    ('TPU v5 lite', 'default', 197e12),
    ('TPU v5', 'default', 459e12),  # as JAX calls a v5p
    ('TPU v6 lite', 'default', 918e12),
    ('TPU v4', 'highest', None),
    ('cpu', 'default', None),
  ],
)
def test_a_devices_peak_is_found_by_its_name(kind, precision, expected):
  assert training_speed.peak_flops(kind, precision) == expected
