"""Images, crops and VGG weights for tools where a config names none.

How long a step takes does not depend on the values.
"""

import pathlib
from typing import Any, cast

import jax
from jax.sharding import Mesh
import numpy as np

from srgan_jax import files, sharding
from srgan_jax.data.loader import Cut, come_cut
from srgan_jax.imaging import resize
from srgan_jax.models import vgg
from srgan_jax.training import config_files, stages
from srgan_jax.training.config_files import ConfigDict
from srgan_jax.training.setup import Setup


def use_photos(config: ConfigDict) -> None:
  """Has a config that names no source of its own take the shipped photos.

  None is validated on.
  """
  if config.data.source == config_files.load('default').data.source:
    config.data.source = f'folder:{files.PHOTOS / "train"}'
  config.data.validation = config.data.lpips = config.keep_best_by = ''


def facts(config: ConfigDict) -> dict[str, Any]:
  """What a step's figures depend on besides its networks."""
  device = jax.devices()[0]
  return {
    'device': device.device_kind,
    'devices': jax.device_count(),
    'platform': device.platform,
    'jax': jax.__version__,
    'batch_size': config.batch_size,
    'crop_size': config.crop_size,
    'steps_per_call': config.steps_per_call,
  }


def abstract_crops(
  config: ConfigDict, steps: int = 1
) -> dict[str, jax.ShapeDtypeStruct]:
  """The shapes of some steps' crops, of all devices."""
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
  cut: Cut = come_cut,
) -> jax.stages.Wrapped:
  """`Setup.make_update`, by default on crops that come cut."""
  update = setup.make_update(stage, cut, mesh=mesh, batch_norm=batch_norm)
  return cast(jax.stages.Wrapped, update)


def random_vgg(config: ConfigDict) -> vgg.PerceptualNetwork | None:
  """A VGG19 with random weights; None where none is needed or a file is."""
  contents = {s.content for s in config.stages.values() if s.steps}
  needs_none = contents <= {'mse', 'consistent'}
  if needs_none or pathlib.Path(config.perceptual.weights).exists():
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
    preprocessing=vgg.TORCHVISION,
    feature_scale=tuple((layer, 1.0) for layer in params),
    source='random',
  )
