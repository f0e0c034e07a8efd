"""What a run computes with: networks, stages, devices, states, programs.

A `Setup` follows from its config and the weight files that it names. It writes
nothing and opens no data, so that a tool has a step as cheaply as a run has.
"""

import copy
import functools
import logging
import pathlib
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from srgan_jax import SCALE, pretrained, sharding, upscaling, weights
from srgan_jax.data.loader import Cut, Loader
from srgan_jax.models import layers, vgg
from srgan_jax.models.discriminator import Discriminator
from srgan_jax.models.generator import Generator
from srgan_jax.training import config as config_lib
from srgan_jax.training import optimizers, program, stages
from srgan_jax.training import step as step_lib
from srgan_jax.training.config_files import ConfigDict
from srgan_jax.training.teacher import Teacher

logger = logging.getLogger('srgan_jax')


class Setup:
  """Everything that a config decides before there are data or a folder.

  Attributes:
    config: the fields of configs/default.py; a copy.
    mesh: the devices.
    placement: how states lie on them.
    dtype: what the networks compute in.
    precision: of matrix products: 'highest' with float32, else 'default'.
    generator: G.
    discriminator: D.
    initial: G's variables by `init_generator`; None: from random weights.
    rights: the author and licence that its file states.
    stages: what is trained, in its order.
  """

  def __init__(
    self, config: ConfigDict, perceptual: vgg.PerceptualNetwork | None = None
  ):
    """Checks the config and reads the weights that it names.

    A given VGG network replaces the file that the config names.

    Raises:
      ValueError: one line: a wrong value, or a missing or unfit file.
    """
    config_lib.check(config)
    if perceptual is not None:
      self.perceptual = perceptual
    self.config = config = config.copy_and_resolve_references()
    self.mesh = sharding.make_mesh(config.batch_size)
    self.placement = sharding.Placement(self.mesh, config.batch_norm)
    self.dtype = _compute_dtype(config.precision)
    self.precision = 'highest' if self.dtype == jnp.float32 else 'default'
    self.generator, self.initial, start = _make_generator(config, self.dtype)
    self.rights = weights.rights(start)
    self._teacher = None
    if self.initial is not None:
      exact = self.generator.clone(dtype=jnp.dtype('float32'))
      self._teacher = Teacher(exact, self.initial, start['label'])
    self.discriminator = Discriminator(
      config.model.discriminator_channels, self.dtype
    )
    self._initial_discriminator = self._load_initial_discriminator()
    self.stages = self._make_stages()
    self._updates: dict[tuple[str, Cut], program.Update] = {}

  def reschedule(self, config: ConfigDict) -> 'Setup':
    """The same networks and programs for other lengths, rates and intervals.

    Nothing is read again, and what `update` has compiled stays compiled: no
    other field of the config may differ.

    Raises:
      ValueError: one line: a wrong value.
    """
    config_lib.check(config)
    other = copy.copy(self)
    other.config = config.copy_and_resolve_references()
    other.stages = other._make_stages()
    return other

  def stage(self, name: str) -> stages.Stage:
    """A stage by its name.

    Raises:
      ValueError: where the config does not train it.
    """
    for stage in self.stages:
      if stage.name == name:
        return stage
    raise ValueError(f'the config has no {name} stage')

  @property
  def discriminator_fields(self) -> dict[str, int]:
    """What tells D's architecture in a file."""
    return {
      'channels': self.config.model.discriminator_channels,
      'image_size': self.config.crop_size,
    }

  @functools.cached_property
  def perceptual(self) -> vgg.PerceptualNetwork:
    """The VGG network, read when a stage's content loss first needs it."""
    path = self.config.perceptual.weights
    if not path:
      raise ValueError(
        "config.perceptual.weights is '': a VGG content loss needs the file "
        'that srgan_jax.convert.vgg writes'
      )
    return weights.load_vgg(path)

  def placed_perceptual(
    self, stage: stages.Stage
  ) -> vgg.PerceptualNetwork | None:
    """The VGG network of a stage on every device; None where it has none."""
    placed: vgg.PerceptualNetwork | None = sharding.replicate(
      stage.content.perceptual, self.mesh
    )
    return placed

  def create_state(
    self, stage: stages.Stage, variables: step_lib.Variables | None
  ) -> step_lib.PretrainState:
    """The state at step 0: G from `variables`, D from its file, or the seed.

    Not yet placed on the devices.
    """
    generator_key, discriminator_key = jax.random.split(
      jax.random.key(self.config.seed)
    )
    hr_side = self.config.crop_size
    if variables is None:
      lr_side = hr_side // SCALE
      variables = _initialize(self.generator, lr_side, generator_key)
    adam = optimizers.adam()
    generator = step_lib.create_network(self.generator, variables, adam)
    _log_size('generator', generator)
    ema = generator.variables if self.config.ema_decay else None
    if stage.name == stages.PRETRAIN:
      return step_lib.PretrainState(generator=generator, ema=ema)
    variables = self._initial_discriminator or _initialize(
      self.discriminator, hr_side, discriminator_key
    )
    discriminator = step_lib.create_network(self.discriminator, variables, adam)
    _log_size('discriminator', discriminator)
    return step_lib.GanState(
      generator=generator, ema=ema, discriminator=discriminator
    )

  def place_state(
    self, stage: stages.Stage, variables: step_lib.Variables | None
  ) -> step_lib.PretrainState:
    """`create_state`, on the devices."""
    state = self.create_state(stage, variables)
    placed: step_lib.PretrainState = self.placement.place(jax.device_get(state))
    return placed

  def update(self, stage: stages.Stage, loader: Loader) -> program.Update:
    """The program of a stage on a loader's batches; compiled once.

    It does not depend on the stage's length or rates, so that it serves every
    `reschedule` of this setup too, nor on the pictures.
    """
    key = stage.name, loader.crops
    if key not in self._updates:
      self._updates[key] = self.make_update(stage, loader.crops)
    return self._updates[key]

  def make_update(
    self,
    stage: stages.Stage,
    cut: Cut,
    *,
    mesh: Mesh | None = None,
    batch_norm: sharding.BatchNorm | None = None,
  ) -> program.Update:
    """A new program of a stage (`program.make_update`).

    Mesh and `batch_norm` are by default the setup's.
    """
    config = self.config
    is_photo = config.data.degradation == 'photo'
    return program.make_update(
      stage,
      cut,
      mesh or self.mesh,
      precision=self.precision,
      batch_norm=batch_norm or config.batch_norm,
      degradation_seed=config.seed if is_photo else None,
    )

  def upscaler(self, variables: step_lib.Variables) -> upscaling.Upscaler:
    """G with these variables as it is used, in float32."""
    generator = self.generator.clone(dtype=jnp.dtype('float32'))
    return upscaling.Upscaler(generator, variables)

  def _make_stages(self) -> list[stages.Stage]:
    return stages.from_config(
      self.config, lambda: self.perceptual, self.dtype, self._teacher
    )

  def _load_initial_discriminator(self) -> step_lib.Variables | None:
    if not (path := self.config.init_discriminator):
      return None
    _, variables, metadata = weights.load_discriminator(path)
    if (theirs := metadata['architecture']) != self.discriminator_fields:
      raise ValueError(
        f'{path} is a discriminator of {theirs}, the config has '
        f'{self.discriminator_fields}'
      )
    return variables


def _make_generator(
  config: ConfigDict, dtype: jnp.dtype
) -> tuple[Generator, step_lib.Variables | None, dict[str, Any]]:
  """G, and its variables and training where the config names a file of it."""
  ours = Generator(
    config.model.blocks,
    config.model.channels,
    dtype,
    config.model.init,
    skip_connections=config.model.skip_connections,
  )
  path = config.init_generator or config.stages.pretrain.init_generator
  if not path:
    return ours, None, {}
  theirs, variables, metadata = weights.load_generator(pretrained.find(path))
  for name in ('blocks', 'channels', 'skip_connections'):
    if getattr(theirs, name) != getattr(ours, name):
      raise ValueError(
        f'{path} has {getattr(theirs, name)} {name}, config.model.{name} is '
        f'{getattr(ours, name)}'
      )
  # A generator of others may end in a tanh, say: it stays that network.
  ours = theirs.clone(dtype=dtype, init_scheme=config.model.init)
  training = metadata['training']
  label = training.get('label') or pathlib.Path(path).stem
  return ours, variables, training | {'label': label}


def _compute_dtype(precision: str) -> jnp.dtype:
  if precision == 'auto':
    precision = 'float32' if jax.default_backend() == 'cpu' else 'bfloat16'
  return jnp.dtype(precision)


# Compiled, because a forward pass whose output nobody wants is left out.
@functools.partial(jax.jit, static_argnums=(0, 1))
def _initialize(
  network: nn.Module, side: int, key: jax.Array
) -> step_lib.Variables:
  zeros = jnp.zeros((1, side, side, 3))
  return dict(network.init(key, zeros, train=False))


def _log_size(name: str, network: step_lib.NetworkState) -> None:
  count = layers.parameter_count(network.params)
  logger.info('%s: %s parameters', name, f'{count:,}')
