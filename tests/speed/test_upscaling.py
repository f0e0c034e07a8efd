"""Upscaling timed with other runtimes: they compute the same picture."""

import json
import sys

import pytest

from srgan_jax.speed import upscaling
from tests.support import small

RUNTIMES = ('torch', 'onnxruntime', 'openvino')


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  return small.save_generator(tmp_path_factory.mktemp('m') / 'tiny.safetensors')


@pytest.fixture(scope='module')
def results(model, tmp_path_factory):
  """Of the command, with whatever is installed."""
  out = tmp_path_factory.mktemp('out') / 'out.json'
  command = ['--model', str(model), '--side=16,24', '--calls=2']
  upscaling.main([*command, '--json', str(out)])
  return json.loads(out.read_text())['results']


@pytest.mark.parametrize('name', RUNTIMES)
def test_each_runtime_makes_the_same_picture(results, name):
  pytest.importorskip(name, reason=f'{name} is not installed')
  for figures in results:
    ours, theirs = figures['jax'], figures[name]
    assert theirs['difference'] <= 1
    assert theirs['ratio'] == theirs['seconds'] / ours['seconds']
    assert 0 < theirs['fastest_s'] <= theirs['seconds']


def test_runtimes_that_are_not_installed_are_named(model, capsys, monkeypatch):
  for name in RUNTIMES:
    monkeypatch.setitem(sys.modules, name, None)
  monkeypatch.setattr(upscaling, '_onnx', lambda model, file: file)
  upscaling.main(['--model', str(model), '--side=16', '--calls=1'])
  *notes, row = capsys.readouterr().out.splitlines()
  assert notes == [
    f'{name}: left out, {name} is not installed' for name in RUNTIMES
  ]
  assert row.startswith('16x16 jax: ')


@pytest.mark.parametrize(
  'wrong', ['--side=0', '--side=a', '--side=16,99999', '--calls=0']
)
def test_figures_that_make_no_sense_are_refused(wrong, capsys):
  with pytest.raises(SystemExit):
    upscaling.main([wrong])
  option, _, value = wrong.partition('=')
  said = capsys.readouterr().err.splitlines()[-1]
  assert f'argument {option}: ' in said and value.rpartition(',')[2] in said


def test_a_model_that_is_not_there_is_one_line():
  with pytest.raises(SystemExit, match='benchmark_upscale: none.safetensors'):
    upscaling.main(['--model=none.safetensors'])
