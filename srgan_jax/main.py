"""Trains SRGAN as a config says.

  srgan-train --config=vgg54 [--workdir=DIR] [--config.FIELD=VALUE ...]

A config is one of the repository's by name, or a file. Run again, the command
goes on where it stopped.
"""

import logging
import pathlib
import sys
from typing import TYPE_CHECKING

from srgan_jax import cli

if TYPE_CHECKING:
  from ml_collections import ConfigDict

_COMMAND = 'srgan_jax'


def start() -> None:
  """The command: trains what `sys.argv` says."""
  cli.run(_start)


def _start() -> None:
  try:
    from absl import app, flags
    from ml_collections import config_flags

    from srgan_jax.training import config_files
  except ImportError as error:
    sys.exit(
      f'{_COMMAND}: training takes more packages: {cli.install("train")} '
      f'({error})'
    )
  config = config_flags.DEFINE_config_file(
    'config', None, f'A file, or of {", ".join(config_files.names())}.'
  )
  workdir = flags.DEFINE_string(
    'workdir', None, "The run's folder; runs/NAME of the config by default."
  )
  flags.mark_flag_as_required('config')

  def run(arguments: list[str]) -> None:
    if len(arguments) > 1:
      sys.exit(f'{_COMMAND}: unexpected argument {arguments[1]!r}')
    path = config_flags.get_config_filename(flags.FLAGS['config'])
    default = pathlib.Path('runs', pathlib.Path(path).stem)
    train(config.value, pathlib.Path(workdir.value or default))

  sys.modules['__main__'].__doc__ = __doc__  # what --help shows
  app.run(run, flags_parser=config_files.flags_parser(_COMMAND))


def train(config: 'ConfigDict', workdir: pathlib.Path) -> None:
  """Trains to the end or until it is stopped; a fault ends the program."""
  import jax

  from srgan_jax import runtime
  from srgan_jax.training import interruption

  runtime.enable_compilation_cache()
  with interruption.command(_COMMAND):
    try:
      _join(config.distributed)
      # After the processes have joined: this touches the devices.
      from srgan_jax.training.run import Run
      from srgan_jax.training.setup import Setup

      run = Run(Setup(config), workdir)
    except RuntimeError as error:  # of JAX, which has no such devices, say
      cli.fail(_COMMAND, error)
    if jax.process_index() == 0:
      logging.getLogger('srgan_jax').info(run.describe())
    try:
      run.train()
    except jax.errors.JaxRuntimeError as error:
      if 'RESOURCE_EXHAUSTED' not in str(error):
        raise
      raise MemoryError(
        f'out of memory with config.batch_size={config.batch_size}: '
        f'{str(error).splitlines()[0]}'
      ) from error


def _join(distributed: 'ConfigDict') -> None:
  """Joins the other processes of the run, if there are any."""
  import jax

  if distributed.coordinator == 'auto':
    try:
      jax.distributed.initialize()
    except ValueError as error:
      raise ValueError(
        "config.distributed.coordinator='auto' finds no cluster here (TPU pod, "
        'SLURM, Kubernetes, Open MPI): leave it out for one process, or give '
        'HOST:PORT, processes and process (docs/distributed.md)'
      ) from error
  elif distributed.coordinator:
    jax.distributed.initialize(
      distributed.coordinator, distributed.processes, distributed.process
    )


if __name__ == '__main__':
  start()
