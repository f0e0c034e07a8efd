"""Weight files: what goes in comes out, and all else is refused in one line."""

import json
import os

import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from srgan_jax import weights
from srgan_jax.models import generator
from tests.support.weight_files import (
  ARCHITECTURE,
  PREPROCESSING,
  PROVENANCE,
  TRAINING,
  make_network,
  make_variables,
  rewrite,
)


def test_generator_round_trip(generator_file):
  variables = make_variables()
  module, loaded, metadata = weights.load_generator(generator_file)
  assert module == generator.Generator(blocks=2, channels=8)
  jax.tree.map(np.testing.assert_array_equal, loaded, variables)
  assert metadata['architecture'] == ARCHITECTURE
  assert metadata['training'] == TRAINING
  assert metadata['scale'] == 4
  assert metadata['input_range'] == [0, 1]
  assert metadata['output_range'] == [-1, 1]


def test_tensor_names_are_the_tree(generator_file):
  with safetensors.safe_open(generator_file, framework='numpy') as file:
    names = set(file.keys())
    metadata = file.metadata()
  assert 'params/conv_in/kernel' in names
  assert 'batch_stats/block_0/norm_0/mean' in names
  assert metadata['format'] == 'srgan_jax'
  assert metadata['format_version'] == '1'
  assert metadata['kind'] == 'generator'
  assert json.loads(metadata['architecture']) == ARCHITECTURE


def test_vgg_round_trip(vgg_file):
  network = make_network()
  loaded = weights.load_vgg(vgg_file)
  assert loaded.depth == 19
  assert loaded.preprocessing == PREPROCESSING
  assert dict(loaded.feature_scale) == dict(network.feature_scale)
  assert loaded.source == 'made up'
  jax.tree.map(np.testing.assert_array_equal, loaded.params, network.params)
  _, metadata = weights.load(vgg_file, 'vgg')
  assert metadata['source_sha256'] == 'ab' * 32
  assert metadata['converter_version'] == '2'
  assert metadata['dtype'] == 'float32'
  # Both are one static structure to jit.
  assert hash(jax.tree.structure(loaded)) == hash(jax.tree.structure(loaded))


def test_transposed_arrays_keep_their_order(tmp_path):
  path = tmp_path / 'd.safetensors'
  matrix = np.arange(6, dtype=np.float32).reshape(2, 3).T
  weights.save(path, 'discriminator', {'a': matrix}, {'architecture': {}})
  loaded, _ = weights.load(path, 'discriminator')
  np.testing.assert_array_equal(loaded['a'], matrix)


def test_same_content_gives_the_same_bytes(tmp_path):
  # safetensors itself orders metadata anew on every call.
  metadata = {'architecture': {}, **{f'key_{i}': i for i in range(8)}}
  files = []
  for i in range(3):
    path = tmp_path / f'{i}.safetensors'
    tree = {'a': np.zeros(3), 'b': np.ones((2, 2))}
    weights.save(path, 'discriminator', tree, metadata)
    files.append(path.read_bytes())
  assert files[0] == files[1] == files[2]


def test_non_ascii_metadata_survives(tmp_path):
  path = tmp_path / 'ö.safetensors'
  metadata = {'architecture': {}, 'data': 'tar:Übung "1"/*.tar'}
  weights.save(path, 'discriminator', {'a': np.zeros(3)}, metadata)
  assert weights.load(path, 'discriminator')[1]['data'] == metadata['data']


def test_interrupted_save_leaves_the_old_file(generator_file, monkeypatch):
  before = generator_file.read_bytes()

  def fail(*_):
    raise KeyboardInterrupt

  monkeypatch.setattr(os, 'replace', fail)
  with pytest.raises(KeyboardInterrupt):
    weights.save_generator(
      generator_file,
      make_variables(seed=1),
      architecture=ARCHITECTURE,
      training={},
    )
  assert generator_file.read_bytes() == before
  assert os.listdir(generator_file.parent) == [generator_file.name]


def test_save_refuses_variables_of_another_architecture(tmp_path):
  path = tmp_path / 'g.safetensors'
  with pytest.raises(ValueError, match='g.safetensors: lacks .*block_2'):
    weights.save_generator(
      path,
      make_variables(),
      architecture={'blocks': 3, 'channels': 8},
      training={},
    )
  assert not path.exists()
  network = make_network()
  del network.params['conv1_2']
  with pytest.raises(ValueError, match='lacks params/conv1_2/bias'):
    weights.save_vgg(path, network, **PROVENANCE)
  with pytest.raises(ValueError, match="'gan'"):
    weights.save(path, 'gan', {}, {})
  with pytest.raises(ValueError, match="'float64'"):
    weights.save(path, 'vgg', {}, {}, dtype='float64')


@pytest.mark.parametrize(
  ('dtype', 'error'),
  # Half a unit in the last place: 10 and 7 bits of mantissa.
  [('float16', 2**-11), ('bfloat16', 2**-8)],
)
@pytest.mark.parametrize('kind', ['vgg', 'generator'])
def test_half_precision_comes_back_as_float32(tmp_path, kind, dtype, error):
  path = tmp_path / f'{kind}.safetensors'
  if kind == 'vgg':
    weights.save_vgg(path, make_network(), **PROVENANCE, dtype=dtype)
    loaded, original = weights.load_vgg(path).params, make_network().params
  else:
    original = make_variables()
    facts = {'architecture': ARCHITECTURE, 'training': {}}
    weights.save_generator(path, original, **facts, dtype=dtype)
    _, loaded, _ = weights.load_generator(path)
  errors = jax.tree.map(
    lambda a, b: np.max(np.abs(a / b - 1)), loaded, original
  )
  assert 0.5 * error < max(jax.tree.leaves(errors)) <= error
  assert {leaf.dtype for leaf in jax.tree.leaves(loaded)} == {
    np.dtype('float32')
  }
  assert weights.load(path, kind)[1]['dtype'] == dtype
  count = sum(leaf.size for leaf in jax.tree.leaves(original))
  assert 2 * count < path.stat().st_size < 2 * count + 8192


def test_a_file_without_dtype_is_float32(vgg_file):
  rewrite(vgg_file, lambda tensors, metadata: metadata.pop('dtype'))
  assert weights.load_vgg(vgg_file).depth == 19


@pytest.mark.parametrize(
  ('dtype', 'value'), [('float16', 7e4), ('bfloat16', -3.4e38)]
)
def test_values_too_large_for_the_dtype_are_refused(tmp_path, dtype, value):
  path = tmp_path / 'd.safetensors'
  tree = {'a': {'b': np.array([1, value], np.float32)}}
  with pytest.raises(ValueError, match=f'a/b has .*, too large for {dtype}'):
    weights.save(path, 'discriminator', tree, {'architecture': {}}, dtype=dtype)
  assert not path.exists()


@pytest.mark.parametrize('name', ['a.pth', 'B.PT', 'c.h5', 'd.ckpt'])
def test_anothers_file_says_how_to_convert_it(name, tmp_path):
  path = tmp_path / name
  path.write_bytes(b'PK\x03\x04' + bytes(100))
  with pytest.raises(ValueError, match='srgan_jax.convert.generator') as error:
    weights.load_generator(path)
  assert str(path) in str(error.value) and '\n' not in str(error.value)
