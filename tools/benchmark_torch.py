"""Times our training step and PyTorch's: `srgan_jax.speed.torch_comparison`."""

import os
import sys

from absl import flags

from srgan_jax import cli
from srgan_jax.training import config_files, stages

try:
  from srgan_jax.speed import torch_comparison
except ImportError as error:
  sys.exit(
    f'benchmark_torch: takes PyTorch: {cli.install("convert")} ({error})'
  )

if __name__ == '__main__':
  # Both share the device's memory; read when JAX first looks for devices.
  os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  config_files.run(
    'benchmark_torch',
    torch_comparison.report,
    torch_comparison.__doc__,
    stage_names=config_files.define_words(
      'stage', stages.NAMES, stages.NAMES, '.'
    ),
    variants=config_files.define_words(
      'variants',
      torch_comparison.VARIANTS,
      ['eager', 'channels_last'],
      '; see above.',
    ),
    rounds=flags.DEFINE_integer('rounds', 5, 'Turns of each side.', 1),
    updates=flags.DEFINE_integer('updates', 20, 'Of a side in a turn.', 1),
    json_file=flags.DEFINE_string('json', None, 'A file for the figures.'),
  )
