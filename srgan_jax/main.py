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
  try:
    from absl import flags

    from srgan_jax.training import config_files
  except ImportError as error:
    sys.exit(
      f'{_COMMAND}: training takes more packages: {cli.install("train")} '
      f'({error})'
    )
  workdir = flags.DEFINE_string(
    'workdir', None, "The run's folder; runs/NAME of the config by default."
  )
  config_files.run(_COMMAND, _train_in, __doc__, workdir=workdir)


def _train_in(config: 'ConfigDict', workdir: str | None) -> None:
  from absl import flags
  from ml_collections import config_flags

  path = config_flags.get_config_filename(flags.FLAGS['config'])
  train(config, pathlib.Path(workdir or f'runs/{pathlib.Path(path).stem}'))


def train(config: 'ConfigDict', workdir: pathlib.Path) -> None:
  """Trains to the end or until it is stopped; a fault ends the program."""
  import jax

  from srgan_jax import runtime
  from srgan_jax.training import config as config_lib
  from srgan_jax.training import interruption

  runtime.enable_compilation_cache()
  with interruption.command(_COMMAND):
    config_lib.check(config)
    try:
      _join(config.distributed)
      # After the processes have joined: this touches the devices.
      from srgan_jax.training.run import Run
      from srgan_jax.training.setup import Setup

      setup = Setup(config)
    except RuntimeError as error:  # of JAX, which has no such devices, say
      cli.fail(_COMMAND, error)
    try:
      run = Run(setup, workdir)
      if jax.process_index() == 0:
        logging.getLogger('srgan_jax').info(run.describe())
      run.train()
    except jax.errors.JaxRuntimeError as error:
      what, *_ = str(error).splitlines()
      if runtime.is_out_of_memory(error):
        raise MemoryError(
          f'out of memory with config.batch_size={config.batch_size}: {what}'
        ) from error
      if jax.process_count() > 1:
        raise ConnectionError(
          f'another process has gone: run all again to go on ({what})'
        ) from error
      raise


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
