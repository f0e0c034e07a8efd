"""Adam and the learning-rate schedules (paper section 3.2)."""

from collections.abc import Sequence
from typing import Literal

import optax

ScheduleName = Literal['constant', 'cosine']


def adam(schedule: optax.Schedule) -> optax.GradientTransformation:
  """Adam with the paper's beta1 = 0.9; beta2 and epsilon are the usual ones."""
  return optax.adam(schedule, b1=0.9, b2=0.999, eps=1e-8)


def pretrain_schedule(
  name: ScheduleName, peak: float, steps: int, warmup: int = 0
) -> optax.Schedule:
  """The SRResNet stage's learning rate.

  Args:
    name: 'constant', the paper's, or 'cosine', which decays to 0 at `steps`.
    peak: the learning rate after the warm-up.
    steps: the stage's length in updates.
    warmup: updates over which the rate first rises linearly from 0.

  Raises:
    ValueError: for another name, or a warm-up that fills the stage.
  """
  if not 0 <= warmup < max(steps, 1):
    raise ValueError(
      f'stages.pretrain.warmup must lie in 0..{steps - 1}, not {warmup}'
    )
  if name == 'constant':
    main = optax.constant_schedule(peak)
  elif name == 'cosine':
    main = optax.cosine_decay_schedule(peak, steps - warmup)
  else:
    raise ValueError(
      f"stages.pretrain.schedule must be 'constant' or 'cosine', not {name!r}"
    )
  if not warmup:
    return main
  # The first update already moves: rates peak/warmup, 2*peak/warmup, ..., peak.
  rise = optax.linear_schedule(peak / warmup, peak, max(warmup - 1, 1))
  return optax.join_schedules([rise, main], [warmup])


def gan_schedule(
  initial: float, boundaries: Sequence[int], factor: float = 0.1
) -> optax.Schedule:
  """The GAN stage's: a tenth after each boundary (1e-4, then 1e-5 from 1e5)."""
  return optax.piecewise_constant_schedule(
    initial, {int(step): factor for step in boundaries}
  )
