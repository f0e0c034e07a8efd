"""Upscales pictures by 4 with a trained generator.

From Python, `srgan_jax.load('generator.safetensors')(image)`; as a command,

  python -m srgan_jax.upscale IN... -o OUT --model FILE
"""

import argparse
from collections.abc import Sequence
import functools
import pathlib
import sys
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from srgan_jax import files, pretrained, weights
from srgan_jax.imaging import color, io
from srgan_jax.models.generator import Generator


class Upscaler:
  """A generator with its weights, called on one picture.

  It computes in float32 with the highest precision and with BN's running
  statistics. A picture goes through the network whole: each new size compiles
  once.
  """

  def __init__(self, generator: Generator, variables: Any):
    self._generator = generator
    self.variables = variables

  def __call__(self, image: np.ndarray) -> np.ndarray:
    """Upscales uint8 RGB [H, W, 3] to uint8 [4H, 4W, 3].

    Raises:
      ValueError: for another dtype or shape.
      FloatingPointError: where the network's output is not finite.
    """
    image = np.asarray(image)
    if (
      image.dtype != np.uint8
      or image.ndim != 3
      or image.shape[-1] != 3
      or 0 in image.shape
    ):
      raise ValueError(
        'an image to upscale must be uint8 [H, W, 3], not '
        f'{image.dtype} {list(image.shape)}'
      )
    sr, finite = _upscale(self._generator, self.variables, image)
    if not finite:
      raise FloatingPointError('the generator made values that are not finite')
    return np.asarray(sr)


@functools.partial(jax.jit, static_argnums=0)
def _upscale(
  generator: Generator, variables: Any, image: jax.Array
) -> tuple[jax.Array, jax.Array]:
  with jax.default_matmul_precision('highest'):
    x = color.uint8_to_unit(image)[None]
    sr = cast(jax.Array, generator.apply(variables, x, train=False))
  return color.signed_to_uint8(sr[0]), jnp.isfinite(sr).all()


def load(model: str | pathlib.Path) -> Upscaler:
  """Loads a generator, ready to be called on pictures.

  Args:
    model: a shipped name ('srgan', 'srresnet') or a weights file.

  Raises:
    ValueError: one line, where the file is not a generator of this project.
  """
  generator, variables, _ = weights.load_generator(pretrained.find(model))
  return Upscaler(generator, variables)


def main(arguments: Sequence[str] | None = None) -> int:
  """The command: upscales files and all pictures of folders into a folder."""
  parser = argparse.ArgumentParser(
    prog='srgan-upscale', description='Upscales pictures by 4.'
  )
  parser.add_argument('input', nargs='+', type=pathlib.Path)
  parser.add_argument('-o', '--output', required=True, type=pathlib.Path)
  parser.add_argument(
    '--model', required=True, help='a generator.safetensors of a training run'
  )
  options = parser.parse_args(arguments)
  try:
    upscaler = load(options.model)
    pictures = _plan(options.input, options.output)
  except ValueError as error:
    print(f'srgan-upscale: {error}', file=sys.stderr)
    return 1
  failed = 0
  for source, target in pictures.items():
    try:
      sr = upscaler(io.read_rgb(source, str(source)))
      target.parent.mkdir(parents=True, exist_ok=True)
      with files.replacing(target) as beside:
        Image.fromarray(sr).save(beside, format='PNG')
    except (ValueError, OSError, FloatingPointError) as error:
      print(f'srgan-upscale: {error}', file=sys.stderr)
      failed += 1
    else:
      print(target)
  return 1 if failed else 0


def _plan(
  inputs: Sequence[pathlib.Path], output: pathlib.Path
) -> dict[pathlib.Path, pathlib.Path]:
  """Where each picture goes; no picture may take another's place.

  Raises:
    ValueError: naming two pictures with one target, or one that would be
      overwritten.
  """
  suffixes = {
    suffix
    for suffix, kind in Image.registered_extensions().items()
    if kind in Image.OPEN
  }
  relative: dict[pathlib.Path, pathlib.Path] = {}
  for path in inputs:
    if path.is_dir():
      for file in sorted(path.rglob('*')):
        if file.suffix.lower() in suffixes:
          relative[file] = file.relative_to(path)
    else:
      relative[path] = pathlib.Path(path.name)
  sources = {path.resolve() for path in relative}
  plan: dict[pathlib.Path, pathlib.Path] = {}
  taken: dict[pathlib.Path, pathlib.Path] = {}
  for path, name in relative.items():
    target = (output / name).with_suffix('.png')
    if target.resolve() in sources:
      raise ValueError(f'{target} is an input and would be overwritten')
    if target in taken:
      raise ValueError(f'{taken[target]} and {path} would both be {target}')
    plan[path], taken[target] = target, path
  return plan


if __name__ == '__main__':
  sys.exit(main())
