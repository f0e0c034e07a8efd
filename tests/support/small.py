"""Small networks, states and batches for the tests of the step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from srgan_jax import imaging, weights
from srgan_jax.data.batch import Batch
from srgan_jax.evaluation import lpips
from srgan_jax.models import vgg
from srgan_jax.models.discriminator import Discriminator
from srgan_jax.models.generator import Generator
from srgan_jax.training import optimizers, stages
from srgan_jax.training import step as step_lib
from srgan_jax.weights import architecture
from tests.support import networks, weight_files

SIDE = 32
# 'he': from the first step on, every parameter has a gradient.
GENERATOR = Generator(1, 4, init_scheme='he')
DISCRIMINATOR = Discriminator(4)
VGG_OBJECTIVE = step_lib.Objective(content_layer='conv2_2')


def batch(seed=0, size=4):
  rng = np.random.default_rng(seed)
  return Batch(
    lr=jnp.asarray(rng.random((size, SIDE // 4, SIDE // 4, 3)), jnp.float32),
    hr=jnp.asarray(rng.uniform(-1, 1, (size, SIDE, SIDE, 3)), jnp.float32),
  )


def perceptual(seed=0):
  """A VGG16 up to conv2_2 with random weights, torchvision's convention."""
  module = vgg.VGG(16, 'conv2_2')
  params = module.init(jax.random.key(seed), jnp.zeros((1, 8, 8, 3)))['params']
  return vgg.PerceptualNetwork(
    params=params,
    depth=16,
    preprocessing=weight_files.PREPROCESSING,
    feature_scale=(('conv2_2', 1 / 12.75),),
  )


def network_state(network, seed, rate=1e-3):
  images = batch().lr if network is GENERATOR else batch().hr
  return step_lib.create_network(
    network,
    _initial_variables(network, images.shape, seed),
    optimizers.adam(rate),
  )


@functools.cache
def _initial_variables(network, shape, seed):
  return networks.init(network, seed, jnp.zeros(shape))


def pretrain_state(ema=False):
  generator = network_state(GENERATOR, 0)
  return step_lib.PretrainState(
    generator=generator, ema=generator.variables if ema else None
  )


def gan_state(ema=False):
  generator = network_state(GENERATOR, 0)
  return step_lib.GanState(
    generator=generator,
    ema=generator.variables if ema else None,
    discriminator=network_state(DISCRIMINATOR, 1),
  )


def stage(name, objective=VGG_OBJECTIVE):
  """A stage of a run by its name, with the small VGG where it needs one."""
  is_gan = name == stages.GAN
  layer = objective.content_layer
  return stages.Stage(
    name=name,
    steps=100,
    schedule=lambda count: 1e-3,
    step=step_lib.gan_step if is_gan else step_lib.pretrain_step,
    objective=objective,
    content=stages.Content('vgg22', layer, perceptual() if layer else None),
  )


def rows(steps, size):
  """Steps' crops, as a loader gives them."""
  rng = np.random.default_rng(0)
  side = SIDE + 16
  return [
    {
      'crop': rng.integers(0, 256, (size, side, side, 3), np.uint8),
      'symmetry': rng.integers(0, 8, size, np.int32),
    }
    for _ in range(steps)
  ]


def assert_close(ours, theirs, tolerance=1e-5):
  """Of trees: by each value's size, or its array's largest."""
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(
      a, b, rtol=tolerance, atol=tolerance * (np.abs(b).max() + 1e-6)
    ),
    ours,
    theirs,
  )


def save_generator(path):
  """Writes the small generator, of random weights, as a file."""
  weights.save_generator(
    path,
    network_state(GENERATOR, 0).variables,
    architecture=architecture.of_generator(GENERATOR),
    training={},
  )
  return path


def save_vgg(path, **changes):
  """Writes the small VGG, with changes to its fields, as a file."""
  weights.save_vgg(
    path,
    perceptual().replace(source='random', **changes),
    source_sha256='0' * 64,
    converter_version='0',
  )
  return path


def lpips_metric(network):
  """LPIPS with weights that nobody trained."""
  rng = np.random.default_rng(0)
  module = {'alex': lpips.AlexNet(), 'vgg16': vgg.VGG(16, 'conv5_3')}[network]
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
  shapes = jax.eval_shape(module.init, jax.random.key(0), image)['params']
  params = {}
  for name, part in shapes.items():
    shape = part['kernel'].shape
    deviation = np.float32((2 / np.prod(shape[:3])) ** 0.5)
    params[name] = {
      'kernel': rng.standard_normal(shape, np.float32) * deviation,
      'bias': rng.standard_normal(shape[3], np.float32) / 4,
    }
  linear = {
    name: rng.random(len(params[name]['bias']), np.float32)
    for name in lpips.layer_names(network)
  }
  return lpips.Lpips(network, {'params': params, 'linear': linear}, 'random')


def make_pair(height, width, seed=0):
  """A smooth picture and a noisy copy; integers alone, so the same anywhere."""
  rng = np.random.default_rng(seed)
  coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
  hr = imaging.imresize(coarse, 8)[:height, :width]
  sr = np.clip(hr + rng.integers(-40, 41, hr.shape), 0, 255).astype(np.uint8)
  return sr, hr
