"""Files that are not what they should be: refused in a line."""

import re

import numpy as np
import pytest

from srgan_jax import weights
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


def set_metadata(key, value):
  return lambda tensors, metadata: metadata.update({key: value})


def drop_metadata(key):
  return lambda tensors, metadata: metadata.pop(key)


def drop_tensor(name):
  return lambda tensors, metadata: tensors.pop(name)


def set_tensor(name, value):
  return lambda tensors, metadata: tensors.update({name: value})


@pytest.mark.parametrize(
  ('change', 'expected'),
  [
    (lambda tensors, metadata: metadata.clear(), 'no srgan_jax metadata'),
    (drop_metadata('format'), 'no srgan_jax metadata'),
    (set_metadata('format_version', '2'), "format version '2'"),
    (set_metadata('kind', 'generator'), 'holds a generator, not a vgg'),
    (drop_metadata('kind'), 'holds a None'),
    (drop_metadata('architecture'), 'does not record its architecture'),
    (set_metadata('architecture', '[1]'), 'does not record its architecture'),
    (set_metadata('architecture', '{'), 'architecture not in JSON'),
    (set_metadata('architecture', '{"depth": 11}'), 'depth 11'),
    (set_metadata('architecture', '{"depth": [19]}'), r'depth \[19\]'),
    (drop_metadata('preprocessing'), 'does not record its preprocessing'),
    (set_metadata('preprocessing', 'null'), 'record its preprocessing'),
    (
      set_metadata('preprocessing', '{"channel_order": "rgb"}'),
      'wrong preprocessing',
    ),
    (
      set_metadata(
        'preprocessing',
        '{"channel_order": "xyz", "value_range": [0, 1], "mean": [0, 0, 0],'
        ' "std": [1, 1, 1]}',
      ),
      "wrong preprocessing: .*'xyz'",
    ),
    (drop_metadata('source'), 'does not record its source;'),
    (drop_metadata('source_sha256'), 'does not record its source_sha256'),
    (set_metadata('source_sha256', '"abc"'), 'record its source_sha256'),
    (drop_metadata('converter_version'), 'record its converter_version'),
    (set_metadata('dtype', '"float64"'), "wrong dtype: 'float64'"),
    (set_metadata('dtype', '["float32"]'), r"wrong dtype: \['float32'\]"),
    (set_metadata('dtype', '"float16"'), 'is float32, not float16'),
    (drop_metadata('feature_scale'), 'does not record its feature_scale'),
    (set_metadata('feature_scale', '{"conv2_2": 0}'), 'conv2_2=0'),
    (set_metadata('feature_scale', '{"conv2_2": "1"}'), "conv2_2='1'"),
    (set_metadata('feature_scale', '{"conv9_9": 1}'), 'conv9_9=1'),
    (
      set_metadata('feature_scale', f'{{"conv2_2": 1{"0" * 400}}}'),
      'wrong feature_scale: conv2_2=10000',
    ),
    (
      set_metadata(
        'preprocessing',
        f'{{"channel_order": "rgb", "value_range": [0, 1{"0" * 400}],'
        ' "mean": [0, 0, 0], "std": [1, 1, 1]}',
      ),
      'wrong preprocessing',
    ),
    (drop_tensor('params/conv1_2/bias'), r'lacks params/conv1_2/bias \(1 '),
    (drop_tensor('params/conv2_2/kernel'), 'lacks params/conv2_2/kernel'),
    (
      set_tensor('params/dense/kernel', np.zeros(3, np.float32)),
      'has params/dense/kernel',
    ),
    (
      set_tensor('params/conv1_1/bias', np.zeros(63, np.float32)),
      r'params/conv1_1/bias is \(63,\), not \(64,\)',
    ),
    (
      set_tensor('params/conv1_1/bias', np.zeros(64, np.float16)),
      'is float16, not float32',
    ),
    (
      set_tensor('params/conv1_1/bias', np.full(64, np.nan, np.float32)),
      'params/conv1_1/bias has values that are not finite',
    ),
    (
      set_tensor('params/conv1_1', np.zeros(3, np.float32)),
      'params/conv1_1 is both a tensor and a tree',
    ),
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
    (set_metadata('kind', 'vgg'), 'holds a vgg, not a generator'),
    (
      set_metadata('architecture', '{"blocks": 1, "channels": 8}'),
      'has batch_stats/block_1/norm_0/mean',
    ),
    (
      set_metadata('architecture', '{"blocks": 2, "channels": 4}'),
      r'is \(8,\), not \(4,\)',
    ),
    (drop_metadata('training'), 'does not record its training'),
    (set_metadata('training', '[1]'), 'does not record its training'),
    (
      set_metadata('architecture', '{"blocks": 128, "channels": 8}'),
      'has 38 tensors, too few for 128 blocks',
    ),
    (
      set_metadata('architecture', '{"blocks": 2, "depth": 8}'),
      'must be blocks and channels',
    ),
    (drop_tensor('batch_stats/norm_mid/var'), 'lacks batch_stats/norm_mid/var'),
    (
      drop_tensor('params/prelu_in/slope'),
      r'lacks params/prelu_in/slope \(1 tensors missing\)',
    ),
  ],
)
def test_wrong_generator_files_are_refused(generator_file, change, expected):
  rewrite(generator_file, change)
  message = refusal(weights.load_generator, generator_file)
  assert message.startswith(f'{generator_file}: ')
  assert re.search(expected, message) and '--list-models' in message
