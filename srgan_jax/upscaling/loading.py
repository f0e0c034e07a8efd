"""Generators by name or file, ready to be called on pictures."""

import os
from typing import Any

from srgan_jax import pretrained, weights
from srgan_jax.models.generator import Generator
from srgan_jax.upscaling import Precision, back_projection
from srgan_jax.upscaling.upscaler import Tile, Upscaler


def load(
  model: str | os.PathLike[str] = pretrained.DEFAULT,
  *,
  tile: Tile = 'auto',
  precision: Precision = 'float32',
  back_project: int | None = None,
  strength: float = 1.0,
) -> Upscaler:
  """Loads a generator.

  Args:
    model: a shipped name ('srgan', 'srresnet'), a published one that a command
      has fetched ('krasserm-srgan'), a repository on the Hugging Face Hub
      ('hf:USER/REPO'), or a weights file.
    tile: see `Upscaler`.
    precision: see `Upscaler`.
    back_project: see `Upscaler`; None for the steps that the file recommends,
      none where it says nothing of them.
    strength: see `read_generator`.

  Raises:
    ValueError: one line, where the file is not a generator of this project or
      an argument is out of its range.
  """
  generator, variables, metadata = read_generator(model, strength)
  if back_project is None:
    back_project = back_projection.recommended(metadata['training'], model)
  return Upscaler(
    generator,
    variables,
    tile=tile,
    precision=precision,
    back_project=back_project,
    training=metadata['training'],
  )


def read_generator(
  model: str | os.PathLike[str], strength: float = 1.0
) -> tuple[Generator, Any, dict[str, Any]]:
  """Reads a generator, or one between it and its SRResNet.

  Args:
    model: as for `load`.
    strength: the share of the model in the weights, from 0 to 1; the rest is
      that of the SRResNet that it was trained on from.

  Returns:
    The module, its variables and the model's metadata.

  Raises:
    ValueError: as `load`, or where the two were trained apart.
  """
  if not 0 <= strength <= 1:
    raise ValueError(f'the strength must be from 0 to 1, not {strength:g}')
  generator, variables, metadata = weights.load_generator(
    pretrained.find(model)
  )
  if strength < 1:
    srresnet = pretrained.find_srresnet(model)
    _, theirs, their_metadata = weights.load_generator(srresnet)
    variables = weights.mix(
      [
        (str(model), variables, metadata),
        (str(srresnet), theirs, their_metadata),
      ],
      [strength, 1 - strength],
    )
  return generator, variables, metadata
