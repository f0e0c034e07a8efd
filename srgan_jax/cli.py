"""What the commands share: their parser, one-line errors, stops, progress."""

import argparse
import codecs
from collections.abc import Iterable, Iterator, Sequence
import contextlib
import io
import signal
import sys
import threading
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


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
  """Makes SIGTERM and SIGHUP raise KeyboardInterrupt, in the main thread.

  SIGHUP stays ignored where it is: nohup means a command to go on.
  """

  def interrupt(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt

  if threading.current_thread() is not threading.main_thread():
    yield
    return
  names = ('SIGTERM', 'SIGHUP')  # Windows has no SIGHUP
  numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
  previous = {number: signal.getsignal(number) for number in numbers}
  for number in numbers:
    if previous[number] is not signal.SIG_IGN:
      signal.signal(number, interrupt)
  try:
    yield
  finally:
    for number in numbers:
      signal.signal(number, previous[number])


def print_any_name() -> None:
  """Lets stdout and stderr take names that their encoding does not hold.

  They are escaped; but bytes of a name that are no text pass through the
  process's own stdout, so that another program can take it from there.
  """
  codecs.register_error('srgan_jax.names', _encode_name)
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):
      is_own = stream is sys.__stdout__
      stream.reconfigure(
        errors='srgan_jax.names' if is_own else 'backslashreplace'
      )


def _encode_name(error: UnicodeError) -> tuple[bytes, int]:
  assert isinstance(error, UnicodeEncodeError)
  encoded = b''
  for letter in error.object[error.start : error.end]:
    try:
      encoded += letter.encode('ascii', 'surrogateescape')
    except UnicodeEncodeError:
      encoded += letter.encode('ascii', 'backslashreplace')
  return encoded, error.end


def visible(text: str) -> str:
  """Text without line breaks and what else would move a terminal's cursor."""
  return ''.join(
    letter.encode('unicode_escape').decode()
    if ord(letter) < 32 or 127 <= ord(letter) < 160
    else letter
    for letter in text
  )


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
