"""The loop over a stage's updates: step, log, validate, save."""

from collections.abc import Iterator
import contextlib
import logging
from typing import Any

import jax
import numpy as np

from srgan_jax import sharding
from srgan_jax.training import (
  checkpoints,
  interruption,
  optimizers,
  outputs,
  reporting,
  stages,
)
from srgan_jax.training import step as step_lib
from srgan_jax.training.inputs import Inputs
from srgan_jax.training.setup import Setup
from srgan_jax.training.workdir import Workdir

logger = logging.getLogger('srgan_jax')

_AHEAD = 2  # calls that the host prepares while the device works


class StageLoop:
  """Trains one stage from where it stopped to its end."""

  def __init__(
    self,
    setup: Setup,
    inputs: Inputs,
    workdir: Workdir,
    weights: outputs.RunWeights,
    stage: stages.Stage,
  ):
    """Takes the parts of a run; its folder is claimed."""
    self._setup, self._inputs, self._stage = setup, inputs, stage
    self._workdir, self._weights = workdir, weights
    self._start = workdir.trained_steps(stage.name)
    self._step = self._saved_step = self._start
    self._rates = optimizers.rates(stage.schedule, stage.steps)
    self._clock = reporting.Clock(setup.config.batch_size)
    self._window = reporting.Window(stage.name)
    self._figures: dict[str, float] = {}

  def train(
    self, variables: step_lib.Variables | None, deadline: float
  ) -> tuple[step_lib.Variables, dict[str, float]]:
    """Trains the stage; `Run.train` says what it raises.

    Args:
      variables: G's at the stage's beginning; None: from random weights.
      deadline: when to stop as if told to, by `time.monotonic`.

    Returns:
      The generator's variables, and their figures on the validation images.
    """
    stage = self._stage
    self._state = self._setup.place_state(stage, variables)
    with contextlib.ExitStack() as stack:
      self._saved = stack.enter_context(
        checkpoints.Checkpoints(
          self._workdir.checkpoint_folder(stage.name), self._setup.placement
        )
      )
      if self._start:
        self._restore()
      self._report = stack.enter_context(
        reporting.Reporter(
          self._workdir.path,
          stage.name,
          start=self._start,
          steps=stage.steps,
          active=jax.process_index() == 0,
        )
      )
      stop = stack.enter_context(interruption.StopSignal(deadline))
      calls = self._calls()
      while self._step < stage.steps:
        next(calls)
        self._do_what_is_due(stop)
    self._write_discriminator()
    variables = self._fetch_variables()
    if self._inputs.validation and not self._figures:  # it had ended before
      self._figures, _ = self._score(variables)
    return variables, self._figures

  def _restore(self) -> None:
    self._state, note = self._saved.restore(self._start, self._state)
    self._window.values = note['window']
    logger.info('%s: resumed at step %d', self._stage.name, self._start)

  def _calls(self) -> Iterator[None]:
    """Calls the compiled program, one or several updates at a time."""
    loader = self._inputs.loader
    update = self._setup.update(self._stage, loader)
    perceptual = self._setup.placed_perceptual(self._stage)
    batches: Iterator[Any] = loader.batches(self._step)
    while True:
      step, count = self._step, self._updates_in_call()
      rows = sharding.shard_batches(
        self._clock.wait_for(batches, count), self._setup.mesh
      )
      rates = self._rates[step : step + count]
      self._state, metrics = update(
        self._state, rows, rates, loader.pictures, perceptual
      )
      self._window.add(step + 1, metrics)
      if step == self._start:
        self._window.wait(calls_left=0)
        self._clock.reset()  # that was the compilation
      self._window.wait(calls_left=_AHEAD)
      self._step += count
      self._report.advance(count)
      yield

  def _updates_in_call(self) -> int:
    """How many go into the next call: it ends where something else is due."""
    config = self._setup.config
    intervals = (config.log_every, config.validate_every, config.save_every)
    until_special = min(every - self._step % every for every in intervals)
    left = self._stage.steps - self._step
    return int(min(config.steps_per_call, left, until_special))

  def _do_what_is_due(self, stop: interruption.StopSignal) -> None:
    logs = self._is_due('log_every')
    is_stopping = stop.requested(may_wait=logs)
    validates = bool(self._inputs.validation) and self._is_due('validate_every')
    saves = is_stopping or self._is_due('save_every')
    if not (logs or validates or saves):
      return
    self._fetch_metrics()
    if logs:
      self._log()
    if validates:
      self._validate()
    if saves:
      self._saved.save(self._step, self._state, {'window': self._window.values})
      self._saved_step = self._step
    if is_stopping:
      self._write_discriminator()
      self._saved.close()
      raise interruption.Interrupted(
        f'{self._stage.name} stopped at step {self._step} and was saved'
      )

  def _fetch_metrics(self) -> None:
    try:
      self._window.fetch()
    except FloatingPointError as error:
      kept = f'its last checkpoint is of step {self._saved_step}'
      if not self._saved_step:
        kept = 'the stage has no checkpoint yet'
      raise FloatingPointError(f'{error}; {kept}') from error

  def _is_due(self, interval: str) -> bool:
    every: int = self._setup.config[interval]
    return self._step == self._stage.steps or self._step % every == 0

  def _log(self) -> None:
    self._report.metrics(
      self._step,
      {
        **self._window.take_mean(),
        'learning_rate': float(self._rates[self._step - 1]),
        **self._clock.figures(),
      },
    )
    self._clock.reset()

  def _validate(self) -> None:
    variables = self._fetch_variables()
    self._figures, samples = self._score(variables)
    if best_by := self._setup.config.keep_best_by:
      self._weights.keep_best(
        self._stage,
        self._start,
        self._step,
        variables,
        self._figures,
        best_by,
      )
    self._report.metrics(self._step, self._figures)
    self._report.images(self._step, samples)
    self._clock.reset()

  def _score(
    self, variables: step_lib.Variables
  ) -> tuple[dict[str, float], np.ndarray]:
    """Every process scores them all, so that none waits or fails alone."""
    return self._inputs.validation.score(
      self._stage.method, self._setup.upscaler(variables)
    )

  def _fetch_variables(self) -> step_lib.Variables:
    """What is exported of G, on the host."""
    variables: step_lib.Variables = self._setup.placement.fetch(
      self._state.exported
    )
    return variables

  def _write_discriminator(self) -> None:
    if isinstance(self._state, step_lib.GanState):
      variables = self._setup.placement.fetch(
        self._state.discriminator.variables
      )
      self._weights.write_discriminator(self._stage, self._step, variables)
