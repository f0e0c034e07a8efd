"""What leaves this package: the generator, and what `load` adds to it."""

from typing import Any

import jax
import numpy as np

from srgan_jax import files, weights
from srgan_jax.models import folded
from srgan_jax.models.generator import Generator
from srgan_jax.upscaling import back_projection


def read(path: files.Path) -> tuple[Generator, dict[str, Any], dict[str, Any]]:
  """A generator to write for others: the module, its variables, its training.

  Its training has `back_project`, 0 where the file recommends none.

  Raises:
    ValueError: one line, where the file is no generator of ours, recommends
      what is no back-projection, or can give no numbers.
  """
  generator, variables, metadata = weights.load_generator(path)
  training = metadata['training']
  steps = back_projection.recommended(training, path)
  with np.errstate(over='ignore'):
    params = folded.fold(generator, variables)
  if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params)):
    raise ValueError(
      f'{path}: with BN folded in, its convolutions are not finite (is a '
      'variance negative?)'
    )
  return generator, variables, training | {'back_project': steps}


def back_projection_notes(training: dict[str, Any]) -> list[str]:
  """A line where `load` adds back-projection, which an export leaves out."""
  steps = training['back_project']
  if not steps:
    return []
  count = '1 step' if steps == 1 else f'{steps} steps'
  return [f'`load` adds {count} of back-projection to this: docs/export.md']
