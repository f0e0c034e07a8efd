"""SIGTERM, SIGHUP, Ctrl-C or a deadline: the loop saves and ends."""

from collections.abc import Iterator
import contextlib
import math
import os
import signal
import stat
import sys
import time
from typing import Any

import jax

from srgan_jax import cli, sharding

_HANG_UP = getattr(signal, 'SIGHUP', None)  # Windows has none


class Interrupted(Exception):
  """The run was asked to stop, and has saved a checkpoint."""


class StopSignal:
  """A context in which SIGTERM, SIGHUP and Ctrl-C only set a flag.

  A second signal has its usual effect; a SIGHUP that is ignored, as under
  nohup, stays so. The `deadline`, in the seconds of
  `time.monotonic`, is as a signal.
  """

  def __init__(self, deadline: float = math.inf):
    self._deadline = deadline

  def __enter__(self) -> 'StopSignal':
    self._requested = False
    self._previous: dict[int, Any] = {}
    numbers = [signal.SIGTERM, signal.SIGINT]
    if _HANG_UP and signal.getsignal(_HANG_UP) != signal.SIG_IGN:
      numbers.append(_HANG_UP)
    for number in numbers:
      self._previous[number] = signal.signal(number, self._request)
    return self

  def __exit__(self, *error: object) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _request(self, number: int, frame: object) -> None:
    del frame
    self._requested = True
    if number == _HANG_UP:
      _leave_terminal()
    signal.signal(number, self._previous[number])

  def requested(self, *, may_wait: bool) -> bool:
    """Whether to stop now; the same answer in every process.

    Several processes have to stop after the same step, so they ask each other,
    and only where `may_wait` (the same in all of them) says that it is time.
    """
    own = self._requested or time.monotonic() >= self._deadline
    if jax.process_count() > 1 and not may_wait:
      return False
    return sharding.in_any_process(own)


def _leave_terminal() -> None:
  """Sends to nowhere what would be written to a terminal that is gone."""
  for number in (1, 2):
    with contextlib.suppress(OSError):
      if stat.S_ISCHR(os.fstat(number).st_mode):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


@contextlib.contextmanager
def command(tool: str) -> Iterator[None]:
  """What a tool that trains does: shows progress, and ends in one line.

  Bad input exits with a line; a stop says that running the tool again resumes,
  and exits as SIGTERM does.
  """
  cli.log_to_stderr()
  try:
    with cli.failing_in_a_line(tool, extra='train'):
      yield
  except Interrupted as interrupted:
    print(f'{tool}: {interrupted}; run again to go on', file=sys.stderr)
    sys.exit(128 + signal.SIGTERM)
