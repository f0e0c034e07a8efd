"""The benchmarks' figures, and that both sides of the comparison are one."""

import json
import os
import pathlib
import subprocess
import sys

import conftest
import pytest


def _run(tool: str, output: pathlib.Path, *arguments: str):
  result = subprocess.run(
    [
      *(sys.executable, f'tools/{tool}', *conftest.TINY),
      *('--calls=2', f'--json={output}', *arguments),
    ],
    cwd=conftest.ROOT,
    capture_output=True,
    text=True,
    env={**os.environ, 'PYTHONPATH': str(conftest.ROOT)},
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


def test_pytorch_computes_the_same_losses(tmp_path):
  pytest.importorskip('torch', reason='PyTorch is not installed')
  _, figures = _run(
    'benchmark_torch.py',
    tmp_path / 'out.json',
    '--rounds=1',
    '--stage=gan',
    '--variants=channels_last',
    '--config.stages.gan.content=vgg22',
  )
  (gan,) = figures['results']
  assert set(gan['differences']) == {
    'loss', 'content', 'adversarial', 'discriminator_loss'
  }  # fmt: skip
  assert max(gan['differences'].values()) < 1e-3
  assert gan['median_ms'].keys() == {'ours', 'channels_last'}
