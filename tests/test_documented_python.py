"""Python in the pages of docs, run as it stands there.

README's and that of docs/api.md have tests of their own.
"""

import sys
import types

import numpy as np
from PIL import Image
import pytest

import srgan_jax
from srgan_jax import export, imaging, weights
from srgan_jax.convert import to_torch
from srgan_jax.weights import architecture
from tests.support import documentation, repository, small

DOCS = repository.ROOT / 'docs'
ELSEWHERE = {'README.md', 'api.md'}


@pytest.fixture
def lr():
  hr = Image.open(repository.PHOTOS / 'validation' / 'cat.png').convert('RGB')
  return imaging.imresize(np.asarray(hr)[:64, :96], 1 / 4)


def run(page, names, blocks=slice(None)):
  for block in documentation.code(DOCS / page, 'python')[blocks]:
    exec(block, names)


def test_every_page_with_python_is_run():
  pages = {
    page.name
    for page in documentation.PAGES
    if documentation.code(page, 'python')
  }
  assert pages == ELSEWHERE | {'export.md', 'upscaling.md', 'weights.md'}


def test_an_export_with_its_back_projection_makes_loads_pixels(
  lr, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  weights.save_generator(
    'small.safetensors',
    small.network_state(small.GENERATOR, 0).variables,
    architecture=architecture.of_generator(small.GENERATOR),
    training={'back_project': 1},
  )
  assert not export.main(['small.safetensors', '-o', 'srgan.stablehlo'])
  assert '1 step of back-projection' in capsys.readouterr().out
  names = {'lr': np.stack([lr, lr[::-1]])}
  run('export.md', names, np.s_[:1])
  plain = srgan_jax.load('small.safetensors', back_project=0)(names['lr'])
  assert np.abs(np.asarray(names['sr'], int) - plain).max() <= 1
  run('export.md', names, np.s_[1:])
  sr = srgan_jax.load('small.safetensors')(names['lr'])
  assert names['sr'].dtype == np.uint8
  assert np.abs(names['sr'].astype(int) - sr).max() <= 1
  assert np.abs(sr.astype(int) - plain).mean() > 5


def test_upscaling_takes_arrays_and_pictures(lr, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  small.save_generator(tmp_path / 'generator.safetensors')
  for name in ('photo.jpg', 'a.jpg', 'b.jpg'):
    Image.fromarray(lr).save(name)
  names = {'lr': lr}
  run('upscaling.md', names)
  assert names['sr'].shape == (64, 96, 3)
  assert names['image'].size == names['images'][1].size == (96, 64)


def test_weights_go_from_pytorch_and_to_it(tmp_path, monkeypatch):
  torch = pytest.importorskip('torch', reason='PyTorch is not installed')
  from tests.support import torch_generators

  def srresnet_x4(in_channels, out_channels, channels, num_rcb):
    assert in_channels == out_channels == 3
    return torch_generators.lornatang_2022(channels, num_rcb)

  monkeypatch.chdir(tmp_path)
  module = torch_generators.sgrvinod(4, 1)
  torch.save({'epoch': 1, 'generator': module}, 'checkpoint_srgan.pth.tar')
  to_torch.main(['srresnet', '-o', 'generator.pth'])
  theirs = types.SimpleNamespace(srresnet_x4=srresnet_x4)
  monkeypatch.setitem(sys.modules, 'model', theirs)
  names = {}
  run('weights.md', names)
  state = torch.load('srgan.pth', weights_only=True)
  assert state.keys() == module.state_dict().keys()
  assert not names['model'].training
