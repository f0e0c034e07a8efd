"""Times our training step and PyTorch's: `srgan_jax.speed.torch_comparison`."""

import os
import sys

from absl import app, flags
from ml_collections import config_flags

from srgan_jax import cli
from srgan_jax.training import config_files

try:
  from srgan_jax.speed import torch_comparison
except ImportError as error:
  sys.exit(
    f'benchmark_torch: takes PyTorch: {cli.install("convert")} ({error})'
  )


def main() -> None:
  """Defines the flags, and times what they say."""
  config = config_flags.DEFINE_config_file(
    'config', None, 'A config: its name or file.'
  )
  stages = flags.DEFINE_list('stage', ['pretrain', 'gan'], 'Of pretrain, gan.')
  variants = flags.DEFINE_list(
    'variants', ['eager', 'channels_last'], 'Of PyTorch; see above.'
  )
  rounds = flags.DEFINE_integer('rounds', 5, 'Turns of each side.', 1)
  updates = flags.DEFINE_integer('updates', 20, 'Of a side in a turn.', 1)
  json_file = flags.DEFINE_string('json', None, 'A file for the figures.')
  flags.mark_flag_as_required('config')
  cli.restrict_flag('stage', ('pretrain', 'gan'))
  cli.restrict_flag('variants', torch_comparison.VARIANTS)

  @cli.command('benchmark_torch')
  def run(arguments: list[str]) -> None:
    del arguments
    torch_comparison.report(
      config.value,
      stage_names=stages.value,
      variants=variants.value,
      rounds=rounds.value,
      updates=updates.value,
      json_file=json_file.value,
    )

  # Both share the device's memory; read when JAX first looks for devices.
  os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  app.run(run, flags_parser=config_files.flags_parser('benchmark_torch'))


if __name__ == '__main__':
  __doc__ = torch_comparison.__doc__  # what --help shows
  cli.run(main)
