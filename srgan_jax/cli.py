"""What the commands share: their parser, one-line errors, stops, progress."""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
import contextlib
import os
import signal
import sys
import threading
import traceback
from typing import Any, NoReturn

import tqdm

STOPPED = 130  # the exit status of a command that Ctrl-C ended


def parser(doc: str | None, prog: str | None = None) -> argparse.ArgumentParser:
  """A parser that shows a module's docstring as it is written.

  Args:
    doc: the docstring.
    prog: how the command is called; by default, the file that runs.
  """
  return argparse.ArgumentParser(
    prog=prog,
    description=doc,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )


def one_line(error: BaseException) -> str:
  """An error's message without line breaks; its class where it has none."""
  return ' '.join(str(error).split()) or type(error).__name__


def fail(command: str, error: BaseException) -> NoReturn:
  """Ends the program with one line on stderr and exit status 1."""
  sys.exit(f'{command}: {one_line(error)}')


def run(main: Callable[[], object]) -> None:
  """Calls a command's main function; a process that has failed ends at once.

  Libraries leave threads behind that wait for what never comes, and Python
  would wait for them.
  """
  try:
    main()
    return
  except SystemExit as end:
    if end.code in (None, 0):
      return
    status = end.code if isinstance(end.code, int) else 1
    if not isinstance(end.code, int):
      print(end.code, file=sys.stderr)
  except KeyboardInterrupt:
    status = STOPPED
  except BaseException:
    traceback.print_exc()
    status = 1
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(OSError, ValueError):  # closed, or a full disk
      stream.flush()
  os._exit(status)


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
  """Makes SIGTERM raise KeyboardInterrupt, in the main thread."""

  def interrupt(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt

  if threading.current_thread() is not threading.main_thread():
    yield
    return
  previous = signal.signal(signal.SIGTERM, interrupt)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, previous)


def progress(
  items: Iterable[Any] | None = None, **settings: Any
) -> 'tqdm.tqdm[Any]':
  """A tqdm bar over items, or to be updated, that only a terminal shows."""
  return tqdm.tqdm(items, disable=not sys.stderr.isatty(), **settings)


def restrict_flag(name: str, words: Sequence[str]) -> None:
  """Refuses other words than these in an absl flag that takes a list."""
  from absl import flags

  flags.register_validator(
    name,
    lambda given: set(given or words) <= set(words),
    f'of {", ".join(words)}',
  )
