"""Compiles the training program for an NVIDIA GPU: `srgan_jax.speed.gpu`."""

from absl import flags

from srgan_jax.speed import ahead, gpu
from srgan_jax.training import config_files, stages

if __name__ == '__main__':
  config_files.run(
    'compile_gpu',
    gpu.report,
    gpu.__doc__,
    target=flags.DEFINE_enum(
      'target', None, list(gpu.TARGETS), 'The GPU.', required=True
    ),
    stage_name=flags.DEFINE_enum('stage', None, stages.NAMES, 'The last.'),
    batch_per_device=flags.DEFINE_integer(
      'batch_per_device', 16, 'HR crops.', 1
    ),
    loader=flags.DEFINE_enum(
      'loader', 'synthetic', ahead.LOADERS, 'Where crops come from.'
    ),
    json_file=flags.DEFINE_string('json', None, 'A file for the figures.'),
    table_file=flags.DEFINE_string('table', None, 'A document for their row.'),
  )
