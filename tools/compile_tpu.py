"""Compiles the training step for a TPU slice: `srgan_jax.speed.tpu`."""

from absl import flags

from srgan_jax.speed import tpu
from srgan_jax.training import config_files, stages

if __name__ == '__main__':
  config_files.run(
    'compile_tpu',
    tpu.report,
    tpu.__doc__,
    topology=flags.DEFINE_string(
      'topology',
      None,
      'A slice, e.g. v5e:2x4, v5e:16x16, v5p:2x2x1.',
      required=True,
    ),
    stage_name=flags.DEFINE_enum('stage', None, stages.NAMES, 'The last.'),
    batch_per_chip=flags.DEFINE_integer(
      'batch_per_chip', 16, 'HR crops a chip.', 1
    ),
    json_file=flags.DEFINE_string('json', None, 'A file for the figures.'),
  )
