"""What a generator learns from itself: to agree with the LR."""

import dataclasses
from typing import Any

import jax

from srgan_jax import SCALE
from srgan_jax.models.generator import Generator
from srgan_jax.upscaling import back_projection

EDGE = SCALE * back_projection.HALO_PER_STEP  # HR pixels of a crop


@dataclasses.dataclass(frozen=True)
class Teacher:
  """The generator that a stage starts from, with a step of back-projection.

  Attributes:
    generator: G, in what a stage computes in.
    variables: as the stage found them.
    label: what its file calls it.
  """

  generator: Generator
  variables: Any
  label: str

  def __call__(self, lr: jax.Array) -> jax.Array:
    """What SR should be `inside` LR crops, float32 in about [-1, 1]."""
    sr: Any = self.generator.apply(self.variables, lr, train=False)
    return self.inside(back_projection.back_project(sr, lr, None, steps=1))

  def inside(self, sr: jax.Array) -> jax.Array:
    """SR [N, 4h, 4w, 3] without its edges: [N, 4h - 32, 4w - 32, 3].

    There the LR comes of pixels beyond the crop.
    """
    return sr[:, EDGE:-EDGE, EDGE:-EDGE]
