"""What the commands share: their parser, one-line errors, stops, progress."""

import argparse
import codecs
from collections.abc import Callable, Iterable, Iterator
import contextlib
import difflib
import io
import logging
import os
import pathlib
import re
import signal
import sys
import threading
import traceback
from typing import Any, NoReturn
import warnings

import tqdm

import srgan_jax

EMPTY = "'' is no name; the working folder is ."
STOPPED = 130  # the exit status of a command that Ctrl-C ended

# What bad input, and a disk or a memory that is full, raise: one line says it.
FAULTS = (ValueError, OSError, FloatingPointError, MemoryError)


def parser(doc: str | None, prog: str | None = None) -> argparse.ArgumentParser:
  """A parser that shows a module's docstring as it is written.

  Args:
    doc: the docstring.
    prog: how the command is called; by default, the file that runs.
  """
  return _Parser(
    prog=prog,
    description=doc,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )


class _Parser(argparse.ArgumentParser):
  """A parser that takes no empty text or path, unless a `type` is given.

  An empty one is a variable that is not set, and to pathlib the working folder.
  """

  def __init__(self, *arguments: Any, **settings: Any) -> None:
    super().__init__(*arguments, **settings)
    self.register('type', None, text)
    self.register('type', pathlib.Path, lambda value: pathlib.Path(text(value)))

  def add_subparsers(self, **settings: Any) -> Any:
    commands = super().add_subparsers(**settings)
    commands.type = str  # what follows a command is its own parser's
    return commands


def text(value: str) -> str:
  """An option's `type`: a text that is not empty."""
  if not value:
    raise argparse.ArgumentTypeError(EMPTY)
  return value


def add_information(command: argparse.ArgumentParser) -> None:
  """Adds --list-models and --version, which print and end the command."""
  command.add_argument(
    '--list-models',
    action=_ListModels,
    nargs=0,
    help='describe the generators that ship, with licences and figures',
  )
  command.add_argument(
    '--version',
    action='version',
    version=f'srgan_jax {srgan_jax.__version__}',
  )


class _ListModels(argparse.Action):
  """Prints the shipped generators."""

  def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
    from srgan_jax.pretrained import catalogue

    print(catalogue.describe())
    parser.exit()


def did_you_mean(word: str, known: Iterable[str]) -> str:
  """' (did you mean X?)' where a known word is near, else nothing."""
  near = difflib.get_close_matches(word, list(known), n=1)
  return f' (did you mean {near[0]}?)' if near else ''


def install(extra: str) -> str:
  """The command that installs one of the package's extras."""
  return f"pip install 'srgan_jax[{extra}]'"


def one_line(error: BaseException) -> str:
  """An error's message without line breaks; its class where it has none."""
  return ' '.join(str(error).split()) or type(error).__name__


def reason(error: BaseException) -> str:
  """An error's message; the system's without its number and the file."""
  return getattr(error, 'strerror', None) or one_line(error)


def fail(command: str, error: BaseException) -> NoReturn:
  """Ends the program with one line on stderr and exit status 1."""
  sys.exit(visible(f'{command}: {one_line(error)}'))


@contextlib.contextmanager
def failing_in_a_line(
  command: str, *more: type[Exception], extra: str = ''
) -> Iterator[None]:
  """Has bad input, errors of `more` classes and Ctrl-C end the program.

  Of a package that is missing, the line says how to install the `extra`.
  """
  bad = (*FAULTS, ImportError)
  try:
    yield
  except bad + more as error:
    if extra and isinstance(error, ModuleNotFoundError):
      error = ImportError(f'{error.name} is not installed: {install(extra)}')
    fail(command, error)
  except KeyboardInterrupt:
    print(f'{command}: stopped', file=sys.stderr)
    sys.exit(STOPPED)


def log_to_stderr() -> None:
  """Shows what the package logs and warns of, a line each."""
  from absl import logging as absl_logging

  # Orbax says a lot; its errors come as exceptions too.
  absl_logging.set_verbosity(absl_logging.FATAL)
  logger = logging.getLogger('srgan_jax')
  logger.setLevel(logging.INFO)
  if not logger.handlers:
    handler = logging.StreamHandler()
    handler.setFormatter(_Visible())
    logger.addHandler(handler)
  logger.propagate = False  # absl would say it again
  warnings.formatwarning = lambda message, *_: (
    visible(f'srgan_jax: {message}') + '\n'
  )


class _Visible(logging.Formatter):
  """Lines in which a picture's name moves no cursor."""

  def format(self, record: logging.LogRecord) -> str:
    return '\n'.join(map(visible, super().format(record).split('\n')))


def add_generator_options(
  command: argparse.ArgumentParser, back_project: int | None = None
) -> None:
  """Adds what changes a generator's pictures: --strength, --back-project.

  Args:
    command: the parser.
    back_project: the default; None for what the generator's file recommends.
  """
  command.add_argument(
    '--strength',
    type=float,
    default=1.0,
    metavar='0..1',
    help='how much of an SRGAN: 0 is its SRResNet, between lie the weights '
    'between the two; %(default)g by default',
  )
  default = 'as the model recommends' if back_project is None else '%(default)s'
  command.add_argument(
    '--back-project',
    type=int,
    default=back_project,
    metavar='0|1|N',
    help='steps that bring the result, made smaller, nearer to the picture: '
    f'not for noisy ones; {default} by default',
  )


def number(
  low: float, high: float, kind: type[int] | type[float] = int
) -> Callable[[str], Any]:
  """An option's `type`: a number from `low` to `high`, never nan."""

  def parse(text: str) -> float:
    value = kind(text)
    if not low <= value <= high:
      raise argparse.ArgumentTypeError(f'{text} is not in {low}..{high}')
    return value

  parse.__name__ = 'number'  # for argparse's message
  return parse


def run(main: Callable[[], int | None]) -> None:
  """Calls a command's main function; a process that has failed ends at once.

  Libraries leave threads behind that wait for what never comes, and Python
  would wait for them.
  """
  _open_streams()
  status: Any
  try:
    status = main()
    sys.stdout.flush()
  except SystemExit as end:
    status = end.code
  except KeyboardInterrupt:
    status = STOPPED
  except BrokenPipeError:  # who read the output has seen enough
    status = 1
  except OSError as error:  # standard output's disk is full
    status = f'{os.path.basename(sys.argv[0])}: {one_line(error)}'
  except BaseException:
    traceback.print_exc()
    status = 1
  if not status:
    return
  with contextlib.suppress(OSError, ValueError):  # closed, or a full disk
    if not isinstance(status, int):
      print(status, file=sys.stderr)
      status = 1
    sys.stdout.flush()
    sys.stderr.flush()
  os._exit(status)


def _open_streams() -> None:
  """Closed standard streams lead to nowhere, not to the next file opened."""
  for number, name in enumerate(('stdin', 'stdout', 'stderr')):
    if getattr(sys, name) is None:
      nowhere = os.open(os.devnull, os.O_RDWR)
      os.dup2(nowhere, number)
      setattr(sys, name, open(number, 'w' if number else 'r'))


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
  previous = {}
  for name in ('SIGTERM', 'SIGHUP'):
    number = getattr(signal, name, None)  # Windows has no SIGHUP
    if number and signal.getsignal(number) is not signal.SIG_IGN:
      previous[number] = signal.signal(number, interrupt)
  try:
    yield
  finally:
    for number, handler in previous.items():
      signal.signal(number, handler)


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


def _encode_name(error: UnicodeError) -> tuple[str | bytes, int]:
  assert isinstance(error, UnicodeEncodeError)
  error.end = error.start + 1  # letter by letter
  try:
    return codecs.lookup_error('surrogateescape')(error)
  except UnicodeEncodeError:
    return codecs.lookup_error('backslashreplace')(error)


def visible(text: str) -> str:
  """Text whose control characters, such as line breaks, are escaped."""
  escape = lambda found: found[0].encode('unicode_escape').decode()
  return re.sub(r'[\x00-\x1f\x7f-\x9f]', escape, text)


def progress(
  items: Iterable[Any] | None = None, **settings: Any
) -> 'tqdm.tqdm[Any]':
  """A tqdm bar over items, or to be updated, that only a terminal shows."""
  return tqdm.tqdm(items, disable=not sys.stderr.isatty(), **settings)
