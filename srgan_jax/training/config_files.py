"""Config files: by name or path, and the command line that changes them.

The configs of the repository stand beside the package in a clone and inside it
in an installation; a config imports from `configs` in both.
"""

import ast
from collections.abc import Callable, Sequence
import importlib.util
import operator
import os
import pathlib
import re
import sys
import types

from absl import app, flags
from flax import traverse_util

from srgan_jax import cli

try:
  from ml_collections import ConfigDict as ConfigDict
  from ml_collections import config_flags
except ModuleNotFoundError:  # `load` and `run` say so
  ConfigDict = config_flags = None

_PACKAGE = pathlib.Path(__file__).resolve().parent.parent
FOLDER = next(
  folder
  for folder in (_PACKAGE / 'configs', _PACKAGE.parent / 'configs')
  if folder.is_dir()
)


def names() -> list[str]:
  """The configs that can be asked for by name."""
  return sorted(path.stem for path in FOLDER.glob('*.py'))


def find(config: str | os.PathLike[str]) -> pathlib.Path:
  """The file of a config: a path, or a name, `vgg54` or `configs/vgg54.py`.

  Raises:
    ValueError: one line with the names that there are.
  """
  path = pathlib.Path(config)
  if path.is_file():
    return path
  is_ours = path.parent.as_posix() in ('.', 'configs')
  if is_ours and path.name in {path.stem, f'{path.stem}.py'}:
    if path.stem in names():
      return FOLDER / f'{path.stem}.py'
  raise ValueError(
    f'there is no config {config}{cli.did_you_mean(path.stem, names())}: '
    f'give a file or one of {", ".join(names())}'
  )


def load(config: str | os.PathLike[str]) -> ConfigDict:
  """What `get_config` of a config's file returns.

  Raises:
    ValueError: one line, where there is none or it cannot be loaded.
    ImportError: one line, where ml_collections is not installed.
  """
  _check_installed()
  make_importable()
  path = find(config)
  spec = importlib.util.spec_from_file_location('srgan_jax_config', path)
  if spec is None or spec.loader is None:
    raise ValueError(f'{path} is not a Python file')
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
    result = module.get_config()
    if not isinstance(result, ConfigDict):
      raise TypeError('get_config returns no ConfigDict')
  except Exception as error:  # of the file's code: any
    raise ValueError(
      f'{path} cannot be loaded: {cli.one_line(error)}'
    ) from error
  return result


def _check_installed() -> None:
  if ConfigDict is None:
    raise ImportError(
      f'ml_collections is not installed: {cli.install("train")}'
    )


def make_importable() -> None:
  """Has `from configs import default` find ours, from any folder."""
  package = types.ModuleType('configs', 'The configs of srgan_jax.')
  package.__path__ = [str(FOLDER)]
  sys.modules.setdefault('configs', package)


def run(
  command: str,
  report: Callable[..., None],
  doc: str | None,
  **given: flags.FlagHolder,
) -> None:
  """Runs a tool: `report(config, NAME=value, ...)` of the flags `given`.

  --config, a name or a file, is defined here; `doc` is what --help shows. What
  is wrong with a flag ends the program in one line.
  """
  with cli.failing_in_a_line(command):
    _check_installed()
  config = config_flags.DEFINE_config_file(
    'config', None, f'A file, or of {", ".join(names())}.'
  )
  flags.mark_flag_as_required('config')

  def call(arguments: list[str]) -> None:
    with cli.failing_in_a_line(command):
      if len(arguments) > 1:
        raise ValueError(f'unexpected argument {arguments[1]!r}')
      for flag in given.values():
        if flag.value == '':
          raise ValueError(f'--{flag.name}: {cli.EMPTY}')
      report(config.value, **{name: flag.value for name, flag in given.items()})

  def parse(arguments: Sequence[str]) -> list[str]:
    try:
      return flags.FLAGS(_with_path(arguments))
    except (flags.Error, TypeError, ValueError) as error:
      cli.fail(command, error)

  sys.modules['__main__'].__doc__ = doc
  cli.run(lambda: app.run(call, flags_parser=parse))


def define_words(
  name: str, words: Sequence[str], default: Sequence[str] | None, purpose: str
) -> flags.FlagHolder:
  """A flag that takes some of these words, with commas between."""
  known = ', '.join(words)
  given = default and list(default)
  flag = flags.DEFINE_list(name, given, f'Of {known}{purpose}')
  flags.register_validator(
    name, lambda given: set(given or ()) <= set(words), f'of {known}'
  )
  return flag


def _with_path(arguments: Sequence[str]) -> list[str]:
  """The arguments with the config's path for its name; checks its fields."""
  result = list(arguments)
  for i, text in enumerate(result):
    flag, equals, value = text.partition('=')
    if flag not in ('--config', '-config'):
      continue
    if equals:
      result[i] = f'--config={find(value)}'
    elif i + 1 < len(result):
      value = result[i + 1]
      result[i + 1] = str(find(value))
    config = load(value)
    for other in result:
      if match := re.match(r'--?config\.([\w.]+)(=|$)', other):
        check_field(config, match[1])
  return result


def override(config: ConfigDict, *texts: str) -> None:
  """Sets the field of each '--config.FIELD=VALUE'.

  Raises:
    ValueError: one line: another form, no such field, or of another type.
  """
  for text in texts:
    value: object
    field, value = split_override(text)
    check_field(config, field)
    try:
      if not isinstance(operator.attrgetter(field)(config), str):
        value = ast.literal_eval(value)
      config.update_from_flattened_dict({field: value})
    except (SyntaxError, TypeError, ValueError) as error:
      raise ValueError(f'{text}: not of the type of the field') from error


def split_override(text: str) -> tuple[str, str]:
  """The field and the text of the value of '--config.FIELD=VALUE'.

  Raises:
    ValueError: one line, for another form.
  """
  match = re.fullmatch(r'--config\.([\w.]+)=(.*)', text, re.DOTALL)
  if not match:
    raise ValueError(f'unknown argument {text!r}')
  return match[1], match[2]


def check_field(config: ConfigDict, field: str) -> None:
  """Refuses a field that a config lacks.

  Raises:
    ValueError: one line with the nearest one.
  """
  fields = traverse_util.flatten_dict(config.to_dict(), sep='.')
  if field not in fields:
    raise ValueError(
      f'there is no field config.{field}{cli.did_you_mean(field, fields)} '
      '(configs/default.py explains all)'
    )
