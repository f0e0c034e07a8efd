"""Networks by what a file says of them: sizes, switches, tensors' names.

An architecture is a dict of JSON values. A generator's has `blocks` and
`channels`, and of `middle`, `output`, `skip_connections` and `input_mean` what
is not the paper's; a discriminator's has `channels` and the `image_size` that
its dense layer takes. What comes from a file is checked before anything is
built from it.
"""

from collections.abc import Mapping
import functools
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from srgan_jax.models import generator as generator_lib
from srgan_jax.models.discriminator import Discriminator
from srgan_jax.models.generator import Generator

Shapes = dict[str, jax.ShapeDtypeStruct]

# An architecture beyond these is a damaged or hostile file, and initialising
# it, even abstractly, would take forever.
LIMITS = {'blocks': 128, 'channels': 4096, 'image_size': 4096}
_CHOICES = {
  'middle': get_args(generator_lib.Middle),
  'output': get_args(generator_lib.Output),
  'skip_connections': (True, False),
}


def of_generator(generator: Generator) -> dict[str, Any]:
  """What a file records of a generator."""
  fields: dict[str, Any] = {
    'blocks': generator.blocks,
    'channels': generator.channels,
  }
  for name in (*_CHOICES, 'input_mean'):
    value = getattr(generator, name)
    if value != getattr(Generator, name):
      fields[name] = value
  return fields


def make_generator(architecture: Mapping[str, Any]) -> Generator:
  """The generator (float32) of an architecture.

  Raises:
    ValueError: for any other fields or sizes.
  """
  fields = dict(architecture)
  mean = fields.get('input_mean', Generator.input_mean)
  is_known = (
    fields.keys() - {*_CHOICES, 'input_mean'} == {'blocks', 'channels'}
    and _are_sizes(fields, ('blocks', 'channels'))
    and all(fields.get(k, known[0]) in known for k, known in _CHOICES.items())
    and isinstance(mean, list | tuple)
    and len(mean) == 3
    and all(type(value) in (int, float) and abs(value) <= 1 for value in mean)
  )
  if not is_known:
    raise ValueError(
      'the architecture must be blocks and channels (and may be '
      f'{", ".join(_CHOICES)}, input_mean), not {fields!r}'
    )
  return Generator(**fields | {'input_mean': tuple(map(float, mean))})


def make_discriminator(architecture: Mapping[str, Any]) -> Discriminator:
  """The discriminator (float32) of an architecture.

  Raises:
    ValueError: for any other fields or sizes.
  """
  sizes = ('channels', 'image_size')
  if architecture.keys() != set(sizes) or not _are_sizes(architecture, sizes):
    raise ValueError(
      'the architecture must be channels and image_size, not '
      f'{dict(architecture)!r}'
    )
  return Discriminator(architecture['channels'])


def find_fault(
  network: Generator | Discriminator,
  flat: Mapping[str, Any],
  image_size: int,
) -> str | None:
  """What keeps arrays by name, 'params/conv_in/kernel', from being a network's.

  A discriminator's depend on the side of its images.
  """
  return compare(flat, _shapes_of(network, image_size))


@functools.cache
def _shapes_of(network: Generator | Discriminator, image_size: int) -> Shapes:
  """The shapes of a network's variables; a generator's blocks are alike."""
  blocks = network.blocks if isinstance(network, Generator) else 0
  one = network.clone(blocks=1) if blocks else network
  found = shapes(
    lambda key, x: one.init(key, x, train=False),
    jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32),
  )
  return {
    name.replace('block_0', f'block_{i}'): shape
    for name, shape in found.items()
    for i in range(blocks if 'block_0' in name else 1)
  }


def shapes(init: Any, sample: jax.ShapeDtypeStruct) -> Shapes:
  """What `init(key, sample)` would make, by name, without making it."""
  with jax.numpy_rank_promotion('allow'):  # no setting makes a file faulty
    tree = jax.eval_shape(lambda x: init(jax.random.key(0), x), sample)
  return {
    '/'.join(key.key for key in path): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def compare(flat: Mapping[str, Any], expected: Shapes) -> str | None:
  """What is wrong with the tensors' names and shapes, if anything."""
  if missing := sorted(expected.keys() - flat.keys()):
    return f'lacks {missing[0]} ({len(missing)} tensors missing)'
  if unknown := sorted(flat.keys() - expected.keys()):
    return (
      f'has {unknown[0]}, which its architecture lacks ({len(unknown)} such '
      'tensors)'
    )
  for name, shape in expected.items():
    if np.shape(flat[name]) != shape.shape:
      return f'{name} is {np.shape(flat[name])}, not {shape.shape}'
  return None


def _are_sizes(fields: Mapping[str, Any], names: tuple[str, ...]) -> bool:
  return all(
    type(fields.get(k)) is int and 1 <= fields[k] <= LIMITS[k] for k in names
  )
