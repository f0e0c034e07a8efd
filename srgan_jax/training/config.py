"""Checks of a run's configuration (fields: configs/default.py)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import math
import operator
import re
from typing import Any, Literal, get_args

from flax import traverse_util

from srgan_jax import losses, sharding
from srgan_jax.data import degradation, loader, resident
from srgan_jax.models import generator
from srgan_jax.training import config_files, optimizers, stages, teacher
from srgan_jax.weights import architecture

Precision = Literal['auto', 'float32', 'bfloat16']
Resume = Literal['newest', 'whole']

# Of weights that a run starts from, and of all that it reads. Those that it
# starts from are told apart by `inputs.FIELD`, their digests.
STARTS = (
  'init_generator',
  'init_discriminator',
  'stages.pretrain.init_generator',
)
FILES = (*STARTS, 'perceptual.weights', 'data.lpips')

# Where things lie, which `inputs` tells apart from others of their kind.
_PLACES = (*FILES, 'data.source', 'data.validation')
# What each process of a run has for itself.
_OWN = ('distributed.', 'data.cache_gib')
# What may change when a run is resumed: its length, its reports, how data is
# loaded, and where things lie.
_CHANGEABLE = (
  *_OWN,
  'stages.pretrain.steps',
  'stages.gan.steps',
  'perceptual.weights',
  'data.source',
  'data.max_megapixels',
  'data.loader',
  'data.placement',
  'data.validation',
  'data.lpips',
  'steps_per_call',
  'save_every',
  'log_every',
  'validate_every',
  'keep_best_by',
  'resume',
)


# A field, what holds of its value, and that in words.
_Rule = tuple[str, Callable[[Any], bool], str]


def _word(field: str, words: Any) -> _Rule:
  """One of a Literal's words."""
  known = get_args(words)
  return field, known.__contains__, f'one of {", ".join(known)}'


def _at_least(least: int, *fields: str) -> list[_Rule]:
  return [(f, lambda x: x >= least, f'at least {least}') for f in fields]


def _size(field: str, name: str) -> _Rule:
  """What a weights file may hold."""
  most = architecture.LIMITS[name]
  return field, lambda x: 1 <= x <= most, f'in 1..{most}'


def _are_steps(boundaries: Any) -> bool:
  known = [x for x in boundaries if isinstance(x, int) and 0 <= x < 2**31]
  return len(set(known)) == len(boundaries)


def _is_coordinator(text: str) -> bool:
  port = re.fullmatch(r'.+:([0-9]{1,5})', text)
  return text in ('', 'auto') or bool(port and 0 < int(port[1]) < 2**16)


_RULES: tuple[_Rule, ...] = (
  *_at_least(
    1,
    'batch_size',
    'steps_per_call',
    'save_every',
    'log_every',
    'validate_every',
    'data.crops_per_image',
    'distributed.processes',
  ),
  *_at_least(0, 'data.cache_gib'),
  _size('model.blocks', 'blocks'),
  _size('model.channels', 'channels'),
  _size('model.discriminator_channels', 'channels'),
  ('crop_size', lambda x: x >= 16 and x % 16 == 0, 'a multiple of 16'),
  _size('crop_size', 'image_size'),
  ('seed', lambda x: 0 <= x < 2**32, 'in 0..2**32-1'),
  ('ema_decay', lambda x: 0 <= x < 1, 'in [0, 1)'),
  ('data.max_megapixels', lambda x: x > 0, '> 0'),
  # The rates of all of a stage's updates are in memory.
  *(
    (f'stages.{name}.steps', lambda x: 0 <= x <= 10**8, 'in 0..10**8')
    for name in stages.NAMES
  ),
  *(
    (f'stages.{name}.learning_rate', lambda x: 0 < x < math.inf, '> 0, finite')
    for name in stages.NAMES
  ),
  *(
    (f'loss.{name}_weight', lambda x: 0 <= x < math.inf, 'at least 0, finite')
    for name in ('pixel', 'adversarial', 'tv')
  ),
  ('stages.gan.boundaries', _are_steps, 'different steps'),
  ('distributed.coordinator', _is_coordinator, "'', 'auto' or HOST:PORT"),
  _word('precision', Precision),
  _word('resume', Resume),
  _word('batch_norm', sharding.BatchNorm),
  _word('model.init', generator.Init),
  _word('stages.pretrain.schedule', optimizers.ScheduleName),
  _word('stages.pretrain.content', stages.ContentName),
  _word('stages.gan.content', stages.GanContent),
  _word('loss.content_reduction', losses.ContentReduction),
  _word('data.loader', loader.LoaderName),
  _word('data.placement', resident.Placement),
  _word('data.degradation', degradation.Degradation),
)


def check(config: Any) -> None:
  """Refuses values that could only fail later.

  Raises:
    ValueError: one line naming the field and its value.
  """
  _check_fields(_flatten(config.to_dict()))
  for rule in _RULES:
    _require(config, *rule)
  processes = range(config.distributed.processes)
  _require(
    config, 'distributed.process', processes.__contains__, 'below processes'
  )
  for name in stages.NAMES:
    if steps := config.stages[name].steps:
      holds = lambda x, steps=steps: 0 <= x < steps
      _require(config, f'stages.{name}.warmup', holds, f'in 0..{steps - 1}')
  for is_wrong, why in _contradictions(config):
    if is_wrong:
      raise ValueError(why)


def _check_fields(given: Mapping[str, Any]) -> None:
  """Refuses other fields than default.py has, and values of other types."""
  default = config_files.load('default')
  for field in given:
    config_files.check_field(default, field)
  for field, value in _flatten(default.to_dict()).items():
    kind = type(value)
    kinds = (int, float) if kind is float else kind
    if not isinstance(found := given.get(field), kinds):
      raise ValueError(
        f'config.{field} must be of type {kind.__name__}, not {found!r}'
      )


def _require(
  config: Any, field: str, holds: Callable[[Any], bool], expected: str
) -> None:
  value = operator.attrgetter(field)(config)
  if not holds(value):
    raise ValueError(f'config.{field} must be {expected}, not {value!r}')


def _contradictions(config: Any) -> Iterator[tuple[bool, str]]:
  """Fields that may not go together: whether they do, and why not."""
  pretrain, gan = config.stages.pretrain, config.stages.gan
  yield (
    not pretrain.steps and not gan.steps,
    'both stages have 0 steps: there is nothing to train',
  )
  yield (
    bool(config.init_generator and not gan.steps),
    'config.init_generator takes the place of the SRResNet stage and '
    'config.stages.gan.steps is 0: there is nothing to train',
  )
  yield (
    bool(config.init_discriminator and not gan.steps),
    'config.init_discriminator is for the GAN stage, and '
    'config.stages.gan.steps is 0',
  )
  yield (
    bool(config.keep_best_by and not config.data.validation),
    f'config.keep_best_by is {config.keep_best_by!r}: it needs '
    'config.data.validation',
  )
  yield (
    bool(config.data.lpips and not config.data.validation),
    'config.data.lpips is for validation: it needs config.data.validation',
  )
  by_hand = ':' in config.distributed.coordinator
  yield (
    config.distributed.processes > 1 and not by_hand,
    'config.distributed.processes and process need '
    'config.distributed.coordinator=HOST:PORT',
  )
  early = [step for step in gan.boundaries if step < gan.warmup]
  yield (
    bool(gan.steps and early),
    f'config.stages.gan.boundaries has {early}, in the warm-up of {gan.warmup} '
    'updates, where the rate does not fall',
  )
  yield (
    bool(pretrain.init_generator)
    and bool(config.init_generator or not pretrain.steps),
    'config.stages.pretrain.init_generator starts the SRResNet stage, which '
    'config.init_generator or 0 steps leave out',
  )
  if pretrain.content == 'consistent':
    yield from _contradictions_of_consistent(config)
  yield (
    not (pretrain.steps or config.init_generator)
    and not config.allow_random_generator,
    'a GAN stage from random weights collapses: give '
    '--config.init_generator=FILE or --config.stages.pretrain.steps=N, or '
    'insist with --config.allow_random_generator=True',
  )
  yield (
    gan.freeze_batch_norm and config.allow_random_generator,
    'config.stages.gan.freeze_batch_norm takes the batch statistics of a '
    'trained generator, not of one from random weights',
  )


def _contradictions_of_consistent(config: Any) -> Iterator[tuple[bool, str]]:
  yield (
    not config.stages.pretrain.init_generator,
    "config.stages.pretrain.content 'consistent' is learnt from the SR of "
    'config.stages.pretrain.init_generator, which is not given',
  )
  least = 3 * teacher.EDGE
  yield (
    config.crop_size < least,
    f"config.crop_size is {config.crop_size}: the content 'consistent' leaves "
    f'out {teacher.EDGE} pixels at each edge, and needs at least {least}',
  )


def changed_fields(
  before: Mapping[str, Any], now: Mapping[str, Any]
) -> list[str]:
  """The fields that differ between two configs and may not in one run."""
  return [
    f'{name} ({old!r} before, {new!r} now)'
    for name, old, new in _differing(before, now)
    if not name.startswith(_CHANGEABLE)
  ]


def unlike_fields(configs: Sequence[Mapping[str, Any]]) -> list[str]:
  """The fields in which a process's config is not that of process 0.

  Those of the first such process; `configs` has one of each.
  """
  for process, config in enumerate(configs):
    if unlike := [
      f'{name} ({first!r} in process 0, {own!r} in process {process})'
      for name, first, own in _differing(configs[0], config)
      if not name.startswith(_OWN)
    ]:
      return unlike
  return []


def _differing(
  before: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
  old, new = _flatten(before), _flatten(now)
  for name in sorted(old.keys() | new.keys()):
    if _differs(name, old, new):
      yield name, old.get(name), new.get(name)


def _differs(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
  if name in _PLACES:  # whatever they are
    return bool(old.get(name)) != bool(new.get(name))
  if name.removeprefix('inputs.') in STARTS:  # older runs noted no digest
    return name in old.keys() & new.keys() and old[name] != new[name]
  return bool(old.get(name) != new.get(name))


def _flatten(config: Mapping[str, Any]) -> dict[str, Any]:
  """The fields by their full names; tuples are lists, as JSON reads them."""
  return {
    name: list(value) if isinstance(value, tuple) else value
    for name, value in traverse_util.flatten_dict(config, sep='.').items()
  }
