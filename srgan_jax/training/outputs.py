"""The weight files that a run leaves in its folder."""

from collections.abc import Iterator, Mapping
import logging
import operator
import pathlib
from typing import Any

import jax

from srgan_jax import files, weights
from srgan_jax.evaluation import report
from srgan_jax.training import config as config_lib
from srgan_jax.training import stages, validation
from srgan_jax.training import step as step_lib
from srgan_jax.training.setup import Setup
from srgan_jax.weights import architecture

LAST = 'generator.safetensors'  # G of the last stage, whichever that is
DISCRIMINATOR = 'discriminator.safetensors'

logger = logging.getLogger('srgan_jax')


class RunWeights:
  """Writes networks with how they came to be; silent but in one process."""

  def __init__(
    self,
    workdir: pathlib.Path,
    setup: Setup,
    inputs: Mapping[str, Any],
    validation_images: str,
  ):
    """Notes what all files say: of the setup, and of its pictures.

    `validation_images` tell those that generators are scored on from others.

    Raises:
      ValueError: naming a file that the config reads and the run would replace.
    """
    self._workdir, self._setup = workdir, setup
    self._check_places()
    self._facts = {
      'precision': setup.dtype.name,
      'inputs': dict(inputs),
      'validation_images': validation_images,
      'config': setup.config.to_dict(),
    }
    # Those of the best generators that were written here, by stage.
    self._best_steps: dict[str, int] = {}
    self._active = jax.process_index() == 0

  def write_generator(
    self,
    name: str,
    stage: stages.Stage,
    steps: int,
    variables: step_lib.Variables,
    figures: Mapping[str, float],
  ) -> None:
    """Writes G as it was after so many steps, with what it scored.

    Of a figure that is not finite the file has null.
    """
    if not self._active:
      return
    path = self._workdir / name
    scored = {name: report.to_json(value) for name, value in figures.items()}
    training = self._describe(stage, steps) | {'figures': scored}
    weights.save_generator(
      path,
      variables,
      architecture=architecture.of_generator(self._setup.generator),
      training=training,
    )
    logger.info('wrote %s', path)

  def has_generator(self, name: str, stage: stages.Stage) -> bool:
    """Whether the file of a stage's G is there, as it was at its end."""
    path = self._workdir / name
    try:
      training = weights.load(path, 'generator')[1]['training']
    except ValueError:  # missing or damaged
      return False
    ours = self._describe(stage, stage.steps)
    return all(training.get(fact) == ours[fact] for fact in ('stage', 'steps'))

  def keep_best(
    self,
    stage: stages.Stage,
    start: int,
    steps: int,
    variables: step_lib.Variables,
    figures: Mapping[str, float],
    by: str,
  ) -> None:
    """Writes G if it is the best of its stage so far by a figure's name.

    Figures of other validation images do not count, nor do those of updates
    that were lost: past `start`, which the stage was resumed from.
    """
    if not self._active:
      return
    path, before = self._workdir / stage.best_file_name, None
    if path.exists():
      training = weights.load(path, 'generator')[1]['training']
      if why := self._why_outdated(training, stage, start):
        logger.info('%s was the best %s: begun anew', path, why)
      elif by in training['figures']:
        before = report.from_json(by, training['figures'][by])
    if validation.is_better(by, figures[by], before):
      self.write_generator(
        stage.best_file_name, stage, steps, variables, figures
      )
      self._best_steps[stage.name] = steps

  def _why_outdated(
    self, training: Mapping[str, Any], stage: stages.Stage, start: int
  ) -> str:
    """What speaks against a best generator of an earlier start; '' if none."""
    ours, steps = self._facts['validation_images'], training['steps']
    if training.get('validation_images', ours) != ours:
      return 'on other images'
    if steps > start and steps != self._best_steps.get(stage.name):
      return f'at step {steps}, which was lost'
    return ''

  def write_discriminator(
    self, stage: stages.Stage, steps: int, variables: step_lib.Variables
  ) -> None:
    """Writes D in bfloat16, so that another run can start from it."""
    if self._active:
      weights.save_discriminator(
        self._workdir / DISCRIMINATOR,
        variables,
        architecture=self._setup.discriminator_fields,
        training=self._describe(stage, steps),
        dtype='bfloat16',
      )

  def _check_places(self) -> None:
    config = self._setup.config
    for field in config_lib.FILES:
      read = operator.attrgetter(field)(config)
      for name in self._names() if read else ():
        if files.is_one_file(path := self._workdir / name, read):
          raise ValueError(
            f'config.{field} is {read}, and the run writes {path}: choose '
            'another --workdir, or copy the file elsewhere'
          )

  def _names(self) -> Iterator[str]:
    """What the stages write here, by the end of the last one."""
    yield LAST
    for stage in self._setup.stages:
      yield stage.file_name
      if self._setup.config.keep_best_by:
        yield stage.best_file_name
      if stage.name == stages.GAN:
        yield DISCRIMINATOR

  def _describe(self, stage: stages.Stage, steps: int) -> dict[str, Any]:
    described = {'label': stage.label, 'stage': stage.name, 'steps': steps}
    return described | self._setup.rights | self._facts
