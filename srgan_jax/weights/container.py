"""Weight files: safetensors with their metadata, the one format in and out.

A file states what it is, so that nothing is guessed when it is read: the kind
of network, its architecture, and for a VGG the preprocessing that it was
trained with, for a generator its scale, ranges and training. Tensors are named
by their path in the Flax tree: 'params/conv_in/kernel',
'batch_stats/block_0/norm_0/mean'. They are stored as float32, or in half the
bytes as float16 or bfloat16, and come back as float32 whichever it was.
Nothing is ever unpickled here.

Metadata (safetensors keeps strings): `format`, `format_version` and `kind` are
plain, every other value is JSON. `format_version` is the version of the
tensors' names and layouts: it rises whenever a name, an axis order or what a
value means does.

  all:       architecture {...}, dtype (of all tensors; without it, float32)
  generator: scale, input_range, output_range, training {steps, data, ...};
  discriminator: input_range, training {...}
  vgg:       preprocessing {...}, feature_scale {layer: factor},
             feature_scale_reason, source, source_sha256, converter_version
  lpips:     lpips_version, preprocessing {...}, source, source_sha256,
             converter_version (see `srgan_jax.evaluation.lpips`)
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import json
import math
import os
import re
import struct
from typing import Any, Literal, cast, get_args

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from srgan_jax import files
from srgan_jax.models import architecture as architecture_lib
from srgan_jax.models import vgg
from srgan_jax.models.discriminator import Discriminator
from srgan_jax.models.generator import SCALE, Generator

Kind = Literal['generator', 'discriminator', 'vgg', 'lpips']
Dtype = Literal['float32', 'float16', 'bfloat16']
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
  'lpips': 'run python tools/convert_lpips.py SOURCE -o {path}',
}
# What a VGG file says of its origin, each key with the form of its value.
_VGG_PROVENANCE = {
  'source': '.+',
  'source_sha256': '[0-9a-f]{64}',
  'converter_version': '.+',
}


def save(
  path: Path,
  kind: Kind,
  tensors: Any,
  metadata: Mapping[str, Any],
  *,
  dtype: Dtype = 'float32',
) -> None:
  """Writes a weight file: beside its place first, then renamed.

  A reader, or a run that is stopped, sees the old file or the new one, whole.
  The same content gives the same bytes.

  Args:
    path: the file; its folder must exist.
    kind: 'generator', 'discriminator', 'vgg' or 'lpips'.
    tensors: the Flax tree of variables.
    metadata: JSON-compatible values, 'architecture' among them.
    dtype: what the tensors are rounded to in the file.

  Raises:
    ValueError: for another kind or dtype, or where a value is too large for
      the dtype.
  """
  if kind not in get_args(Kind):
    raise ValueError(f'kind must be one of {get_args(Kind)}, not {kind!r}')
  if dtype not in get_args(Dtype):
    raise ValueError(f'dtype must be one of {get_args(Dtype)}, not {dtype!r}')
  metadata = {**metadata, 'dtype': dtype}
  flat = traverse_util.flatten_dict(tensors, sep='/')
  data = safetensors.numpy.save(
    {k: round_to(dtype, v, f'{path}: {k}') for k, v in flat.items()},
    metadata={
      'format': FORMAT,
      'format_version': FORMAT_VERSION,
      'kind': kind,
      **{k: json.dumps(v, sort_keys=True) for k, v in metadata.items()},
    },
  )
  with files.replacing(path) as beside, open(beside, 'wb') as file:
    file.write(_sort_header(data))
    file.flush()
    os.fsync(file.fileno())


def load(
  path: Path,
  kind: Kind,
  find_fault: Callable[[Any, dict[str, Any]], str | None] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Reads a weight file of one kind.

  Args:
    path: the file.
    kind: what it must hold.
    find_fault: from the tree and the metadata to what is wrong with them.

  Returns:
    The tree of float32 NumPy arrays, and the metadata, decoded.

  Raises:
    ValueError: one line naming the file and what to run: where it is missing,
      not safetensors (an HTML page, a Git LFS pointer, cut off), without this
      package's metadata, of another kind, or with a fault.
  """
  flat, metadata = _read(path, kind)
  tree = _unflatten(flat)
  if find_fault is not None and (fault := find_fault(tree, metadata)):
    raise _error(path, kind, fault)
  return tree, metadata


def save_generator(
  path: Path,
  variables: Any,
  *,
  architecture: Mapping[str, Any],
  training: Mapping[str, Any],
  dtype: Dtype = 'float32',
) -> None:
  """Writes a generator.

  Args:
    path: the file.
    variables: {'params', 'batch_stats'}.
    architecture: as `models.architecture` describes it.
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
  path: Path,
) -> tuple[Generator, dict[str, Any], dict[str, Any]]:
  """Reads a generator: the module (float32), its variables, its metadata.

  Raises:
    ValueError: as `load`, and where a tensor's name or shape is not the
      architecture's.
  """
  module, variables, metadata = _load_network(path, 'generator')
  return cast(Generator, module), variables, metadata


def save_discriminator(
  path: Path,
  variables: Any,
  *,
  architecture: Mapping[str, Any],
  training: Mapping[str, Any],
  dtype: Dtype = 'float32',
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
  path: Path,
) -> tuple[Discriminator, dict[str, Any], dict[str, Any]]:
  """Reads a discriminator: the module, its variables, its metadata.

  Raises:
    ValueError: as `load_generator`.
  """
  module, variables, metadata = _load_network(path, 'discriminator')
  return cast(Discriminator, module), variables, metadata


def save_vgg(
  path: Path,
  network: vgg.PerceptualNetwork,
  *,
  source_sha256: str,
  converter_version: str,
  feature_scale_reason: str = '',
  dtype: Dtype = 'float32',
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
      'source_sha256': source_sha256,
      'converter_version': converter_version,
      'feature_scale_reason': feature_scale_reason,
    },
    dtype=dtype,
  )


def load_vgg(path: Path) -> vgg.PerceptualNetwork:
  """Reads a VGG that `tools/convert_vgg.py` wrote.

  Raises:
    ValueError: as `load`, and where a tensor's name or shape is not the
      architecture's, or the file does not say which preprocessing and which
      feature scale its weights take, and what it was converted from by what.
  """
  flat, metadata = _read(path, 'vgg')
  for key, pattern in _VGG_PROVENANCE.items():
    if not re.fullmatch(pattern, str(metadata.get(key, ''))):
      raise _error(path, 'vgg', f'does not record its {key}')
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
    source=str(metadata['source']),
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
  return architecture_lib.compare(
    flat, architecture_lib.shapes(vgg.VGG(depth, last).init, image)
  )


def round_to(dtype: Dtype, values: Any, name: str) -> np.ndarray:
  """Values as a file of that dtype stores them, contiguous.

  safetensors writes the memory of a transposed array as it is.

  Args:
    dtype: what to round to.
    values: numbers of any shape.
    name: of the tensor, for the error.

  Raises:
    ValueError: where a finite value is too large for the dtype.
  """
  full = np.asarray(values, np.float32)
  with np.errstate(over='ignore'):
    stored = np.ascontiguousarray(full, jnp.dtype(dtype))
  lost = full[np.isfinite(full) & ~np.isfinite(stored)]
  if lost.size:
    raise ValueError(f'{name} has {lost[0]:g}, too large for {dtype}')
  return stored


def reject_placeholder(path: Path) -> None:
  """Raises a one-line ValueError for what downloads leave in a file's place.

  A Git LFS pointer, an HTML page (an error, a licence to agree to), nothing at
  all; or no such file.
  """
  try:
    with open(path, 'rb') as file:
      placeholder = find_placeholder(file.read(512))
  except FileNotFoundError:
    raise ValueError(f'{path}: no such file') from None
  except OSError as error:
    raise ValueError(f'{path}: {error.strerror}') from None
  if placeholder:
    raise ValueError(f'{path} is {placeholder}')


def find_placeholder(head: bytes) -> str | None:
  """What came in a file's place, by its first 512 bytes; None for a file."""
  head = head[:512].lstrip().lower()
  if not head:
    return 'empty'
  if head.startswith(b'version https://git-lfs'):
    return 'a Git LFS pointer, not the file itself (git lfs pull)'
  if head.startswith((b'<!doctype', b'<html', b'<?xml')):
    return 'a web page, not the file itself: its download went wrong'
  return None


def _save_network(
  path: Path,
  kind: Kind,
  variables: Any,
  architecture: Mapping[str, Any],
  training: Mapping[str, Any],
  dtype: Dtype,
  facts: Mapping[str, Any],
) -> None:
  """Writes a network's file, with `facts` of its own kind beside the rest."""
  fail = lambda fault: ValueError(f'{path}: {fault}')
  _check(fail, kind, architecture, variables)
  metadata = {
    'architecture': dict(architecture),
    'training': dict(training),
    **facts,
  }
  save(path, kind, variables, metadata, dtype=dtype)


def _load_network(
  path: Path, kind: Kind
) -> tuple[Generator | Discriminator, dict[str, Any], dict[str, Any]]:
  flat, metadata = _read(path, kind)
  variables = jax.tree.map(jnp.asarray, _unflatten(flat))
  fail = functools.partial(_error, path, kind)
  module = _check(fail, kind, metadata['architecture'], variables)
  return module, variables, metadata


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
  dtype = metadata.get('dtype', 'float32')
  if dtype not in get_args(Dtype):
    raise _error(path, kind, f'has a wrong dtype: {dtype!r}')
  for name, value in flat.items():
    if value.dtype != jnp.dtype(dtype):
      raise _error(path, kind, f'{name} is {value.dtype}, not {dtype}')
    flat[name] = value.astype(np.float32)
    if not np.isfinite(flat[name]).all():
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


def _check(
  fail: Callable[[str], ValueError],
  kind: Kind,
  architecture: Mapping[str, Any],
  variables: Any,
) -> Generator | Discriminator:
  """The module of an architecture; fails where the variables are not its."""
  module: Generator | Discriminator
  try:
    if kind == 'generator':
      module = architecture_lib.make_generator(architecture)
    else:
      module = architecture_lib.make_discriminator(architecture)
  except ValueError as error:
    raise fail(str(error)) from None
  flat = traverse_util.flatten_dict(variables, sep='/')
  side = architecture.get('image_size', 8)
  if fault := architecture_lib.find_fault(module, flat, side):
    raise fail(fault)
  return module


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
