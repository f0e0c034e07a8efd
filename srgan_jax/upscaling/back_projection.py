"""Back-projection: SR that agrees with the LR it was made from.

Irani and Peleg 1991: made smaller by the degradation, SR should be LR again.
Each step adds what is missing, SR += up(LR - down(SR)), where `down` and `up`
are the exact resizes by 1/4 and by 4, both with clamped edges. LR that is noisy
or compressed is not what a smaller SR should be.
"""

from collections.abc import Mapping
from typing import Any

import jax

from srgan_jax import SCALE, files
from srgan_jax.imaging import resize

# How far one step sees, in LR pixels to each side: each resize two.
HALO_PER_STEP = 4

_MOST_STEPS = 100


def check(steps: Any) -> int:
  """The steps, where they are a number of them.

  Raises:
    ValueError: where they are no whole number from 0 to 100.
  """
  if type(steps) is not int or not 0 <= steps <= _MOST_STEPS:
    raise ValueError(
      f'back_project must be a whole number from 0 to {_MOST_STEPS}, not '
      f'{steps!r}'
    )
  return steps


def recommended(training: Mapping[str, Any], path: files.Path) -> int:
  """The steps that a weights file recommends; 0 where it says nothing.

  Raises:
    ValueError: as `check`, naming the file.
  """
  try:
    return check(training.get('back_project', 0))
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error


def back_project(
  sr: jax.Array, lr: jax.Array, sizes: jax.Array | None, steps: int
) -> jax.Array:
  """Takes steps of back-projection.

  Args:
    sr: float32 [N, 4H, 4W, C] in [-1, 1]; clipped first.
    lr: float32 [N, H, W, C] in [0, 1].
    sizes: int32 [N, 2], the LR height and width of each picture in the top left
      of its buffer; None where they fill their buffers.
    steps: how many.

  Returns:
    Like `sr`, not clipped, meaningless outside the pictures.
  """
  hr_sizes = None if sizes is None else SCALE * sizes

  def step(_: int, sr: jax.Array) -> jax.Array:
    missing = lr - resize.resize_buffers(sr, hr_sizes, 1 / SCALE)
    return sr + resize.resize_buffers(missing, sizes, SCALE)

  unit = (sr.clip(-1, 1) + 1) / 2
  return 2 * jax.lax.fori_loop(0, steps, step, unit) - 1
