"""Weight files: safetensors with their metadata, the one format in and out.

A file states what it is, so that nothing is guessed when it is read: the kind
of network, its architecture, and for a VGG the preprocessing that it was
trained with, for a generator its scale, ranges and training. Tensors are
float32, named by their path in the Flax tree: 'params/conv_in/kernel',
'batch_stats/block_0/norm_0/mean'. Nothing is ever unpickled here.

Metadata (safetensors keeps strings): `format`, `format_version` and `kind` are
plain, every other value is JSON.

  all:       architecture {...}
  generator: scale, input_range, output_range, training {steps, data, ...}
  vgg:       preprocessing {...}, feature_scale {layer: factor},
             feature_scale_reason, source, source_sha256, converter_version
"""

from collections.abc import Mapping
import dataclasses
import json
import math
import os
import pathlib
import struct
from typing import Any, Literal, get_args

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from srgan_jax.models import generator as generator_lib
from srgan_jax.models import vgg

Kind = Literal['generator', 'discriminator', 'vgg']
Path = str | os.PathLike[str]

FORMAT = 'srgan_jax'
FORMAT_VERSION = '1'

_HINTS = {
  'generator': (
    'train one: python -m srgan_jax.main --config=configs/srresnet_mse.py'
  ),
  'discriminator': (
    'train one: python -m srgan_jax.main --config=configs/vgg54.py'
  ),
  'vgg': 'run python tools/convert_vgg.py SOURCE -o {path}',
}
# An architecture beyond these is a damaged or hostile file, and initialising
# it, even abstractly, would take forever.
_MAX_BLOCKS, _MAX_CHANNELS = 256, 4096


def save(
  path: Path, kind: Kind, tensors: Any, metadata: Mapping[str, Any]
) -> None:
  """Writes a weight file: beside its place first, then renamed.

  A reader, or a run that is stopped, sees the old file or the new one, whole.
  The same content gives the same bytes.

  Args:
    path: the file; its folder must exist.
    kind: 'generator', 'discriminator' or 'vgg'.
    tensors: the Flax tree of variables; written as float32.
    metadata: JSON-compatible values, 'architecture' among them.

  Raises:
    ValueError: for another kind.
  """
  if kind not in get_args(Kind):
    raise ValueError(f'kind must be one of {get_args(Kind)}, not {kind!r}')
  path = pathlib.Path(path)
  flat = traverse_util.flatten_dict(tensors, sep='/')
  data = safetensors.numpy.save(
    # Contiguous: safetensors writes the memory of a transposed array as it is.
    {k: np.ascontiguousarray(v, np.float32) for k, v in flat.items()},
    metadata={
      'format': FORMAT,
      'format_version': FORMAT_VERSION,
      'kind': kind,
      **{k: json.dumps(v, sort_keys=True) for k, v in metadata.items()},
    },
  )
  beside = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
  try:
    with open(beside, 'wb') as file:
      file.write(_sort_header(data))
      file.flush()
      os.fsync(file.fileno())
    os.replace(beside, path)
  finally:
    beside.unlink(missing_ok=True)


def load(path: Path, kind: Kind) -> tuple[dict[str, Any], dict[str, Any]]:
  """Reads a weight file of one kind.

  Args:
    path: the file.
    kind: what it must hold.

  Returns:
    The tree of float32 NumPy arrays, and the metadata, decoded.

  Raises:
    ValueError: one line naming the file and what to run: where it is missing,
      not safetensors (an HTML page, a Git LFS pointer, cut off), without this
      package's metadata, or of another kind.
  """
  flat, metadata = _read(path, kind)
  return _unflatten(flat), metadata


def save_generator(
  path: Path,
  variables: Any,
  *,
  architecture: Mapping[str, Any],
  training: Mapping[str, Any],
) -> None:
  """Writes a generator.

  Args:
    path: the file.
    variables: {'params', 'batch_stats'}.
    architecture: {'blocks', 'channels'} of `Generator`.
    training: how it came to be, JSON-compatible: 'steps', 'data', 'figures'
      (by protocol and data set), 'config', whatever is known.

  Raises:
    ValueError: where the variables are not those of the architecture.
  """
  module = _generator(path, architecture)
  flat = traverse_util.flatten_dict(variables, sep='/')
  if fault := _find_fault(flat, _generator_shapes(module)):
    raise ValueError(f'{path}: {fault}')
  save(
    path,
    'generator',
    variables,
    {
      'architecture': dict(architecture),
      'scale': generator_lib.SCALE,
      'input_range': [0, 1],
      'output_range': [-1, 1],
      'training': dict(training),
    },
  )


def load_generator(
  path: Path,
) -> tuple[generator_lib.Generator, dict[str, Any], dict[str, Any]]:
  """Reads a generator: the module (float32), its variables, its metadata.

  Raises:
    ValueError: as `load`, and where a tensor's name or shape is not the
      architecture's.
  """
  flat, metadata = _read(path, 'generator')
  module = _generator(path, metadata['architecture'])
  if fault := _find_fault(flat, _generator_shapes(module)):
    raise _error(path, 'generator', fault)
  variables = jax.tree.map(jnp.asarray, _unflatten(flat))
  return module, variables, metadata


def save_vgg(
  path: Path, network: vgg.PerceptualNetwork, **provenance: str
) -> None:
  """Writes a VGG's convolutions with the convention of its features.

  Args:
    path: the file.
    network: what `load_vgg` shall return.
    **provenance: further metadata: feature_scale_reason, source_sha256,
      converter_version.

  Raises:
    ValueError: where the parameters are not those of the depth.
  """
  if fault := find_vgg_fault(network.depth, {'params': network.params}):
    raise ValueError(f'{path}: {fault}')
  save(
    path,
    'vgg',
    {'params': network.params},
    {
      'architecture': {'depth': network.depth},
      'preprocessing': dataclasses.asdict(network.preprocessing),
      'feature_scale': dict(network.feature_scale),
      'source': network.source,
      **provenance,
    },
  )


def load_vgg(path: Path) -> vgg.PerceptualNetwork:
  """Reads a VGG that `tools/convert_vgg.py` wrote.

  Raises:
    ValueError: as `load`, and where a tensor's name or shape is not the
      architecture's, or the file does not say which preprocessing and which
      feature scale its weights take.
  """
  flat, metadata = _read(path, 'vgg')
  for key in ('preprocessing', 'feature_scale'):
    if not isinstance(metadata.get(key), dict):
      raise _error(path, 'vgg', f'does not record its {key}')
  try:
    preprocessing = vgg.Preprocessing(**metadata['preprocessing'])
  except (TypeError, ValueError) as error:
    raise _error(path, 'vgg', f'has a wrong preprocessing: {error}') from error
  depth = metadata['architecture'].get('depth')
  if fault := find_vgg_fault(depth, _unflatten(flat)):
    raise _error(path, 'vgg', fault)
  scales = metadata['feature_scale']
  for layer, scale in scales.items():
    if (
      layer not in vgg.LAYERS[depth]
      or not isinstance(scale, int | float)
      or not (math.isfinite(scale) and scale > 0)
    ):
      raise _error(path, 'vgg', f'has a wrong feature_scale: {layer}={scale!r}')
  return vgg.PerceptualNetwork(
    params=jax.tree.map(jnp.asarray, _unflatten(flat)['params']),
    depth=depth,
    preprocessing=preprocessing,
    feature_scale=tuple((k, float(v)) for k, v in sorted(scales.items())),
    source=str(metadata.get('source', '')),
  )


def find_vgg_fault(depth: Any, variables: Any) -> str | None:
  """What keeps variables from being those of a VGG of that depth, if anything.

  A VGG may end early, at any layer, but has every tensor up to there.
  """
  if type(depth) is not int or depth not in vgg.LAYERS:
    return f'is a VGG of depth {depth!r}, not 16 or 19'
  flat = traverse_util.flatten_dict(variables, sep='/')
  present = {name.split('/')[1] for name in flat if name.count('/') == 2}
  last = max(
    (name for name in vgg.LAYERS[depth] if name in present),
    default=vgg.LAYERS[depth][-1],
  )
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  return _find_fault(flat, _shapes(vgg.VGG(depth, last).init, image))


def reject_placeholder(path: Path) -> None:
  """Raises a one-line ValueError for what downloads leave in a file's place.

  A Git LFS pointer, an HTML page (an error, a licence to agree to), nothing at
  all; or no such file.
  """
  try:
    with open(path, 'rb') as file:
      head = file.read(512).lstrip().lower()
  except FileNotFoundError:
    raise ValueError(f'{path}: no such file') from None
  except OSError as error:
    raise ValueError(f'{path}: {error.strerror}') from None
  if not head:
    raise ValueError(f'{path} is empty')
  if head.startswith(b'version https://git-lfs'):
    raise ValueError(
      f'{path} is a Git LFS pointer, not the file itself (git lfs pull)'
    )
  if head.startswith((b'<!doctype', b'<html', b'<?xml')):
    raise ValueError(
      f'{path} is a web page, not weights: its download went wrong'
    )


def _read(
  path: Path, kind: Kind
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """The tensors by name and the decoded metadata of a file of `kind`."""
  try:
    reject_placeholder(path)
  except ValueError as error:
    raise ValueError(f'{error}; {_hint(path, kind)}') from None
  try:
    with safetensors.safe_open(path, framework='numpy') as file:
      metadata = _decode(path, kind, file.metadata() or {})
      flat = {name: file.get_tensor(name) for name in file.keys()}
  except safetensors.SafetensorError as error:
    detail = str(error).splitlines()[0]
    raise _error(
      path, kind, f'is cut off or not safetensors ({detail})'
    ) from error
  parents = {
    name[:i] for name in flat for i, letter in enumerate(name) if letter == '/'
  }
  if clash := sorted(parents & flat.keys()):
    raise _error(path, kind, f'{clash[0]} is both a tensor and a tree')
  for name, value in flat.items():
    if value.dtype != np.float32:
      raise _error(path, kind, f'{name} is {value.dtype}, not float32')
    if not np.isfinite(value).all():
      raise _error(path, kind, f'{name} has values that are not finite')
  return flat, metadata


def _decode(path: Path, kind: Kind, raw: Mapping[str, str]) -> dict[str, Any]:
  """Checks what every file states, and decodes the rest."""
  plain = {key: raw.get(key) for key in ('format', 'format_version', 'kind')}
  if plain['format'] != FORMAT:
    raise _error(path, kind, f'has no {FORMAT} metadata')
  if plain['format_version'] != FORMAT_VERSION:
    raise _error(
      path,
      kind,
      f'has format version {plain["format_version"]!r}, this package reads '
      f'{FORMAT_VERSION!r}',
    )
  if plain['kind'] != kind:
    raise _error(path, kind, f'holds a {plain["kind"]}, not a {kind}')
  metadata: dict[str, Any] = dict(plain)
  for key, value in raw.items():
    if key not in plain:
      try:
        metadata[key] = json.loads(value)
      except (ValueError, RecursionError):
        raise _error(path, kind, f'has metadata {key} not in JSON') from None
  if not isinstance(metadata.get('architecture'), dict):
    raise _error(path, kind, 'does not record its architecture')
  return metadata


def _generator(
  path: Path, architecture: Mapping[str, Any]
) -> generator_lib.Generator:
  limits = {'blocks': _MAX_BLOCKS, 'channels': _MAX_CHANNELS}
  if architecture.keys() != limits.keys() or not all(
    type(architecture[key]) is int and 1 <= architecture[key] <= limit
    for key, limit in limits.items()
  ):
    raise _error(
      path,
      'generator',
      'the architecture must be blocks and channels, not '
      f'{dict(architecture)!r}',
    )
  return generator_lib.Generator(**architecture)


def _generator_shapes(module: generator_lib.Generator) -> dict[str, Any]:
  lr = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
  return _shapes(lambda key, x: module.init(key, x, train=False), lr)


def _shapes(init: Any, sample: jax.ShapeDtypeStruct) -> dict[str, Any]:
  """What `init` would make, by tensor name, without making it."""
  tree = jax.eval_shape(init, jax.random.key(0), sample)
  return traverse_util.flatten_dict(tree, sep='/')


def _find_fault(
  flat: Mapping[str, Any], expected: Mapping[str, Any]
) -> str | None:
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


def _unflatten(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
  return traverse_util.unflatten_dict(flat, sep='/')


def _sort_header(data: bytes) -> bytes:
  """The same file with its metadata in order.

  safetensors writes it in an order that differs from process to process.
  """
  (length,) = struct.unpack('<Q', data[:8])
  header = json.loads(data[8 : 8 + length])
  header['__metadata__'] = dict(sorted(header['__metadata__'].items()))
  encoded = json.dumps(header, separators=(',', ':')).encode()
  encoded += b' ' * (-len(encoded) % 8)  # tensors start at a multiple of 8
  return struct.pack('<Q', len(encoded)) + encoded + data[8 + length :]


def _hint(path: Path, kind: Kind) -> str:
  return _HINTS[kind].format(path=path)


def _error(path: Path, kind: Kind, fault: str) -> ValueError:
  return ValueError(f'{path}: {fault}; {_hint(path, kind)}')
