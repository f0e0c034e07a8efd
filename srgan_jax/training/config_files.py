"""The repository's configs, for tools that train. Not a command.

The package `configs` is not installed, and a config imports from it: importing
this puts the repository's root on the path.
"""

import ast
from collections.abc import Iterator
import contextlib
import functools
import importlib
import logging
import operator
import pathlib
import re
import signal
import sys
from typing import Any

from ml_collections import ConfigDict

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

from srgan_jax import interruption  # noqa: E402 (it may be found by that path)


def load(name: str) -> ConfigDict:
  """The config of `configs/NAME.py`."""
  return importlib.import_module(f'configs.{name}').get_config()


def override(config: ConfigDict, text: str) -> None:
  """Sets the field of '--config.FIELD=VALUE'.

  Raises:
    ValueError: one line: another form, no such field, or of another type.
  """
  match = re.fullmatch(r'--config\.([\w.]+)=(.*)', text, re.DOTALL)
  if not match:
    raise ValueError(f'unknown argument {text!r}')
  field, value = match.groups()
  try:
    *parents, name = field.split('.')
    part = functools.reduce(operator.getitem, parents, config)
    part[name] = value if isinstance(part[name], str) else _literal(value)
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(f'{text}: no such field, or not its type') from error


def _literal(text: str) -> Any:
  try:
    return ast.literal_eval(text)
  except SyntaxError as error:
    raise ValueError(text) from error


@contextlib.contextmanager
def command(tool: str) -> Iterator[None]:
  """What a tool that trains does: shows progress, and ends in one line.

  Bad input exits with a line; a stop says that the tool goes on when it is run
  again, and exits as SIGTERM does.
  """
  _log_to_stderr()
  try:
    yield
  except (ValueError, OSError, ImportError, FloatingPointError) as error:
    sys.exit(f'{tool}: {" ".join(str(error).split())}')
  except interruption.Interrupted as interrupted:
    print(f'{tool}: {interrupted}; run again to go on', file=sys.stderr)
    sys.exit(128 + signal.SIGTERM)


def _log_to_stderr() -> None:
  logger = logging.getLogger('srgan_jax')
  logger.setLevel(logging.INFO)
  if not logger.handlers:
    logger.addHandler(logging.StreamHandler())
  logger.propagate = False  # absl, which Orbax brings, would say it again
