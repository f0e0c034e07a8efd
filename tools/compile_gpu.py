"""Compiles the training program for an NVIDIA GPU: `srgan_jax.speed.gpu`."""

from absl import app, flags
from ml_collections import config_flags

from srgan_jax import cli
from srgan_jax.speed import ahead, gpu
from srgan_jax.training import config_files


def main() -> None:
  """Defines the flags, and compiles what they say."""
  config = config_flags.DEFINE_config_file(
    'config', None, 'A config: its name or file.'
  )
  target = flags.DEFINE_enum('target', None, list(gpu.TARGETS), 'The GPU.')
  stage = flags.DEFINE_enum('stage', None, ['pretrain', 'gan'], 'The last.')
  batch = flags.DEFINE_integer('batch_per_device', 16, 'HR crops.', 1)
  loader = flags.DEFINE_enum(
    'loader', 'synthetic', ahead.LOADERS, 'Where crops come from.'
  )
  json_file = flags.DEFINE_string('json', None, 'A file for the figures.')
  table = flags.DEFINE_string('table', None, 'A document for their row.')
  flags.mark_flags_as_required(['config', 'target'])

  @cli.command('compile_gpu')
  def run(arguments: list[str]) -> None:
    del arguments
    gpu.report(
      config.value,
      str(target.value),
      stage_name=stage.value,
      batch_per_device=batch.value,
      loader=loader.value,
      json_file=json_file.value,
      table_file=table.value,
    )

  app.run(run, flags_parser=config_files.flags_parser('compile_gpu'))


if __name__ == '__main__':
  __doc__ = gpu.__doc__  # what --help shows
  cli.run(main)
