"""Signals for the processes that tests start."""

from collections.abc import Iterator
import contextlib
import signal


@contextlib.contextmanager
def hangups_count() -> Iterator[None]:
  """Programs started meanwhile take SIGHUP, under nohup too.

  There it is ignored, and they would inherit that; but a handler cannot be
  inherited: a program that is started in its stead has the default action.
  """
  before = signal.signal(signal.SIGHUP, lambda number, frame: None)
  try:
    yield
  finally:
    signal.signal(signal.SIGHUP, before)
