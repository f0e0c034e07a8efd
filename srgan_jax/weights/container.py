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
  dists, niqe: source (see `srgan_jax.convert.metrics`)
"""

from collections.abc import Callable, Iterable, Mapping
import json
import os
import struct
from typing import Any, Literal, get_args

from flax import traverse_util
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from srgan_jax import files
from srgan_jax.weights import safetensors_file

Kind = Literal['generator', 'discriminator', 'vgg', 'lpips', 'dists', 'niqe']
Dtype = Literal['float32', 'float16', 'bfloat16']
FindFault = Callable[[Mapping[str, np.ndarray], dict[str, Any]], str | None]

FORMAT = 'srgan_jax'
FORMAT_VERSION = '1'
_MAX_DEPTH = 16  # of the tree; ours has 4
_MAX_FAULT = 400  # letters: a name or value in it may be a file's

# Files of PyTorch, Keras and NumPy.
_FOREIGN = (
  *('.bin', '.ckpt', '.h5', '.hdf5', '.keras', '.npz', '.pkl'),
  *('.pt', '.pth', '.tar', '.t7'),
)
_HINTS = {
  'generator': 'srgan-upscale --list-models tells those that ship',
  'discriminator': 'srgan-train --config=vgg54 trains one',
  'vgg': 'run python -m srgan_jax.convert.vgg SOURCE -o {out}',
  'lpips': 'run python -m srgan_jax.convert.lpips SOURCE -o {out}',
  'dists': 'run python -m srgan_jax.convert.metrics dists --vgg FILE -o {out}',
  'niqe': 'run python -m srgan_jax.convert.metrics niqe -o {out}',
}


def save(
  path: files.Path,
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
    kind: of `Kind`.
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
    {k: _round(dtype, v, f'{path}: {k}') for k, v in flat.items()},
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
  path: files.Path, kind: Kind, find_fault: FindFault | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Reads a weight file of one kind.

  Args:
    path: the file.
    kind: what it must hold.
    find_fault: from the tensors by name, mapped, and the metadata to what is
      wrong with them; no number is read before.

  Returns:
    The tree of float32 NumPy arrays, and the metadata, decoded.

  Raises:
    ValueError: one line naming the file and what to run: where it is missing,
      not safetensors (an HTML page, a Git LFS pointer, cut off), without this
      package's metadata, of another kind, or with a fault.
  """
  try:
    reject_placeholder(path)
  except ValueError as error:
    raise ValueError(f'{error}; {_hint(path, kind)}') from None
  try:
    flat, metadata = _read(path, kind, find_fault)
  except ValueError as error:
    raise fault_error(path, kind, str(error)) from error
  return traverse_util.unflatten_dict(flat, sep='/'), metadata


def read_kind(path: files.Path) -> str:
  """The kind that a file states; '' where it is none of ours."""
  try:
    return safetensors_file.read(path)[0].get('kind', '')
  except (OSError, ValueError):
    return ''


def _round(dtype: Dtype, values: Any, name: str) -> np.ndarray:
  """Values as a file of that dtype stores them, contiguous.

  safetensors writes the memory of a transposed array as it is.

  Raises:
    ValueError: naming the tensor, where a finite value is too large.
  """
  full = np.asarray(values, np.float32)
  with np.errstate(over='ignore'):
    stored = np.ascontiguousarray(full, jnp.dtype(dtype))
  lost = full[np.isfinite(full) & ~np.isfinite(stored)]
  if lost.size:
    raise ValueError(f'{name} has {lost[0]:g}, too large for {dtype}')
  return stored


def reject_placeholder(path: files.Path) -> None:
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


def _read(
  path: files.Path, kind: Kind, find_fault: FindFault | None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """The tensors by name and the metadata; ValueError says what is wrong."""
  try:
    raw, stored = safetensors_file.read(path)
  except ValueError as error:
    raise ValueError(f'is cut off or not safetensors ({error})') from error
  metadata = _decode(kind, raw)
  dtype = metadata.get('dtype', 'float32')
  if dtype not in get_args(Dtype):
    raise ValueError(f'has a wrong dtype: {dtype!r}')
  for name, value in stored.items():
    if value.dtype != jnp.dtype(dtype):
      raise ValueError(f'{name} is {value.dtype}, not {dtype}')
  fault = _find_clash(stored) or (find_fault and find_fault(stored, metadata))
  if fault:
    raise ValueError(fault)
  # Copies: what another process writes over the file changes no network.
  flat = {name: np.array(value, np.float32) for name, value in stored.items()}
  for name, value in flat.items():
    if not np.isfinite(value).all():
      raise ValueError(f'{name} has values that are not finite')
  return flat, metadata


def _find_clash(names: Iterable[str]) -> str | None:
  """A name that is another's folder, if any."""
  known = set(names)
  for name in names:
    if name.count('/') > _MAX_DEPTH:
      return f'{name} is nested too deeply'
    parent = name.rpartition('/')[0]
    while parent:
      if parent in known:
        return f'{parent} is both a tensor and a tree'
      parent = parent.rpartition('/')[0]
  return None


def _decode(kind: Kind, raw: Mapping[str, str]) -> dict[str, Any]:
  """Checks what every file states, and decodes the rest."""
  metadata: dict[str, Any] = {
    key: raw.get(key) for key in ('format', 'format_version', 'kind')
  }
  form, version, stated = metadata.values()
  if form != FORMAT:
    raise ValueError(f'has no {FORMAT} metadata')
  if version != FORMAT_VERSION:
    raise ValueError(
      f'has format version {version!r}, this package reads {FORMAT_VERSION!r}'
    )
  if stated != kind:
    raise ValueError(f'holds a {stated}, not a {kind}')
  for key in [key for key in raw if key not in metadata]:
    try:
      metadata[key] = files.parse_json(raw[key])
    except ValueError:
      raise ValueError(f'has metadata {key} not in JSON') from None
  if not isinstance(metadata.get('architecture'), dict):
    raise ValueError('does not record its architecture')
  return metadata


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


def _hint(path: files.Path, kind: Kind) -> str:
  if kind == 'generator' and os.fspath(path).lower().endswith(_FOREIGN):
    return f'python -m srgan_jax.convert.generator {path} -o OUT converts it'
  # Nobody's file is proposed to be written over.
  out = 'OUT' if os.path.exists(path) else path
  return _HINTS[kind].format(out=out)


def fault_error(path: files.Path, kind: Kind, fault: str) -> ValueError:
  """The error that names a file's fault, and what to run, on one line."""
  fault = ''.join(c if c.isprintable() else '?' for c in fault[:_MAX_FAULT])
  return ValueError(f'{path}: {fault}; {_hint(path, kind)}')
