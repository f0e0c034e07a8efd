"""Setups of runs that share what they compile."""

from flax import traverse_util

from srgan_jax.training.setup import Setup

# What the programs of a run do not depend on.
_PROGRAMS_TAKE_ANY = {
  *('data.source', 'data.validation', 'data.loader', 'keep_best_by', 'resume'),
  *('log_every', 'save_every', 'validate_every', 'steps_per_call'),
  *('stages.pretrain.steps', 'stages.gan.steps'),
  *('stages.pretrain.learning_rate', 'stages.gan.learning_rate'),
  *('stages.pretrain.schedule', 'stages.pretrain.warmup'),
}
_SETUPS: dict[str, Setup] = {}


def of(config) -> Setup:
  """The setup of a config; what one has compiled serves those like it."""
  fields = traverse_util.flatten_dict(config.to_dict(), sep='.')
  key = repr({k: v for k, v in fields.items() if k not in _PROGRAMS_TAKE_ANY})
  if key not in _SETUPS:
    _SETUPS[key] = Setup(config)
  return _SETUPS[key].reschedule(config)
