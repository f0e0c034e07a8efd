"""The repository's configs by name, for the commands that train.

The package `configs` is not installed: it lies beside this one in a clone of
the repository.
"""

import ast
import functools
import importlib
import operator
import pathlib
import re
import sys
from typing import Any

from ml_collections import ConfigDict

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def make_importable() -> None:
  """Puts the clone's root on the path, since a config imports from `configs`.

  Raises:
    ValueError: one line, where the package does not lie in a clone.
  """
  if not (ROOT / 'configs').is_dir():
    raise ValueError(
      f'there is no folder {ROOT / "configs"}: this takes a clone of the '
      "repository, installed by pip install -e '.[train]'"
    )
  if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))


def load(name: str) -> ConfigDict:
  """The config of `configs/NAME.py`.

  Raises:
    ValueError: one line, where the package does not lie in a clone.
  """
  make_importable()
  config: ConfigDict = importlib.import_module(f'configs.{name}').get_config()
  return config


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
