"""Files that hold no VGG that a content loss takes: refused in a line."""

import sys

import numpy as np
import pytest
import safetensors.numpy

from srgan_jax import weights
from srgan_jax.convert import vgg_sources
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


class Evil:
  """Pickles as a call."""

  def __reduce__(self):
    return eval, ('1 + 1',)


def test_other_pytorch_files_are_refused(tmp_path):
  torch = pytest.importorskip('torch')
  expected = {
    'a list': 'it is a list, not a state dict',
    'numbers': 'it is a dict, not a state dict',
    'a module': 'pickled torch.nn.modules.linear.Linear, not only tensors',
    'a call': 'a pickled __builtin__.eval, not only tensors',
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
    'a call': {'features.0.weight': Evil()},
    'integers': {'features.0.weight': torch.arange(4)},
    'sparse': {'features.0.weight': torch.ones(2, 2).to_sparse()},
    'expanded': {'features.0.weight': torch.ones(1, 1).expand(10**6, 10**6)},
    'a VGG11': {
      k: torch.from_numpy(v).bfloat16() for k, v in small_state(numbers).items()
    },
  }
  for name, value in values.items():
    path = tmp_path / f'{name}.pth'
    torch.save(value, path)
    assert expected[name] in refusal(path), name
  whole = path.read_bytes()
  for keep in (20, len(whole) // 2, len(whole) - 10):
    path.write_bytes(whole[:keep])
    assert 'it is cut off or damaged' in refusal(path)


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
  ('name', 'content', 'expected'),
  [
    ('x.pth', b'\x89HDF\r\n\x1a\n', 'is HDF5, not what .*: call it .h5'),
    ('x.h5', b'PK\x03\x04', 'is a PyTorch file, .*: call it .pth'),
    ('x.safetensors', b'PK\x03\x04', 'is a PyTorch file'),
    ('x.ckpt', b'PK\x03\x04', 'is a PyTorch file'),
    ('x.pt', b'\x10' + bytes(7) + b'{}', 'is safetensors, .*: call it .saf'),
    ('x.h5', b'\x80\x04\x95', 'is a pickle, .*: call it .ckpt'),
    ('x.pth', b'\x1f\x8b', 'is a gzip archive'),
    ('x.pth', b'<!DOCTYPE html>', 'is a web page'),
    ('x.h5', b'version https://git-lfs.github.com/spec/v1', 'is a Git LFS'),
    ('x.safetensors', b'', 'is empty'),
    ('x.h5', b'text that is none', 'it is cut off or damaged'),
    ('x.safetensors', b'text that is none', 'it is cut off or damaged'),
    ('x.pth', b'text that is none', 'it is cut off or damaged'),
    ('x.npz', b'PK', 'neither a name .* nor a file that this tool reads'),
    ('torchvison', None, r'neither a name \(torchvision, timm, keras, lpips-j'),
    ('x.pth', None, 'no such file'),
  ],
)
def test_renamed_and_other_files_are_refused(tmp_path, name, content, expected):
  path = tmp_path / name
  if content is not None:
    path.write_bytes(content)
  with pytest.raises(ValueError, match=expected) as info:
    vgg_sources.read(path)
  assert str(info.value).startswith(str(path))
  assert '\n' not in str(info.value)
