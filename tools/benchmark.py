"""Times the training step: `srgan_jax.speed.training`."""

from absl import app, flags
from ml_collections import config_flags

from srgan_jax import cli
from srgan_jax.speed import training
from srgan_jax.training import config_files


def main() -> None:
  """Defines the flags, and times what they say."""
  config = config_flags.DEFINE_config_file(
    'config', None, 'A config: its name or file.'
  )
  stages = flags.DEFINE_list(
    'stage', list(training.STAGES), 'Of pretrain, gan.'
  )
  inputs = flags.DEFINE_list(
    'input', ['synthetic'], 'Of synthetic, resident, tfdata.'
  )
  precisions = flags.DEFINE_list(
    'precision', None, "Of float32, bfloat16; the config's by default."
  )
  calls = flags.DEFINE_integer('calls', 20, 'Calls that are timed.', 1)
  json_file = flags.DEFINE_string('json', None, 'A file for the figures.')
  profile = flags.DEFINE_string(
    'profile', None, 'A folder for a trace of a few calls (TensorBoard).'
  )
  flags.mark_flag_as_required('config')
  cli.restrict_flag('stage', training.STAGES)
  cli.restrict_flag('input', training.INPUTS)
  cli.restrict_flag('precision', training.PRECISIONS)

  @cli.command('benchmark')
  def run(arguments: list[str]) -> None:
    del arguments
    training.report(
      config.value,
      stage_names=stages.value,
      inputs=inputs.value,
      precisions=precisions.value,
      calls=calls.value,
      profile=profile.value,
      json_file=json_file.value,
    )

  app.run(run, flags_parser=config_files.flags_parser('benchmark'))


if __name__ == '__main__':
  __doc__ = training.__doc__  # what --help shows
  cli.run(main)
