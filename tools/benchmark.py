"""Times the training step: `srgan_jax.speed.training`."""

from absl import flags

from srgan_jax.speed import training
from srgan_jax.training import config_files, stages

if __name__ == '__main__':
  config_files.run(
    'benchmark',
    training.report,
    training.__doc__,
    stage_names=config_files.define_words(
      'stage', stages.NAMES, stages.NAMES, '.'
    ),
    inputs=config_files.define_words(
      'input', training.INPUTS, ['synthetic'], '.'
    ),
    precisions=config_files.define_words(
      'precision', training.PRECISIONS, None, "; the config's by default."
    ),
    calls=flags.DEFINE_integer('calls', 20, 'Calls that are timed.', 1),
    json_file=flags.DEFINE_string('json', None, 'A file for the figures.'),
  )
