"""What a tool takes where a config's own images or VGG are not at hand.

How long a step takes does not depend on the values.
"""

from collections.abc import Callable
import pathlib
from typing import Any, cast

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict
import numpy as np

from srgan_jax import weights
from srgan_jax.models import vgg
from srgan_jax.training import config_files, program, stages
from srgan_jax.training import run as run_lib


def use_photos(config: ConfigDict) -> None:
  """Takes the shipped photos where the config names no source of its own."""
  if config.data.source == config_files.load('default').data.source:
    config.data.source = (
      f'folder:{config_files.ROOT / "srgan_jax/assets/train"}'
    )
  config.data.validation = ''


def abstract_crops(
  config: ConfigDict, steps: int = 1
) -> dict[str, jax.ShapeDtypeStruct]:
  """The shapes of some steps' crops, of all devices, as they come cut."""
  side = config.crop_size + 16  # with the context
  shape = (steps, config.batch_size, side, side, 3)
  return {
    'crop': jax.ShapeDtypeStruct(shape, np.uint8),
    'symmetry': jax.ShapeDtypeStruct(shape[:2], np.int32),
  }


def make_update(
  run: run_lib.Run,
  stage: stages.Stage,
  mesh: Mesh,
  batch_norm: str = 'global',
  cut: Callable[[Any, Any], dict[str, jax.Array]] | None = None,
) -> jax.stages.Wrapped:
  """The compiled update (`program.make_update`).

  Args:
    run: of which it is.
    stage: likewise.
    mesh: the devices.
    batch_norm: see there.
    cut: a loader's `crops`; None: crops come cut.
  """
  config = run.config
  is_photo = config.data.degradation == 'photo'
  update = program.make_update(
    stage,
    cut or (lambda pictures, rows: rows),
    mesh,
    scale=config.scale,
    precision=run.precision,
    batch_norm=batch_norm,
    degradation_seed=config.seed if is_photo else None,
  )
  return cast(jax.stages.Wrapped, update)


def use_random_vgg(config: ConfigDict, folder: pathlib.Path) -> bool:
  """Writes a VGG19 with random weights where one is needed and there is none.

  Args:
    config: its `perceptual.weights` is changed.
    folder: for the file.

  Returns:
    Whether it did.
  """
  trained = [stage for stage in config.stages.values() if stage.steps]
  if all(stage.content == 'mse' for stage in trained):
    return False
  if pathlib.Path(config.perceptual.weights).exists():
    return False
  module = vgg.VGG(19, 'conv5_4')
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
  shapes = jax.eval_shape(module.init, jax.random.key(0), image)['params']
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda x: rng.normal(0, 0.02, x.shape).astype(np.float32), shapes
  )
  network = vgg.PerceptualNetwork(
    params=params,
    depth=19,
    preprocessing=vgg.Preprocessing(
      'rgb', (0, 1), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    ),
    feature_scale=tuple((layer, 1.0) for layer in params),
    source='random',
  )
  path = folder / 'vgg19.safetensors'
  weights.save_vgg(
    path, network, source_sha256='0' * 64, converter_version='random'
  )
  config.perceptual.weights = str(path)
  return True
