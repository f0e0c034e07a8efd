"""From uint8 crops to a training batch, inside the compiled step.

The LR crop is made first and both are flipped or rotated together afterwards:
because of the rounding between the passes, a transposed crop's LR is another
picture. (Paper section 3.2; the degradation of section 2.)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from srgan_jax.data import degradation
from srgan_jax.imaging import color, resize

FLIP_VERTICAL, FLIP_HORIZONTAL, TRANSPOSE = 1, 2, 4


class Batch(NamedTuple):
  """A training batch.

  Attributes:
    lr: float32 [N, h, w, 3] in [0, 1].
    hr: float32 [N, 4h, 4w, 3] in [-1, 1].
  """

  lr: jax.Array
  hr: jax.Array


def make_batch(
  crop: jax.Array,
  symmetry: jax.Array,
  degradation_key: jax.Array | None = None,
) -> Batch:
  """Makes LR and HR crops and applies each example's symmetry to both.

  Args:
    crop: uint8 [N, size + 16, size + 16, 3], square HR crops with 8 pixels of
      context to each side, on the LR grid.
    symmetry: int32 [N] in 0..7, one of the square's eight symmetries.
    degradation_key: decides what the LR suffers (`degradation.degrade`); by
      default it is the exact bicubic one.

  Returns:
    The batch, in float32.
  """
  return as_floats(make_pictures(crop, symmetry, degradation_key))


def make_pictures(
  crop: jax.Array,
  symmetry: jax.Array,
  degradation_key: jax.Array | None = None,
) -> Batch:
  """The batch of `make_batch` in uint8, with values 0..255."""
  if degradation_key is None:
    lr = resize.downscale_crops(crop)
  else:
    lr = degradation.degrade(degradation_key, crop)
  inside = slice(resize.CONTEXT, -resize.CONTEXT)
  hr = crop[:, inside, inside]
  return Batch(apply_symmetry(lr, symmetry), apply_symmetry(hr, symmetry))


def as_floats(pictures: Batch) -> Batch:
  """A batch in float32 and the networks' ranges, of one in uint8."""
  return Batch(
    lr=color.uint8_to_unit(pictures.lr), hr=color.uint8_to_signed(pictures.hr)
  )


def apply_symmetry(images: jax.Array, symmetry: jax.Array) -> jax.Array:
  """Flips and transposes each square image of [N, S, S, C] by its own code."""
  for bit, moved in (
    (FLIP_VERTICAL, lambda x: x[:, ::-1]),
    (FLIP_HORIZONTAL, lambda x: x[:, :, ::-1]),
    (TRANSPOSE, lambda x: x.swapaxes(1, 2)),
  ):
    chosen = (symmetry & bit != 0)[:, None, None, None]
    images = jnp.where(chosen, moved(images), images)
  return images
