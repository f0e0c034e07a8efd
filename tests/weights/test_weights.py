"""Weight files: what goes in comes out, and all else is refused in one line."""

import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from srgan_jax import weights
from srgan_jax.models import generator, vgg

ARCHITECTURE = {'blocks': 2, 'channels': 8}
TRAINING = {'steps': 2000, 'data': 'tar:x/*.tar', 'figures': {'y': 28.6}}
PREPROCESSING = vgg.Preprocessing(
  'rgb', (0, 1), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
)
PROVENANCE = {'source_sha256': 'ab' * 32, 'converter_version': '2'}


def fill(shapes, seed):
  """Random values in the shapes of a tree: quicker than initialising."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: rng.uniform(0.1, 1, leaf.shape).astype(np.float32), shapes
  )


def make_variables(architecture=ARCHITECTURE, seed=0):
  module = generator.Generator(**architecture)
  lr = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
  init = lambda key, lr: module.init(key, lr, train=False)
  return fill(jax.eval_shape(init, jax.random.key(0), lr), seed)


def make_network(layer='conv2_2', depth=19):
  image = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
  init = vgg.VGG(depth, layer).init
  params = fill(jax.eval_shape(init, jax.random.key(0), image)['params'], 0)
  return vgg.PerceptualNetwork(
    params=params,
    depth=depth,
    preprocessing=PREPROCESSING,
    feature_scale=(('conv1_2', 0.5), ('conv2_2', 1 / 12.75)),
    source='made up',
  )


@pytest.fixture
def generator_file(tmp_path):
  path = tmp_path / 'generator.safetensors'
  weights.save_generator(
    path, make_variables(), architecture=ARCHITECTURE, training=TRAINING
  )
  return path


@pytest.fixture
def vgg_file(tmp_path):
  path = tmp_path / 'vgg19.safetensors'
  weights.save_vgg(path, make_network(), **PROVENANCE)
  return path


def rewrite(path, change):
  """Applies `change(tensors, metadata)`, both flat, to a file."""
  with safetensors.safe_open(path, framework='numpy') as file:
    metadata = dict(file.metadata())
    tensors = {name: file.get_tensor(name) for name in file.keys()}
  change(tensors, metadata)
  safetensors.numpy.save_file(tensors, path, metadata=metadata)


def refusal(function, *arguments):
  """The message of the ValueError, which is one line."""
  with pytest.raises(ValueError) as info:
    function(*arguments)
  message = str(info.value)
  assert '\n' not in message
  return message


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
  lr = jax.random.uniform(jax.random.key(1), (1, 8, 8, 3))
  np.testing.assert_array_equal(
    module.apply(loaded, lr, train=False),
    module.apply(variables, lr, train=False),
  )


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


def test_discriminator_round_trip(tmp_path):
  path = tmp_path / 'd.safetensors'
  tree = {'params': {'dense': {'bias': np.arange(3, dtype=np.float32)}}}

  weights.save(path, 'discriminator', tree, {'architecture': {'channels': 8}})
  loaded, metadata = weights.load(path, 'discriminator')

  np.testing.assert_array_equal(loaded['params']['dense']['bias'], [0, 1, 2])
  assert metadata['architecture'] == {'channels': 8}


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

  with pytest.raises(ValueError, match=expected) as info:
    weights.load_vgg(vgg_file)

  message = str(info.value)
  assert message.startswith(f'{vgg_file}: ') and '\n' not in message
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
      set_metadata('architecture', '{"blocks": 1000000000, "channels": 8}'),
      'must be blocks and channels',
    ),
    (
      set_metadata('architecture', '{"blocks": true, "channels": 8}'),
      'must be blocks and channels',
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

  with pytest.raises(ValueError, match=expected) as info:
    weights.load_generator(generator_file)

  message = str(info.value)
  assert message.startswith(f'{generator_file}: ') and '\n' not in message
  assert 'srgan-upscale --list-models' in message


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
  rewrite(vgg_file, drop_metadata('dtype'))
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
