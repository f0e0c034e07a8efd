"""docs/api.md: its code runs, and its reference is the docstrings'."""

import re
import runpy

import jax
import numpy as np
from PIL import Image
import pytest

import srgan_jax
from tests.support import documentation, repository, small

PAGE = repository.ROOT / 'docs' / 'api.md'


@pytest.fixture
def blocks():
  return documentation.code(PAGE, 'python')


@pytest.fixture
def hr():
  return np.asarray(Image.open(repository.PHOTOS / 'validation' / 'cat.png'))


def test_the_reference_is_of_these_docstrings():
  tool = runpy.run_path(str(repository.ROOT / 'tools' / 'api_docs.py'))
  text = PAGE.read_text()
  assert text == tool['page'](text), 'python tools/api_docs.py'


def test_the_first_calls_run(blocks, hr, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  model = small.save_generator(tmp_path / 'small.safetensors')
  first = blocks[0].replace('load()', f'load({str(model)!r})')
  hr = hr[:64, :64, :3]
  names = {'lr': srgan_jax.imresize(hr, 1 / 4), 'hr': hr}
  exec(first, names)
  assert names['sr'].shape == hr.shape
  exec(blocks[1], names)
  assert 'CC BY-NC' in capsys.readouterr().out


def test_the_training_loop_trains(blocks, tmp_path, monkeypatch, capsys):
  assert sum(bool(line) for line in blocks[2].splitlines()) <= 30
  monkeypatch.chdir(tmp_path)
  model = small.save_generator(tmp_path / 'small.safetensors')
  code = re.sub(
    r'^(MODEL.*) = .*$',
    rf'\1 = {str(model)!r}, "folder:{repository.PHOTOS / "train"}", 32, 2, 2',
    blocks[2],
    flags=re.M,
  ).replace('Discriminator()', 'Discriminator(4)')
  names = {}
  exec(code, names)
  said = capsys.readouterr().out
  assert said.startswith("0 {'") and 'discriminator_loss' in said
  before, after = names['variables'], names['state'].generator.variables
  changed = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
  assert all(jax.tree.leaves(changed['params']))
  sr = names['upscale'](np.zeros((8, 8, 3), np.uint8))
  assert sr.shape == (32, 32, 3)
