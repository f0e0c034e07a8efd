"""What is said of the shipped generators, without loading one."""

import subprocess
import sys

import srgan_jax
from srgan_jax import pretrained, weights


def test_every_shipped_name_is_listed_once():
  models = srgan_jax.list_models()
  known = [name for m in models for name in (m.name, *m.aliases)]
  assert sorted(known) == sorted(pretrained.FILES)
  for model in models:
    assert model.purpose and model.path == pretrained.find(model.name)


def test_what_is_said_is_in_the_file():
  for model in srgan_jax.list_models():
    *_, metadata = weights.load_generator(model.path)
    assert model.label == metadata['training']['label']
    assert model.licence == metadata['training']['licence']
    assert model.figures == metadata['training']['figures']
    assert model.size == len(model.path.read_bytes())


def test_the_package_shows_what_it_offers():
  offered = {'load', 'list_models', 'imresize', 'score'}
  assert offered <= set(dir(srgan_jax)) & set(srgan_jax.__all__)
  for name in srgan_jax.__all__:
    assert getattr(srgan_jax, name) is not None


def test_listing_imports_no_jax():
  code = (
    'import sys, srgan_jax; from srgan_jax.pretrained import catalogue; '
    'print(catalogue.describe()); assert "jax" not in sys.modules; '
    'assert "numpy" not in sys.modules'
  )
  said = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  ).stdout
  (line,) = [line for line in said.splitlines() if '(the default)' in line]
  assert line.startswith(f'{pretrained.DEFAULT}')
  assert 'Set14: PSNR ' in said and 'CC BY-NC 4.0' in said
