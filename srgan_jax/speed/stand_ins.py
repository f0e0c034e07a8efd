"""What a tool takes where a config's own images or VGG are not at hand.

How long a step takes does not depend on the values.
"""

import pathlib
from typing import cast

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict
import numpy as np

import srgan_jax
from srgan_jax import sharding
from srgan_jax.data.loader import Cut
from srgan_jax.imaging import resize
from srgan_jax.models import vgg
from srgan_jax.training import config_files, stages
from srgan_jax.training.setup import Setup


def use_photos(config: ConfigDict) -> None:
  """Takes the shipped photos where the config names no source of its own."""
  if config.data.source == config_files.load('default').data.source:
    photos = pathlib.Path(srgan_jax.__file__).parent / 'assets' / 'train'
    config.data.source = f'folder:{photos}'
  config.data.validation = ''


def abstract_crops(
  config: ConfigDict, steps: int = 1
) -> dict[str, jax.ShapeDtypeStruct]:
  """The shapes of some steps' crops, of all devices, as they come cut."""
  side = config.crop_size + 2 * resize.CONTEXT
  shape = (steps, config.batch_size, side, side, 3)
  return {
    'crop': jax.ShapeDtypeStruct(shape, np.uint8),
    'symmetry': jax.ShapeDtypeStruct(shape[:2], np.int32),
  }


def make_update(
  setup: Setup,
  stage: stages.Stage,
  mesh: Mesh,
  batch_norm: sharding.BatchNorm = 'global',
  cut: Cut = lambda pictures, rows: rows,
) -> jax.stages.Wrapped:
  """The compiled update, by default on crops that come cut.

  See `Setup.make_update`.
  """
  update = setup.make_update(stage, cut, mesh=mesh, batch_norm=batch_norm)
  return cast(jax.stages.Wrapped, update)


def random_vgg(config: ConfigDict) -> vgg.PerceptualNetwork | None:
  """A VGG19 with random weights, where one is needed and there is no file."""
  trained = [stage for stage in config.stages.values() if stage.steps]
  if all(stage.content == 'mse' for stage in trained):
    return None
  if pathlib.Path(config.perceptual.weights).exists():
    return None
  module = vgg.VGG(19, 'conv5_4')
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
  shapes = jax.eval_shape(module.init, jax.random.key(0), image)['params']
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda x: rng.normal(0, 0.02, x.shape).astype(np.float32), shapes
  )
  return vgg.PerceptualNetwork(
    params=params,
    depth=19,
    preprocessing=vgg.Preprocessing(
      'rgb', (0, 1), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    ),
    feature_scale=tuple((layer, 1.0) for layer in params),
    source='random',
  )
