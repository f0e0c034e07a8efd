"""The training run: the SRResNet stage, then the GAN stage.

Builds what a stage needs, restores its checkpoint, and loops: step, log,
validate, save. All that is computed is in `step`.
"""

import functools
import hashlib
import json
import logging
import math
import pathlib
from typing import Any

from flax import linen as nn
import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from srgan_jax import files, pretrained, sharding, upscaling, weights
from srgan_jax.data import caching, opening, resident, tfdata
from srgan_jax.data.loader import Loader
from srgan_jax.data.source import Source
from srgan_jax.evaluation import report
from srgan_jax.models import layers, vgg
from srgan_jax.models.discriminator import Discriminator
from srgan_jax.models.generator import Generator
from srgan_jax.training import (
  checkpoints,
  interruption,
  optimizers,
  outputs,
  reporting,
  stages,
  validation,
)
from srgan_jax.training import config as config_lib
from srgan_jax.training import step as step_lib
from srgan_jax.training.program import make_update
from srgan_jax.weights import architecture

logger = logging.getLogger('srgan_jax')

_AHEAD = 2  # steps that the host prepares while the device works


class Run:
  """A training run in one folder: `Run(config, workdir).train()`."""

  def __init__(
    self,
    config: ConfigDict,
    workdir: pathlib.Path,
    *,
    opens_loader: bool = True,
  ):
    """Checks all that the run needs before anything is compiled or written.

    Args:
      config: the fields of configs/default.py.
      workdir: the run's folder; made where it is missing.
      opens_loader: whether the loader is opened at once, which refuses wrong
        input; False for tools that bring batches of their own.

    Raises:
      ValueError: one line: a wrong value, a missing or unfit file or source,
        or a folder that holds a run with another config.
    """
    config_lib.check(config)
    self.config, self.workdir = config, workdir
    self.is_first = jax.process_index() == 0
    self.mesh = sharding.make_mesh(config.batch_size)
    self.placement = sharding.Placement(self.mesh, config.batch_norm)
    self.dtype = _compute_dtype(config.precision)
    self.precision = 'highest' if self.dtype == jnp.float32 else 'default'
    self.generator = Generator(
      config.model.blocks,
      config.model.channels,
      self.dtype,
      config.model.init,
      skip_connections=config.model.skip_connections,
    )
    self.discriminator = Discriminator(
      config.model.discriminator_channels, self.dtype
    )
    self.initial = self._load_initial_generator()
    self.initial_discriminator = self._load_initial_discriminator()
    self.stages = stages.from_config(
      config, lambda: self.perceptual, self.dtype
    )
    self.source, self.validation = self._open_sources()
    if (best_by := config.keep_best_by) not in ('', *self.validation.names):
      raise ValueError(
        f'config.keep_best_by must be one of {", ".join(self.validation.names)}'
        f', not {best_by!r}'
      )
    self._check_progress()
    self._claim_workdir()
    self.weights = outputs.RunWeights(
      workdir,
      generator=architecture.of_generator(self.generator),
      discriminator=self._discriminator_fields(),
      training={
        'precision': self.dtype.name,
        'inputs': self._fingerprint(),
        'config': config.to_dict(),
      },
      active=self.is_first,
    )
    has_ended = (
      self._trained_steps(self.stages[-1].name) >= self.stages[-1].steps
    )
    if opens_loader and not has_ended:
      _ = self.loader  # what it refuses is wrong input: said before any update

  def train(self, deadline: float = math.inf) -> None:
    """Trains the stages in turn, each from where it stopped.

    Args:
      deadline: when to stop as if told to, by `time.monotonic`.

    Raises:
      interruption.Interrupted: after SIGTERM, Ctrl-C or the deadline, once that
        is saved.
      FloatingPointError: naming the first step and term that is not finite.
    """
    variables = self.initial
    for stage in self.stages:
      is_last = stage is self.stages[-1]
      if not is_last and self._trained_steps(self.stages[-1].name):
        continue  # the later stage's checkpoint holds all of it
      variables, figures = self._train_stage(stage, variables, deadline)
      names = [stage.file_name]
      if is_last and stage.name == stages.PRETRAIN:
        names.append('generator.safetensors')
      for name in names:
        self.weights.write_generator(
          name, stage, stage.steps, variables, figures
        )
    if self.is_first:
      self._compare()
    multihost_utils.sync_global_devices('the run has ended')

  # What the run needs.

  def _load_initial_generator(self) -> step_lib.Variables | None:
    config = self.config
    path = config.init_generator or config.stages.pretrain.init_generator
    if not path:
      return None
    generator, variables, _ = weights.load_generator(pretrained.find(path))
    for name in ('blocks', 'channels', 'skip_connections'):
      theirs, ours = getattr(generator, name), getattr(self.generator, name)
      if theirs != ours:
        raise ValueError(
          f'{path} has {theirs} {name}, config.model.{name} is {ours}'
        )
    # A generator of others may end in a tanh, say: it stays that network.
    self.generator = generator.clone(
      dtype=self.dtype, init_scheme=config.model.init
    )
    return variables

  def _load_initial_discriminator(self) -> step_lib.Variables | None:
    if not (path := self.config.init_discriminator):
      return None
    _, variables, metadata = weights.load_discriminator(path)
    if (theirs := metadata['architecture']) != self._discriminator_fields():
      raise ValueError(
        f'{path} is a discriminator of {theirs}, the config has '
        f'{self._discriminator_fields()}'
      )
    return variables

  def _discriminator_fields(self) -> dict[str, int]:
    return {
      'channels': self.config.model.discriminator_channels,
      'image_size': self.config.crop_size,
    }

  @functools.cached_property
  def perceptual(self) -> vgg.PerceptualNetwork:
    """The VGG network, read when a stage's content loss first needs it."""
    return weights.load_vgg(self.config.perceptual.weights)

  @functools.cached_property
  def loader(self) -> Loader:
    """The crops' loader; a run that has ended opens none."""
    config = self.config
    settings = {
      'seed': config.seed,
      'batch_size': config.batch_size,
      'crop_size': config.crop_size,
      'scale': config.scale,
      'augment': config.data.augment,
      'edge': config.data.edge,
      'crops_per_image': config.data.crops_per_image,
    }
    if config.data.loader == 'resident':
      return resident.ResidentLoader(
        self.source, self.mesh, placement=config.data.placement, **settings
      )
    cached = caching.CachedSource(self.source, gib=config.data.cache_gib)
    return tfdata.TfDataLoader(cached, **settings)

  def _open_sources(self) -> tuple[Source, validation.Validation]:
    """What is trained on, and what is validated on."""
    data = self.config.data
    source = opening.open_source(data.source, min_size=self.config.crop_size)
    held_out = None
    if data.validation:
      kind, _, count = data.validation.partition(':')
      if kind == 'hold-out':
        source, held_out = validation.hold_out(source, count)
      else:
        held_out = opening.open_source(
          data.validation, min_size=validation.MIN_SIZE
        )
    distances = report.load_distances([data.lpips] if data.lpips else [])
    return source, validation.Validation(held_out, data.edge, distances)

  def _checkpoint_folder(self, stage_name: str) -> pathlib.Path:
    return self.workdir / 'checkpoints' / stage_name

  def _trained_steps(self, stage_name: str) -> int:
    return checkpoints.latest_step(self._checkpoint_folder(stage_name))

  def _check_progress(self) -> None:
    """Refuses stage lengths that would lose or belie what was trained."""
    steps = {stage.name: stage.steps for stage in self.stages}
    has_gan_begun = self._trained_steps(stages.GAN) > 0
    for name in (stages.PRETRAIN, stages.GAN):
      trained, asked = self._trained_steps(name), steps.get(name, 0)
      is_closed = has_gan_begun and name == stages.PRETRAIN
      if trained > asked or (trained and is_closed and trained != asked):
        raise ValueError(
          f'config.stages.{name}.steps is {asked}, but '
          f'{self._checkpoint_folder(name)} is at step {trained} already'
          + (' and the next stage has begun' if is_closed else '')
        )

  def _claim_workdir(self) -> None:
    """Writes config.json, or refuses a folder with a run of another config."""
    now = self.config.to_dict() | {'inputs': self._fingerprint()}
    path = self.workdir / 'config.json'
    if path.exists():
      changed = config_lib.changed_fields(json.loads(path.read_text()), now)
      if changed:
        raise ValueError(
          f'{self.workdir} holds a run with another config: '
          f'{"; ".join(changed)}. Choose another --workdir, or the same config'
        )
    if self.is_first:
      self.workdir.mkdir(parents=True, exist_ok=True)
      files.write_text(path, json.dumps(now, indent=2) + '\n')

  def _fingerprint(self) -> dict[str, Any]:
    """What tells the images and the VGG apart, wherever they lie."""
    networks = [stage.content.perceptual for stage in self.stages]
    return {
      'images': len(self.source),
      'image_sizes': hashlib.sha256(self.source.sizes.tobytes()).hexdigest(),
      'vgg': [network.source for network in networks if network is not None],
    }

  # A stage.

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
      lr_side = hr_side // self.config.scale
      variables = _initialize(self.generator, lr_side, generator_key)
    adam = optimizers.adam()
    generator = step_lib.create_network(self.generator, variables, adam)
    _log_size('generator', generator)
    ema = generator.variables if self.config.ema_decay else None
    state = step_lib.PretrainState(generator=generator, ema=ema)
    if stage.name == stages.GAN:
      variables = self.initial_discriminator or _initialize(
        self.discriminator, hr_side, discriminator_key
      )
      discriminator = step_lib.create_network(
        self.discriminator, variables, adam
      )
      _log_size('discriminator', discriminator)
      state = step_lib.GanState(
        generator=generator, ema=ema, discriminator=discriminator
      )
    return state

  def _train_stage(
    self,
    stage: stages.Stage,
    variables: step_lib.Variables | None,
    deadline: float,
  ) -> tuple[step_lib.Variables, dict[str, float]]:
    """Trains a stage to its end.

    Returns:
      The generator's variables, and their figures on the validation images.
    """
    config = self.config
    start, window = self._trained_steps(stage.name), []
    figures: dict[str, float] = {}
    state = self.create_state(stage, variables)
    state = self.placement.place(jax.device_get(state))
    saved = checkpoints.Checkpoints(
      self._checkpoint_folder(stage.name), self.placement
    )
    if start:
      state, note = saved.restore(start, state)
      window = note['window']
      logger.info('%s: resumed at step %d', stage.name, start)

    update = make_update(
      stage,
      lambda pictures, rows: self.loader.crops(pictures, rows),
      self.mesh,
      scale=config.scale,
      precision=self.precision,
      batch_norm=config.batch_norm,
      degradation_seed=(
        config.seed if config.data.degradation == 'photo' else None
      ),
    )
    rates = optimizers.rates(stage.schedule, stage.steps)
    perceptual = stage.content.perceptual
    if perceptual is not None:
      perceptual = sharding.replicate(perceptual, self.mesh)
    reporter = reporting.Reporter(
      self.workdir,
      stage.name,
      start=start,
      steps=stage.steps,
      active=self.is_first,
    )
    clock = reporting.Clock(config.batch_size)
    pending: list[tuple[int, step_lib.Metrics]] = []  # still on the device

    try:
      with interruption.StopSignal(deadline) as stop:
        step = start
        batches = (
          self.loader.batches(start) if start < stage.steps else iter(())
        )
        while step < stage.steps:
          count = self._steps_in_call(step, stage.steps)
          rows = sharding.shard_batches(
            clock.wait_for(batches, count), self.mesh
          )
          state, metrics = update(
            state,
            rows,
            rates[step : step + count],
            self.loader.pictures,
            perceptual,
          )
          pending.append((step + 1, metrics))
          if len(pending) > _AHEAD:  # else the host queues steps without end
            jax.block_until_ready(pending[-1 - _AHEAD][1])
          if step == start:
            jax.block_until_ready(metrics)
            clock.reset()  # that was the compilation
          step += count
          reporter.advance(count)

          is_last = step == stage.steps
          logs = is_last or step % config.log_every == 0
          is_stopping = stop.requested(may_wait=logs)
          validates = bool(self.validation) and (
            is_last or step % config.validate_every == 0
          )
          saves = is_last or is_stopping or step % config.save_every == 0
          if not (logs or validates or saves):
            continue
          window += _fetch(pending, stage)
          pending.clear()
          if logs:
            figures_of_step = {
              **_mean(window),
              'learning_rate': float(rates[step - 1]),
              **clock.figures(),
            }
            reporter.metrics(step, figures_of_step)
            window = []
            clock.reset()
          if validates:
            variables = self.placement.fetch(state.exported)
            figures, samples = self._validate(stage, variables)
            if config.keep_best_by:
              self.weights.keep_best(
                stage, step, variables, figures, config.keep_best_by
              )
            reporter.metrics(step, figures)
            reporter.images(step, 'samples', samples)
            clock.reset()
          if saves:
            saved.save(step, state, {'window': window})
          if is_stopping:
            self._write_discriminator(stage, step, state)
            raise interruption.Interrupted(
              f'{stage.name} stopped at step {step} and was saved'
            )
    finally:
      reporter.close()
      saved.close()
    self._write_discriminator(stage, step, state)
    variables = self.placement.fetch(state.exported)
    if self.validation and not figures:  # the stage had ended before
      figures, _ = self._validate(stage, variables)
    return variables, figures

  def _steps_in_call(self, step: int, last: int) -> int:
    """How many go into the next call: it ends where something else is due."""
    config = self.config
    intervals = (config.log_every, config.validate_every, config.save_every)
    until_special = min(every - step % every for every in intervals)
    return min(config.steps_per_call, last - step, until_special)

  def _validate(
    self, stage: stages.Stage, variables: step_lib.Variables
  ) -> tuple[dict[str, float], np.ndarray]:
    """Every process scores them all, so that none waits or fails alone."""
    return self.validation.score(stage.method, self._upscaler(variables))

  def _upscaler(self, variables: step_lib.Variables) -> upscaling.Upscaler:
    generator = self.generator.clone(dtype=jnp.dtype('float32'))
    return upscaling.Upscaler(generator, variables)

  # What the run leaves.

  def _write_discriminator(
    self, stage: stages.Stage, steps: int, state: step_lib.PretrainState
  ) -> None:
    if isinstance(state, step_lib.GanState):
      variables = self.placement.fetch(state.discriminator.variables)
      self.weights.write_discriminator(stage, steps, variables)

  def _compare(self) -> None:
    """Draws the methods beside each other: `samples/comparison.png`."""
    if not self.validation:
      return
    upscalers = {}
    if self.config.init_generator and self.initial is not None:
      upscalers['SRResNet'] = self._upscaler(self.initial)
    for stage in self.stages:
      upscalers[stage.method] = upscaling.load(self.workdir / stage.file_name)
    path = self.workdir / 'samples' / 'comparison.png'
    reporting.write_image(path, self.validation.compare(upscalers))
    logger.info('wrote %s', path)


def _compute_dtype(precision: str) -> jnp.dtype:
  if precision == 'auto':
    precision = 'float32' if jax.default_backend() == 'cpu' else 'bfloat16'
  return jnp.dtype(precision)


def _initialize(
  network: nn.Module, side: int, key: jax.Array
) -> step_lib.Variables:
  # Compiled, because a forward pass whose output nobody wants is left out.
  init = jax.jit(functools.partial(network.init, train=False))
  return dict(init(key, jnp.zeros((1, side, side, 3))))


def _log_size(name: str, network: step_lib.NetworkState) -> None:
  count = layers.parameter_count(network.params)
  logger.info('%s: %s parameters', name, f'{count:,}')


def _fetch(
  pending: list[tuple[int, step_lib.Metrics]], stage: stages.Stage
) -> list[dict[str, float]]:
  """Brings metrics from the device; stops at the first that is not finite."""
  fetched = []
  for first, metrics in pending:
    names, columns = zip(*jax.device_get(metrics).items(), strict=True)
    for step, row in enumerate(zip(*columns, strict=True), first):
      values = dict(zip(names, map(float, row), strict=True))
      for name in sorted(values, key=step_lib.CAUSES.index):
        if not math.isfinite(value := values[name]):
          raise FloatingPointError(
            f'{stage.name} step {step}: {name} is {value}; the last '
            'checkpoint is from before it'
          )
      fetched.append(values)
  return fetched


def _mean(window: list[dict[str, float]]) -> dict[str, float]:
  return {
    name: sum(values[name] for values in window) / len(window)
    for name in window[0]
  }
