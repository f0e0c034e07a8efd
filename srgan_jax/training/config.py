"""Checks of a run's configuration (fields: configs/default.py)."""

from collections.abc import Iterator, Mapping
from typing import Any

CONTENTS = ('mse', 'vgg22', 'vgg54')

# What may differ when a run goes on: its length, its reports, how data is
# loaded, and where things lie.
_CHANGEABLE = (
  'stages.pretrain.steps',
  'stages.gan.steps',
  'perceptual.weights',
  'data.source',
  'data.loader',
  'data.placement',
  'data.validation',
  'data.lpips',
  'data.cache_gib',
  'distributed.',
  'steps_per_call',
  'save_every',
  'log_every',
  'validate_every',
  'keep_best_by',
)


def check(config: Any) -> None:
  """Refuses values that could only fail later.

  Raises:
    ValueError: one line naming the field and its value.
  """

  def require(condition: bool, field: str, expected: str) -> None:
    if not condition:
      value = config
      for part in field.split('.'):
        value = value[part]
      raise ValueError(f'config.{field} must be {expected}, not {value!r}')

  for field in (
    'batch_size',
    'steps_per_call',
    'save_every',
    'log_every',
    'validate_every',
  ):
    require(config[field] >= 1, field, 'at least 1')
  require(
    config.crop_size >= 16 and config.crop_size % 16 == 0,
    'crop_size',
    'a multiple of 16',
  )
  require(config.scale == 4, 'scale', "4, the paper's")
  require(0 <= config.seed < 2**32, 'seed', 'in 0..2**32-1')
  require(
    config.precision in ('auto', 'float32', 'bfloat16'),
    'precision',
    "'auto', 'float32' or 'bfloat16'",
  )
  require(
    config.batch_norm in ('global', 'per_device'),
    'batch_norm',
    "'global' or 'per_device'",
  )
  require(0 <= config.ema_decay < 1, 'ema_decay', 'in [0, 1)')
  for field in ('blocks', 'channels', 'discriminator_channels'):
    require(config.model[field] >= 1, f'model.{field}', 'at least 1')
  require(
    config.model.init in ('small', 'he', 'icnr'),
    'model.init',
    "'small', 'he' or 'icnr'",
  )
  for stage in ('pretrain', 'gan'):
    name = f'stages.{stage}'
    require(config.stages[stage].steps >= 0, f'{name}.steps', 'at least 0')
    require(
      config.stages[stage].learning_rate > 0, f'{name}.learning_rate', '> 0'
    )
    steps = config.stages[stage].steps
    require(
      not steps or 0 <= config.stages[stage].warmup < steps,
      f'{name}.warmup',
      f'in 0..{steps - 1}',
    )
    require(
      config.stages[stage].content in CONTENTS,
      f'{name}.content',
      f'one of {", ".join(CONTENTS)}',
    )
  require(
    config.loss.content_reduction in ('mean', 'sum_channels'),
    'loss.content_reduction',
    "'mean' or 'sum_channels'",
  )
  require(
    config.data.loader in ('tfdata', 'resident'),
    'data.loader',
    "'tfdata' or 'resident'",
  )
  require(
    config.data.placement in ('auto', 'replicated', 'sharded'),
    'data.placement',
    "'auto', 'replicated' or 'sharded'",
  )
  require(
    config.data.degradation in ('bicubic', 'photo'),
    'data.degradation',
    "'bicubic' or 'photo'",
  )
  require(
    config.data.crops_per_image >= 1, 'data.crops_per_image', 'at least 1'
  )
  require(
    config.data.edge in ('clamp', 'mirror'), 'data.edge', "'clamp' or 'mirror'"
  )
  pretrain, gan = config.stages.pretrain, config.stages.gan
  if not pretrain.steps and not gan.steps:
    raise ValueError('both stages have 0 steps: there is nothing to train')
  if config.init_generator and not gan.steps:
    raise ValueError(
      'config.init_generator takes the place of the SRResNet stage and '
      'config.stages.gan.steps is 0: there is nothing to train'
    )
  if config.init_discriminator and not gan.steps:
    raise ValueError(
      'config.init_discriminator is for the GAN stage, and '
      'config.stages.gan.steps is 0'
    )
  if config.keep_best_by and not config.data.validation:
    raise ValueError(
      f'config.keep_best_by is {config.keep_best_by!r}: it needs '
      'config.data.validation'
    )
  if pretrain.init_generator and (config.init_generator or not pretrain.steps):
    raise ValueError(
      'config.stages.pretrain.init_generator starts the SRResNet stage, which '
      'config.init_generator or 0 steps leave out'
    )
  if (
    gan.steps
    and not pretrain.steps
    and not config.init_generator
    and not config.allow_random_generator
  ):
    raise ValueError(
      'a GAN stage from random weights collapses: give '
      '--config.init_generator=FILE or --config.stages.pretrain.steps=N, or '
      'insist with --config.allow_random_generator=True'
    )
  if gan.freeze_batch_norm and config.allow_random_generator:
    raise ValueError(
      'config.stages.gan.freeze_batch_norm takes the batch statistics of a '
      'trained generator, not of one from random weights'
    )


def changed_fields(
  before: Mapping[str, Any], now: Mapping[str, Any]
) -> list[str]:
  """The fields that differ between two configs and may not when resuming."""
  old, new = dict(_flatten(before)), dict(_flatten(now))
  return [
    f'{name} ({old.get(name)!r} before, {new.get(name)!r} now)'
    for name in sorted(old.keys() | new.keys())
    if old.get(name) != new.get(name) and not name.startswith(_CHANGEABLE)
  ]


def _flatten(
  config: Mapping[str, Any], prefix: str = ''
) -> Iterator[tuple[str, Any]]:
  for key, value in config.items():
    if isinstance(value, Mapping):
      yield from _flatten(value, f'{prefix}{key}.')
    else:
      # As JSON reads it back.
      yield prefix + key, list(value) if isinstance(value, tuple) else value
