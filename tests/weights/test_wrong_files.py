"""Files that are not what they should be: refused in a line."""

import json
import re

import numpy as np
import pytest

from srgan_jax import weights
from tests.support import small
from tests.support.weight_files import refusal, rewrite


def test_missing_file_says_what_to_run(tmp_path):
  path = tmp_path / 'vgg16.safetensors'
  assert refusal(weights.load_vgg, path) == (
    f'{path}: no such file; '
    f'run python -m srgan_jax.convert.vgg SOURCE -o {path}'
  )
  message = refusal(weights.load_generator, path)
  assert 'srgan-upscale --list-models' in message
  assert str(tmp_path) in refusal(weights.load_vgg, tmp_path)  # a folder


@pytest.mark.parametrize(
  ('content', 'expected'),
  [
    (b'', 'is empty'),
    (b'\n<!DOCTYPE html><html><body>404</body>', 'web page'),
    (b'<html><head>', 'web page'),
    (
      b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n',
      'Git LFS pointer',
    ),
    (b'PK\x03\x04' + bytes(100), 'not safetensors'),
    (b'\x80\x04\x95' + bytes(100), 'not safetensors'),
    (bytes(7), 'not safetensors'),
  ],
)
def test_other_files_are_refused(tmp_path, content, expected):
  path = tmp_path / 'vgg16.safetensors'
  path.write_bytes(content)
  message = refusal(weights.load_vgg, path)
  assert expected in message
  assert message.startswith(str(path))
  assert message.endswith('run python -m srgan_jax.convert.vgg SOURCE -o OUT')


@pytest.mark.parametrize('keep', [4, 100, 0.5, 0.999])
def test_truncated_file_is_refused(vgg_file, keep):
  data = vgg_file.read_bytes()
  size = keep if isinstance(keep, int) else int(keep * len(data))
  vgg_file.write_bytes(data[:size])
  message = refusal(weights.load_vgg, vgg_file)
  assert str(vgg_file) in message and 'is cut off' in message


def edit(name, value=None):
  """A change of a tensor or a field of metadata; without a value it goes."""

  def change(tensors, metadata):
    part = tensors if '/' in name else metadata
    if value is None:
      part.pop(name)
    else:
      part[name] = value

  return change


def sizes(**fields):
  return edit('architecture', json.dumps(fields))


def preprocessing(**changes):
  fields = {'channel_order': 'rgb', 'value_range': [0, 1]}
  return json.dumps(fields | {'mean': [0, 0, 0], 'std': [1, 1, 1]} | changes)


def zeros(size, dtype=np.float32):
  return np.zeros(size, dtype)


@pytest.mark.parametrize(
  ('change', 'expected'),
  [
    (lambda tensors, metadata: metadata.clear(), 'no srgan_jax metadata'),
    (edit('format'), 'no srgan_jax metadata'),
    (edit('format_version', '2'), "format version '2'"),
    (edit('kind', 'generator'), 'holds a generator, not a vgg'),
    (edit('kind'), 'holds a None'),
    (edit('architecture'), 'does not record its architecture'),
    (edit('architecture', '[1]'), 'does not record its architecture'),
    (edit('architecture', '{'), 'architecture not in JSON'),
    (edit('architecture', '{"depth": 11}'), 'depth 11'),
    (edit('architecture', '{"depth": [19]}'), r'depth \[19\]'),
    (edit('preprocessing'), 'does not record its preprocessing'),
    (edit('preprocessing', 'null'), 'record its preprocessing'),
    (edit('preprocessing', '{"mean": [0, 0, 0]}'), 'wrong preprocessing'),
    (
      edit('preprocessing', preprocessing(channel_order='xyz')),
      "wrong preprocessing: .*'xyz'",
    ),
    (edit('source'), 'does not record its source;'),
    (edit('source_sha256'), 'does not record its source_sha256'),
    (edit('source_sha256', '"abc"'), 'record its source_sha256'),
    (edit('converter_version'), 'record its converter_version'),
    (edit('dtype', '"float64"'), "wrong dtype: 'float64'"),
    (edit('dtype', '["float32"]'), r"wrong dtype: \['float32'\]"),
    (edit('dtype', '"float16"'), 'is float32, not float16'),
    (edit('feature_scale'), 'does not record its feature_scale'),
    (edit('feature_scale', '{"conv2_2": 0}'), 'conv2_2=0'),
    (edit('feature_scale', '{"conv2_2": "1"}'), "conv2_2='1'"),
    (edit('feature_scale', '{"conv9_9": 1}'), 'conv9_9=1'),
    (
      edit('feature_scale', f'{{"conv2_2": 1{"0" * 400}}}'),
      'wrong feature_scale: conv2_2=10000',
    ),
    (
      edit('preprocessing', preprocessing(value_range=[0, 10**400])),
      'wrong preprocessing',
    ),
    (edit('params/conv1_2/bias'), r'lacks params/conv1_2/bias \(1 '),
    (edit('params/conv2_2/kernel'), 'lacks params/conv2_2/kernel'),
    (edit('params/dense/kernel', zeros(3)), 'has params/dense/kernel'),
    (edit('params/conv1_1/bias', zeros(63)), r'bias is \(63,\), not \(64,\)'),
    (edit('params/conv1_1/bias', zeros(64, 'f2')), 'is float16, not float32'),
    (
      edit('params/conv1_1/bias', zeros(64) + np.nan),
      'params/conv1_1/bias has values that are not finite',
    ),
    (edit('params/conv1_1', zeros(3)), 'conv1_1 is both a tensor and a tree'),
    (lambda tensors, metadata: tensors.clear(), 'lacks params/conv1_1/bias'),
  ],
)
def test_wrong_vgg_files_are_refused(vgg_file, change, expected):
  rewrite(vgg_file, change)
  message = refusal(weights.load_vgg, vgg_file)
  assert message.startswith(f'{vgg_file}: ') and re.search(expected, message)
  assert message.endswith('python -m srgan_jax.convert.vgg SOURCE -o OUT')


@pytest.mark.parametrize(
  ('change', 'expected'),
  [
    (edit('kind', 'vgg'), 'holds a vgg, not a generator'),
    (sizes(blocks=1, channels=8), 'has batch_stats/block_1/norm_0/mean'),
    (sizes(blocks=2, channels=4), r'is \(8,\), not \(4,\)'),
    (edit('training'), 'does not record its training'),
    (edit('training', '[1]'), 'does not record its training'),
    (edit('scale', '2'), 'has scale 2; only 4 is read'),
    (edit('scale', 'null'), 'has scale None;'),
    (edit('input_range', '[-1, 1]'), r'has input_range \[-1, 1\]; only'),
    (edit('output_range', '[0, 1]'), r'output_range .*; only \[-1, 1\] is'),
    (sizes(blocks=128, channels=8), 'has 38 tensors, too few for 128 blocks'),
    (sizes(blocks=2, depth=8), 'must be blocks and channels'),
    (edit('batch_stats/norm_mid/var'), 'lacks batch_stats/norm_mid/var'),
    (edit('params/prelu_in/slope'), r'lacks .*/slope \(1 tensors missing\)'),
  ],
)
def test_wrong_generator_files_are_refused(generator_file, change, expected):
  rewrite(generator_file, change)
  message = refusal(weights.load_generator, generator_file)
  assert message.startswith(f'{generator_file}: ')
  assert re.search(expected, message) and '--list-models' in message


def test_a_discriminators_range_is_checked(tmp_path):
  path = tmp_path / 'discriminator.safetensors'
  weights.save_discriminator(
    path,
    small.network_state(small.DISCRIMINATOR, 0).variables,
    architecture={'channels': 4, 'image_size': small.SIDE},
    training={},
  )
  rewrite(path, edit('input_range', '[0, 1]'))
  message = refusal(weights.load_discriminator, path)
  assert r'has input_range [0, 1]; only [-1, 1] is read' in message


def test_a_file_that_states_no_scale_and_ranges_is_read(generator_file):
  for name in ('scale', 'input_range', 'output_range'):
    rewrite(generator_file, edit(name))
  assert weights.load_generator(generator_file)[0].blocks == 2
