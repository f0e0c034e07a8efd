"""What a generator learns from itself: to agree with the LR."""

import dataclasses
from typing import Any

import jax

from srgan_jax import SCALE
from srgan_jax.models.generator import Generator
from srgan_jax.training import step as step_lib
from srgan_jax.upscaling import back_projection


@dataclasses.dataclass(frozen=True)
class Teacher:
  """The generator that a stage starts from, with a step of back-projection.

  Attributes:
    generator: G, in what a stage computes in.
    variables: as the stage found them.
    label: what its file calls it.
  """

  generator: Generator
  variables: step_lib.Variables
  label: str

  def __call__(self, lr: jax.Array) -> jax.Array:
    """What SR should be, float32 [N, 4h, 4w, 3] in [-1, 1], of LR crops.

    At the edges, where the LR comes of pixels beyond the crop, it is SR as it
    is.
    """
    sr: Any = self.generator.apply(self.variables, lr, train=False)
    inside = slice(edge := SCALE * back_projection.HALO_PER_STEP, -edge)
    consistent = back_projection.back_project(sr, lr, None, steps=1)
    return sr.at[:, inside, inside].set(consistent[:, inside, inside])
