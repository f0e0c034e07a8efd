"""Compiles the training step for a TPU slice: `srgan_jax.speed.tpu`."""

from absl import app, flags
from ml_collections import config_flags

from srgan_jax import cli
from srgan_jax.speed import tpu
from srgan_jax.training import config_files


def main() -> None:
  """Defines the flags, and compiles what they say."""
  config = config_flags.DEFINE_config_file(
    'config', None, 'A config: its name or file.'
  )
  topology = flags.DEFINE_string(
    'topology', None, 'A slice, e.g. v5e:2x4, v5e:16x16, v5p:2x2x1.'
  )
  stage = flags.DEFINE_enum('stage', None, ['pretrain', 'gan'], 'The last.')
  batch = flags.DEFINE_integer('batch_per_chip', 16, 'HR crops a chip.', 1)
  json_file = flags.DEFINE_string('json', None, 'A file for the figures.')
  flags.mark_flags_as_required(['config', 'topology'])

  @cli.command('compile_tpu')
  def run(arguments: list[str]) -> None:
    del arguments
    tpu.report(
      config.value,
      str(topology.value),
      stage_name=stage.value,
      batch_per_chip=batch.value,
      json_file=json_file.value,
    )

  app.run(run, flags_parser=config_files.flags_parser('compile_tpu'))


if __name__ == '__main__':
  __doc__ = tpu.__doc__  # what --help shows
  cli.run(main)
