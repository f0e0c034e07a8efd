"""The training run: the SRResNet stage, then the GAN stage, in one folder."""

import logging
import math
import operator
import pathlib

import jax
from jax.experimental import multihost_utils

from srgan_jax import files, pretrained, upscaling
from srgan_jax.training import config as config_lib
from srgan_jax.training import loop, outputs, reporting, stages, workdir
from srgan_jax.training.config_files import ConfigDict
from srgan_jax.training.inputs import Inputs
from srgan_jax.training.setup import Setup

logger = logging.getLogger('srgan_jax')


class Run:
  """A training run: `Run(Setup(config), folder).train()`."""

  def __init__(
    self, setup: Setup, folder: pathlib.Path, inputs: Inputs | None = None
  ):
    """Checks all that the run needs; compiles and writes nothing.

    The folder is made by `train` where it is missing; the inputs are opened
    where none are given.

    Raises:
      ValueError: one line: a source that cannot be used, a folder in which
        this run cannot train (`workdir.Workdir.check`), or whose files the
        config names as its own inputs.
    """
    self.setup, self.folder = setup, folder
    self.inputs = inputs or Inputs(setup.config, setup.mesh)
    networks = [stage.content.perceptual for stage in setup.stages]
    fingerprint = self.inputs.fingerprint | {
      'vgg': [network.source for network in networks if network is not None],
      **_digests(setup.config),
    }
    self._workdir = workdir.Workdir(folder, setup.config, fingerprint)
    self._workdir.check()
    self._weights = outputs.RunWeights(
      folder, setup, fingerprint, self.inputs.validation.fingerprint
    )
    last = setup.stages[-1]
    if self._workdir.trained_steps(last.name) < last.steps:
      _ = self.inputs.loader  # what it refuses is said before any update

  def describe(self) -> str:
    """What is about to be done, in a few lines for a person."""
    mesh, inputs = self.setup.mesh, self.inputs
    device = mesh.devices.flat[0]
    lines = [
      f'devices: {mesh.size} x {device.device_kind}, {self.setup.dtype.name}',
      f'pictures: {len(inputs.source):,} of {self.setup.config.data.source}',
      f'folder: {self.folder}',
    ]
    for stage in self.setup.stages:
      done = self._workdir.trained_steps(stage.name)
      begun = f', {done:,} of them done' if done else ''
      lines.append(f'{stage.name}: {stage.steps:,} updates{begun}')
    lines += [
      f'config.{field} has no effect: no stage has a VGG content loss'
      for field in _unused_fields(self.setup)
    ]
    lines.append(
      "first each stage's step is compiled: seconds for small networks, half a "
      "minute for the paper's on an idle CPU; the next start takes it from the "
      'cache'
    )
    return '\n'.join(lines)

  def train(self, deadline: float = math.inf) -> None:
    """Trains the stages in turn, each from where it stopped.

    Args:
      deadline: when to stop as if told to, by `time.monotonic`.

    Raises:
      interruption.Interrupted: after SIGTERM, SIGHUP, Ctrl-C or the deadline,
        once that is saved.
      FloatingPointError: naming the first step and term that is not finite.
      ValueError: one line, as the constructor.
      OSError: one line: a file cannot be written.
    """
    with self._workdir.claim():
      self._train_stages(deadline)
      if jax.process_index() == 0:
        self._compare()
      multihost_utils.sync_global_devices('the run has ended')

  def _train_stages(self, deadline: float) -> None:
    last = self.setup.stages[-1]
    variables = self.setup.initial
    for stage in self.setup.stages:
      if stage is not last and self._workdir.trained_steps(last.name):
        continue  # the later stage's checkpoint holds all of it
      is_ended = self._workdir.trained_steps(stage.name) == stage.steps
      variables, figures = loop.StageLoop(
        self.setup, self.inputs, self._workdir, self._weights, stage
      ).train(variables, deadline)
      names = [stage.file_name]
      if stage is last and stage.name == stages.PRETRAIN:
        names.append(outputs.LAST)
      for name in names:
        # A file from the stage's end has its figures; here there are none.
        is_kept = is_ended and not figures
        if not (is_kept and self._weights.has_generator(name, stage)):
          self._weights.write_generator(
            name, stage, stage.steps, variables, figures
          )

  def _compare(self) -> None:
    """Draws the methods beside each other: `samples/comparison.png`."""
    if not self.inputs.validation:
      return
    upscalers = {}
    if self.setup.config.init_generator and self.setup.initial is not None:
      upscalers['SRResNet'] = self.setup.upscaler(self.setup.initial)
    for stage in self.setup.stages:
      upscalers[stage.method] = upscaling.load(self.folder / stage.file_name)
    path = self.folder / 'samples' / 'comparison.png'
    reporting.write_image(path, self.inputs.validation.compare(upscalers))
    logger.info('wrote %s', path)


def _unused_fields(setup: Setup) -> list[str]:
  """The fields of VGG losses that are set, where there is no such loss.

  They are not refused: the recipe sets them for all its variants.
  """
  if any(stage.content.layer for stage in setup.stages):
    return []
  fields = ('loss.pixel_weight', 'perceptual.layer')
  return [f for f in fields if operator.attrgetter(f)(setup.config)]


def _digests(config: ConfigDict) -> dict[str, str]:
  """What tells the weights that stages start from apart from others."""
  paths = {
    field: operator.attrgetter(field)(config) for field in config_lib.STARTS
  }
  return {
    field: files.digest(pretrained.find(path))
    for field, path in paths.items()
    if path
  }
