"""Adam and the learning-rate schedules (paper section 3.2)."""

from collections.abc import Sequence
import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

ScheduleName = Literal['constant', 'cosine']


@functools.cache
def adam(learning_rate: float = 0.0) -> optax.GradientTransformation:
  """Adam with the paper's beta1 = 0.9; beta2 and epsilon are the usual ones.

  The learning rate is a value in the state (`hyperparams`), so that a compiled
  step depends neither on the schedule nor on its length. The same rate gives
  the same object, because a state with another one is traced anew.
  """
  return optax.inject_hyperparams(
    optax.adam, static_args=('b1', 'b2', 'eps', 'eps_root')
  )(learning_rate=learning_rate, b1=0.9, b2=0.999, eps=1e-8)


def rates(schedule: optax.Schedule, steps: int) -> np.ndarray:
  """The learning rate of each update: float32 [steps]."""
  return np.asarray(jax.jit(jax.vmap(schedule))(jnp.arange(steps)), np.float32)


def pretrain_schedule(
  name: ScheduleName, peak: float, steps: int, warmup: int = 0
) -> optax.Schedule:
  """The SRResNet stage's learning rate.

  'constant' is the paper's, 'cosine' decays to 0 at `steps`; both rise linearly
  from 0 to the peak in `warmup` updates.
  """
  if name == 'constant':
    main = optax.constant_schedule(peak)
  else:
    main = optax.cosine_decay_schedule(peak, steps - warmup)
  return _after_warmup(main, peak, warmup)


def gan_schedule(
  initial: float, boundaries: Sequence[int], warmup: int = 0
) -> optax.Schedule:
  """The GAN stage's learning rate, for both networks.

  It rises linearly from 0 to `initial` (1e-4 in the paper) in `warmup` updates
  and falls to a tenth after each of the `boundaries` (1e5 in the paper).
  """
  main = optax.piecewise_constant_schedule(
    initial, {int(step) - warmup: 0.1 for step in boundaries}
  )
  return _after_warmup(main, initial, warmup)


def _after_warmup(
  main: optax.Schedule, peak: float, warmup: int
) -> optax.Schedule:
  if not warmup:
    return main
  # The first update already moves: rates peak/warmup, 2*peak/warmup, ..., peak.
  rise = optax.linear_schedule(peak / warmup, peak, max(warmup - 1, 1))
  return optax.join_schedules([rise, main], [warmup])
