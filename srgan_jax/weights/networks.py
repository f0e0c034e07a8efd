"""Generators and discriminators as files: the module with its variables."""

from collections.abc import Callable, Mapping
from typing import Any

from flax import traverse_util
import jax

from srgan_jax import SCALE, files
from srgan_jax.models.discriminator import Discriminator
from srgan_jax.models.generator import Generator
from srgan_jax.weights import architecture as architecture_lib
from srgan_jax.weights import container

_MAKERS: dict[container.Kind, Callable[[Mapping[str, Any]], Any]] = {
  'generator': architecture_lib.make_generator,
  'discriminator': architecture_lib.make_discriminator,
}
_FACTS: dict[container.Kind, dict[str, Any]] = {
  'generator': {
    'scale': SCALE,
    'input_range': [0, 1],
    'output_range': [-1, 1],
  },
  'discriminator': {'input_range': [-1, 1]},
}


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
      (by data set, then metric; a run's by metric, of its validation images),
      'config', whatever is known.
    dtype: what the tensors are stored as. In float16 the file is half as large,
      and 1 % of the values that the shipped generators make of Set5 change by
      one of 255 levels.

  Raises:
    ValueError: where the variables are not those of the architecture.
  """
  _save('generator', path, variables, architecture, training, dtype)


def load_generator(
  path: files.Path,
) -> tuple[Generator, dict[str, Any], dict[str, Any]]:
  """Reads a generator: the module (float32), its variables, its metadata.

  Raises:
    ValueError: as `load`, and where a tensor's name or shape is not the
      architecture's, or the file states another scale or range of values.
  """
  return _load('generator', path)


def save_discriminator(
  path: files.Path,
  variables: Any,
  *,
  architecture: Mapping[str, Any],
  training: Mapping[str, Any],
  dtype: container.Dtype = 'float32',
) -> None:
  """Writes a discriminator, as `save_generator` does.

  Its architecture has `image_size`, the side of the images it was made for.
  """
  _save('discriminator', path, variables, architecture, training, dtype)


def load_discriminator(
  path: files.Path,
) -> tuple[Discriminator, dict[str, Any], dict[str, Any]]:
  """Reads a discriminator, as `load_generator` does."""
  return _load('discriminator', path)


def rights(training: Mapping[str, Any]) -> dict[str, str]:
  """The author and licence that a network's training record states."""
  return {
    name: str(training[name])
    for name in ('author', 'licence')
    if training.get(name)
  }


def _save(
  kind: container.Kind,
  path: files.Path,
  variables: Any,
  architecture: Mapping[str, Any],
  training: Mapping[str, Any],
  dtype: container.Dtype,
) -> None:
  flat = traverse_util.flatten_dict(variables, sep='/')
  if fault := _find_fault(kind, architecture, flat):
    raise ValueError(f'{path}: {fault}')
  facts = {'architecture': dict(architecture), 'training': dict(training)}
  metadata = facts | _FACTS[kind]
  container.save(path, kind, variables, metadata, dtype=dtype)


def _load(kind: container.Kind, path: files.Path) -> tuple[Any, Any, Any]:
  def find_fault(
    shapes: Mapping[str, Any], metadata: Mapping[str, Any]
  ) -> str | None:
    if not isinstance(metadata.get('training'), dict):
      return 'does not record its training'
    for name, fact in _FACTS[kind].items():
      if (stated := metadata.get(name, fact)) != fact:  # older files lack some
        return f'has {name} {stated!r}; only {fact!r} is read'
    return _find_fault(kind, metadata['architecture'], shapes)

  variables, metadata = container.load(path, kind, find_fault)
  variables = jax.device_put(variables)
  return _MAKERS[kind](metadata['architecture']), variables, metadata


def _find_fault(
  kind: container.Kind, architecture: Mapping[str, Any], flat: Mapping[str, Any]
) -> str | None:
  """What keeps tensors from being those of the architecture, if anything.

  Raises:
    ValueError: where that is no architecture.
  """
  module = _MAKERS[kind](architecture)
  # No block is without tensors: do not even describe what claims more.
  if architecture.get('blocks', 0) > len(flat):
    return (
      f'has {len(flat)} tensors, too few for {architecture["blocks"]} blocks'
    )
  side = architecture.get('image_size', 8)
  return architecture_lib.find_fault(module, flat, side)
