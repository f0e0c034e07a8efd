"""The weight files that a run leaves in its folder."""

from collections.abc import Mapping
import logging
import pathlib
from typing import Any

from srgan_jax import weights
from srgan_jax.training import stages, validation
from srgan_jax.training import step as step_lib

logger = logging.getLogger('srgan_jax')


class RunWeights:
  """Writes networks with how they came to be; silent but in one process."""

  def __init__(
    self,
    workdir: pathlib.Path,
    *,
    generator: Mapping[str, Any],
    discriminator: Mapping[str, Any],
    training: Mapping[str, Any],
    active: bool = True,
  ):
    """Says what all files of the run share.

    Args:
      workdir: the run's folder.
      generator: G's architecture, by `weights.architecture`.
      discriminator: D's.
      training: what is said beside the stage and its steps: config, data, ...
      active: False in all processes but the first.
    """
    self._workdir = workdir
    self._generator, self._discriminator = generator, discriminator
    self._training = training
    self._active = active

  def write_generator(
    self,
    name: str,
    stage: stages.Stage,
    steps: int,
    variables: step_lib.Variables,
    figures: Mapping[str, float],
  ) -> None:
    """Writes G as it was after so many steps, with what it scored."""
    if not self._active:
      return
    path = self._workdir / name
    training = self._describe(stage, steps) | {'figures': dict(figures)}
    weights.save_generator(
      path, variables, architecture=self._generator, training=training
    )
    logger.info('wrote %s', path)

  def keep_best(
    self,
    stage: stages.Stage,
    steps: int,
    variables: step_lib.Variables,
    figures: Mapping[str, float],
    by: str,
  ) -> None:
    """Writes G if it is the best of its stage so far by a figure's name."""
    if not self._active:
      return
    path, before = self._workdir / stage.best_file_name, None
    if path.exists():
      _, metadata = weights.load(path, 'generator')
      before = metadata['training']['figures'].get(by)
    if validation.is_better(by, figures[by], before):
      self.write_generator(
        stage.best_file_name, stage, steps, variables, figures
      )

  def write_discriminator(
    self, stage: stages.Stage, steps: int, variables: step_lib.Variables
  ) -> None:
    """Writes D in bfloat16, so that another run can go on against it."""
    if self._active:
      weights.save_discriminator(
        self._workdir / 'discriminator.safetensors',
        variables,
        architecture=self._discriminator,
        training=self._describe(stage, steps),
        dtype='bfloat16',
      )

  def _describe(self, stage: stages.Stage, steps: int) -> dict[str, Any]:
    described = {'label': stage.label, 'stage': stage.name, 'steps': steps}
    return described | dict(self._training)
