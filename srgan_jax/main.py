"""Trains SRGAN as a config file says.

  python -m srgan_jax.main --config=configs/vgg54.py [--workdir=DIR] \
    [--config.FIELD=VALUE ...]

Run again, it goes on where it stopped.
"""

from collections.abc import Sequence
import logging
import pathlib
import signal
import sys
from typing import NoReturn
import warnings

from absl import app, flags
from absl import logging as absl_logging
import jax
from ml_collections import ConfigDict, config_flags

from srgan_jax import cli, runtime

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'The config file, e.g. configs/vgg54.py.'
)
_WORKDIR = flags.DEFINE_string(
  'workdir', None, "The run's folder; runs/NAME of the config by default."
)
flags.mark_flag_as_required('config')


def main(arguments: Sequence[str]) -> None:
  """Trains what the flags say, to the end or until it is stopped."""
  if len(arguments) > 1:
    _fail(f'unexpected argument {arguments[1]!r}')
  config = _CONFIG.value
  name = pathlib.Path(config_flags.get_config_filename(flags.FLAGS['config']))
  workdir = pathlib.Path(_WORKDIR.value or pathlib.Path('runs', name.stem))

  # Orbax says a lot; its errors come as exceptions too.
  absl_logging.set_verbosity(absl_logging.FATAL)
  logger = logging.getLogger('srgan_jax')
  logger.setLevel(logging.INFO)
  logger.addHandler(logging.StreamHandler())
  logger.propagate = False
  warnings.formatwarning = lambda message, *_: f'srgan_jax: {message}\n'

  runtime.enable_compilation_cache()
  try:
    _join(config.distributed)
    # After the processes have joined: this touches the devices.
    from srgan_jax.training import interruption
    from srgan_jax.training.run import Run
    from srgan_jax.training.setup import Setup

    run = Run(Setup(config), workdir)
  except (ImportError, OSError, RuntimeError, ValueError) as error:
    _fail(error)
  try:
    run.train()
  except (FloatingPointError, OSError, ValueError) as error:
    _fail(error)
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    _fail(
      f'out of memory with config.batch_size={config.batch_size}: '
      f'{str(error).splitlines()[0]}'
    )
  except interruption.Interrupted as interrupted:
    print(f'srgan_jax: {interrupted}; run again to go on', file=sys.stderr)
    sys.exit(128 + signal.SIGTERM)


def _join(distributed: ConfigDict) -> None:
  """Joins the other processes of the run, if there are any."""
  if distributed.coordinator == 'auto':
    jax.distributed.initialize()
  elif distributed.coordinator:
    jax.distributed.initialize(
      distributed.coordinator, distributed.processes, distributed.process
    )


def _fail(reason: object) -> NoReturn:
  sys.exit('srgan_jax: ' + ' '.join(str(reason).split()))


def _parse(arguments: Sequence[str]) -> Sequence[str]:
  """Reads the flags; what is wrong with them ends in one line."""
  try:
    left = flags.FLAGS(arguments)
    _CONFIG.value.to_dict()  # a file that could not be loaded fails here
  except (ImportError, OSError) as error:
    _fail(f'the config file cannot be loaded: {str(error).splitlines()[-1]}')
  except (AttributeError, KeyError) as error:
    # A message, or one that was quoted once more.
    text = str(error.args[0]).replace('\\n', ' ').replace('\\', '')
    text = text.replace("''", "'").rstrip("'")
    _fail(f'no such field of the config: {text}')
  except (flags.Error, TypeError, ValueError) as error:
    _fail(error)
  return left


def start() -> None:
  """The entry point."""
  cli.run(lambda: app.run(main, flags_parser=_parse))


if __name__ == '__main__':
  start()
