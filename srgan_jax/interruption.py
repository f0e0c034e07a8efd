"""SIGTERM and Ctrl-C, noticed so that the loop can save and end."""

import signal
from types import TracebackType
from typing import Any

import jax
from jax.experimental import multihost_utils


class Interrupted(Exception):
  """The run was asked to stop, and has saved a checkpoint."""


class StopSignal:
  """A context in which SIGTERM and Ctrl-C only set a flag.

  A second signal has its usual effect. With several processes all must stop
  after the same step, so there JAX's own notifier, which agrees on one, is
  asked instead; it notices SIGTERM alone.
  """

  def __enter__(self) -> 'StopSignal':
    self._requested = False
    self._is_alone = jax.process_count() == 1
    self._previous: dict[int, Any] = {}
    if self._is_alone:
      for number in (signal.SIGTERM, signal.SIGINT):
        self._previous[number] = signal.signal(number, self._request)
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: TracebackType | None,
  ) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _request(self, number: int, frame: object) -> None:
    del frame
    self._requested = True
    signal.signal(number, self._previous[number])

  def requested(self, step: int) -> bool:
    """Whether to stop after this step; the same in every process."""
    if self._is_alone:
      return self._requested
    return multihost_utils.reached_preemption_sync_point(step)
