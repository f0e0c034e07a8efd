"""VGG networks as files, with the convention of their features."""

from collections.abc import Mapping
import dataclasses
import re
from typing import Any

from flax import traverse_util
import jax
import jax.numpy as jnp

from srgan_jax import files
from srgan_jax.models import vgg
from srgan_jax.weights import architecture as architecture_lib
from srgan_jax.weights import container

# What a VGG file says of its origin, each key with the form of its value.
_VGG_PROVENANCE = {
  'source': '.+',
  'source_sha256': '[0-9a-f]{64}',
  'converter_version': '.+',
}
_MAX_SCALE = 1e9


def save_vgg(
  path: files.Path,
  network: vgg.PerceptualNetwork,
  *,
  source_sha256: str,
  converter_version: str,
  feature_scale_reason: str = '',
  dtype: container.Dtype = 'float32',
) -> None:
  """Writes a VGG's convolutions with the convention of its features.

  Args:
    path: the file.
    network: what `load_vgg` shall return.
    source_sha256: of the file that the parameters come from, 64 digits.
    converter_version: of the tool that read it.
    feature_scale_reason: why the feature scales are what they are.
    dtype: what the tensors are rounded to in the file.

  Raises:
    ValueError: where the parameters are not those of the depth, or a value is
      too large for the dtype.
  """
  tensors = {'params': network.params}
  flat = traverse_util.flatten_dict(tensors, sep='/')
  if fault := find_vgg_fault(network.depth, flat):
    raise ValueError(f'{path}: {fault}')
  container.save(
    path,
    'vgg',
    tensors,
    {
      'architecture': {'depth': network.depth},
      'preprocessing': dataclasses.asdict(network.preprocessing),
      'feature_scale': dict(network.feature_scale),
      'source': network.source,
      'source_sha256': source_sha256,
      'converter_version': converter_version,
      'feature_scale_reason': feature_scale_reason,
    },
    dtype=dtype,
  )


def load_vgg(path: files.Path) -> vgg.PerceptualNetwork:
  """Reads a VGG that `convert.vgg` wrote.

  Raises:
    ValueError: as `load`, and where a tensor's name or shape is not the
      architecture's, or the file does not say which preprocessing and which
      feature scale its weights take, and what it was converted from by what.
  """
  variables, metadata = container.load(path, 'vgg', _find_file_fault)
  scales = metadata['feature_scale']
  return vgg.PerceptualNetwork(
    params=jax.device_put(variables['params']),
    depth=metadata['architecture']['depth'],
    preprocessing=vgg.Preprocessing(**metadata['preprocessing']),
    feature_scale=tuple((k, float(v)) for k, v in sorted(scales.items())),
    source=str(metadata['source']),
  )


def _find_file_fault(
  shapes: Mapping[str, Any], metadata: dict[str, Any]
) -> str | None:
  """What keeps a file from being a VGG's, if anything."""
  for key, pattern in _VGG_PROVENANCE.items():
    if not re.fullmatch(pattern, str(metadata.get(key, ''))):
      return f'does not record its {key}'
  for key in ('preprocessing', 'feature_scale'):
    if not isinstance(metadata.get(key), dict):
      return f'does not record its {key}'
  try:
    vgg.Preprocessing(**metadata['preprocessing'])
  except (TypeError, ValueError, OverflowError) as error:
    return f'has a wrong preprocessing: {error}'
  depth = metadata['architecture'].get('depth')
  if fault := find_vgg_fault(depth, shapes):
    return fault
  for layer, scale in metadata['feature_scale'].items():
    if (
      layer not in vgg.LAYERS[depth]
      or type(scale) not in (int, float)
      or not 0 < scale < _MAX_SCALE
    ):
      return f'has a wrong feature_scale: {layer}={scale!r}'
  return None


def find_vgg_fault(depth: Any, flat: Mapping[str, Any]) -> str | None:
  """What keeps arrays by name, 'params/conv1_1/kernel', from being a VGG's.

  A VGG may end early, at any layer, but has every tensor up to there.
  """
  if type(depth) is not int or depth not in vgg.LAYERS:
    return f'is a VGG of depth {depth!r}, not 16 or 19'
  present = {name.split('/')[1] for name in flat if name.count('/') == 2}
  last = max(
    (name for name in vgg.LAYERS[depth] if name in present),
    default=vgg.LAYERS[depth][-1],
  )
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  return architecture_lib.compare(
    flat, architecture_lib.shapes(vgg.VGG(depth, last).init, image)
  )
