"""Calls of the training program, timed one after the other."""

from collections.abc import Iterator
import itertools
import math
import os
import time
from typing import Any, cast

import jax
import numpy as np

from srgan_jax import sharding
from srgan_jax.data import tfdata
from srgan_jax.data.loader import Loader, come_cut
from srgan_jax.imaging import resize
from srgan_jax.training import optimizers, stages
from srgan_jax.training.setup import Setup


class Synthetic:
  """A loader of one batch, `rows`, that stays on the device."""

  pictures = None
  crops = staticmethod(come_cut)

  def __init__(self, config: Any):
    side = config.crop_size + 2 * resize.CONTEXT
    rng = np.random.default_rng(0)
    count = config.batch_size // jax.process_count()
    self.rows = {
      'crop': rng.integers(0, 256, (count, side, side, 3), np.uint8),
      'symmetry': rng.integers(0, 8, count, np.int32),
    }

  def batches(self, start_step: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """The same batch again and again."""
    del start_step
    return itertools.repeat(self.rows)


class TimedCalls:
  """Calls of a stage's program, one after the other, as training makes them.

  Attributes:
    updates: how many a call makes.
    waited: seconds spent waiting for the loader.
  """

  def __init__(self, setup: Setup, stage: stages.Stage, loader: Loader):
    """Places the state; compiles nothing."""
    self._loader, self._mesh, self._config = loader, setup.mesh, setup.config
    self._update = setup.update(stage, loader)
    self._state = setup.place_state(stage, setup.initial)
    self._perceptual = setup.placed_perceptual(stage)
    self._batches = loader.batches()
    self.updates: int = setup.config.steps_per_call
    self._rates = optimizers.rates(stage.schedule, self.updates)
    self._rows: Any = None
    self._metrics: Any = None
    self.waited = 0.0

  def compile(self) -> jax.stages.Compiled:
    """Compiles the program, for its figures; calls then use that."""
    update = cast(jax.stages.Wrapped, self._update)
    compiled = update.lower(self._state, *self._arguments()).compile()
    self._update = compiled
    return compiled

  def step(self) -> dict[str, jax.Array]:
    """Starts a call; returns the metrics of its updates."""
    self._state, self._metrics = self._update(self._state, *self._arguments())
    return self._metrics

  def synchronize(self) -> None:
    """Waits for the device."""
    jax.block_until_ready(self._metrics)

  def warm_up(self) -> None:
    """Makes calls until the loader has nothing ready from before the first."""
    self.make(1 + _calls_read_ahead(self._loader, self._config))
    self.waited = 0.0

  def make(self, how_many: int) -> list[float]:
    """Makes calls; one runs while the next is prepared, as in training.

    Returns:
      When each ended, by `time.perf_counter`.
    """
    ends = []
    for i in range(how_many):
      previous = self._metrics
      self.step()
      if i:
        jax.block_until_ready(previous)
        ends.append(time.perf_counter())
    self.synchronize()
    return [*ends, time.perf_counter()]

  def _arguments(self) -> tuple[Any, ...]:
    """The program's arguments behind the state."""
    # One batch that lies on the device already does for all calls.
    if self._rows is None or not isinstance(self._loader, Synthetic):
      start = time.perf_counter()
      taken = list(itertools.islice(self._batches, self.updates))
      self.waited += time.perf_counter() - start
      self._rows = sharding.shard_batches(taken, self._mesh)
    return self._rows, self._rates, self._loader.pictures, self._perceptual


def seconds_per_step(
  setup: Setup, stage: stages.Stage, loader: Loader, *, calls: int
) -> float:
  """The median time of an update over some calls of the loader's batches.

  It compiles the setup's `update`, which training then uses too.
  """
  timed = TimedCalls(setup, stage, loader)
  timed.warm_up()
  ends = timed.make(calls + 1)
  return float(np.median(np.diff(ends))) / timed.updates


def _calls_read_ahead(loader: Any, config: Any) -> int:
  """How many calls a loader may have ready when it is first asked."""
  if not isinstance(loader, tfdata.TfDataLoader):
    return 0
  rows = config.batch_size // jax.process_count()
  steps = tfdata.PREFETCH + 2 * (os.cpu_count() or 1) / rows
  return math.ceil(steps / config.steps_per_call)
