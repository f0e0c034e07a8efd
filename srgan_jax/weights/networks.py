"""Generators and discriminators as files: the module with its variables."""

from collections.abc import Mapping
from typing import Any, cast

from flax import traverse_util
import jax
import jax.numpy as jnp

from srgan_jax import files
from srgan_jax.models.discriminator import Discriminator
from srgan_jax.models.generator import SCALE, Generator
from srgan_jax.weights import architecture as architecture_lib
from srgan_jax.weights import container


def save_generator(
  path: files.Path,
  variables: Any,
  *,
  architecture: Mapping[str, Any],
  training: Mapping[str, Any],
  dtype: container.Dtype = 'float32',
) -> None:
  """Writes a generator.

  Args:
    path: the file.
    variables: {'params', 'batch_stats'}.
    architecture: as `weights.architecture` describes it.
    training: how it came to be, JSON-compatible: 'steps', 'data', 'figures'
      (by protocol and data set), 'config', whatever is known.
    dtype: what the tensors are stored as. In float16 the file is half as large,
      and 1 % of the values that the shipped generators make of Set5 change by
      one of 255 levels.

  Raises:
    ValueError: where the variables are not those of the architecture.
  """
  facts = {'scale': SCALE, 'input_range': [0, 1], 'output_range': [-1, 1]}
  _save_network(
    path, 'generator', variables, architecture, training, dtype, facts
  )


def load_generator(
  path: files.Path,
) -> tuple[Generator, dict[str, Any], dict[str, Any]]:
  """Reads a generator: the module (float32), its variables, its metadata.

  Raises:
    ValueError: as `load`, and where a tensor's name or shape is not the
      architecture's.
  """
  module, variables, metadata = _load_network(path, 'generator')
  return cast(Generator, module), variables, metadata


def save_discriminator(
  path: files.Path,
  variables: Any,
  *,
  architecture: Mapping[str, Any],
  training: Mapping[str, Any],
  dtype: container.Dtype = 'float32',
) -> None:
  """Writes a discriminator.

  Args:
    path: the file.
    variables: {'params', 'batch_stats'}.
    architecture: {'channels', 'image_size'}: of `Discriminator`, and the side
      of the images that it was made for.
    training: as for a generator.
    dtype: what the tensors are stored as.

  Raises:
    ValueError: where the variables are not those of the architecture.
  """
  facts = {'input_range': [-1, 1]}
  _save_network(
    path, 'discriminator', variables, architecture, training, dtype, facts
  )


def load_discriminator(
  path: files.Path,
) -> tuple[Discriminator, dict[str, Any], dict[str, Any]]:
  """Reads a discriminator: the module, its variables, its metadata.

  Raises:
    ValueError: as `load_generator`.
  """
  module, variables, metadata = _load_network(path, 'discriminator')
  return cast(Discriminator, module), variables, metadata


def _save_network(
  path: files.Path,
  kind: container.Kind,
  variables: Any,
  architecture: Mapping[str, Any],
  training: Mapping[str, Any],
  dtype: container.Dtype,
  facts: Mapping[str, Any],
) -> None:
  """Writes a network's file, with `facts` of its own kind beside the rest."""
  flat = traverse_util.flatten_dict(variables, sep='/')
  try:
    _check(kind, architecture, flat)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from None
  metadata = {
    'architecture': dict(architecture),
    'training': dict(training),
    **facts,
  }
  container.save(path, kind, variables, metadata, dtype=dtype)


def _load_network(
  path: files.Path, kind: container.Kind
) -> tuple[Generator | Discriminator, dict[str, Any], dict[str, Any]]:
  def find_fault(
    shapes: Mapping[str, Any], metadata: Mapping[str, Any]
  ) -> str | None:
    if not isinstance(metadata.get('training'), dict):
      return 'does not record its training'
    try:
      _check(kind, metadata['architecture'], shapes)
    except ValueError as error:
      return str(error)
    return None

  flat, metadata = container.read(path, kind, find_fault)
  module = _make(kind, metadata['architecture'])
  variables = jax.tree.map(jnp.asarray, container.unflatten(flat))
  return module, variables, metadata


def _make(
  kind: container.Kind, architecture: Mapping[str, Any]
) -> Generator | Discriminator:
  if kind == 'generator':
    return architecture_lib.make_generator(architecture)
  return architecture_lib.make_discriminator(architecture)


def _check(
  kind: container.Kind, architecture: Mapping[str, Any], flat: Mapping[str, Any]
) -> None:
  """Raises ValueError where tensors are not those of the architecture."""
  module = _make(kind, architecture)
  # Each block has a name of its own: what claims more is not worth a look.
  if architecture.get('blocks', 0) > len(flat):
    raise ValueError(
      f'has {len(flat)} tensors, too few for {architecture["blocks"]} blocks'
    )
  side = architecture.get('image_size', 8)
  if fault := architecture_lib.find_fault(module, flat, side):
    raise ValueError(fault)
