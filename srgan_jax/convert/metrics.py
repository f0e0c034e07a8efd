"""Converts what NIQE and DISTS take to the files that evaluation reads.

  python -m srgan_jax.convert.metrics niqe -o niqe.safetensors
  python -m srgan_jax.convert.metrics dists --vgg vgg16.safetensors -o FILE

NIQE's mean and covariance of pristine photos are the authors', as BasicSR's
source package has them (basicsr 1.4.2, Apache-2.0). DISTS takes torchvision's
VGG16, converted by `convert.vgg`, and the authors' weights (DISTS_pytorch 0.1,
MIT). The packages come from PyPI, 0.2 MB, or by --package FILE.
"""

from collections.abc import Sequence
import io
import pathlib
import tarfile
import tempfile
from typing import Any, Literal
import zipfile

import numpy as np

from srgan_jax import cli, files, weights
from srgan_jax.convert import downloads
from srgan_jax.convert.readers import torch_files
from srgan_jax.models import vgg

_NIQE = 'basicsr/metrics/niqe_pris_params.npz'
_DISTS = 'DISTS_pytorch/weights.pt'


def convert(
  metric: Literal['dists', 'niqe'],
  package: pathlib.Path,
  output: pathlib.Path,
  vgg_file: pathlib.Path | None = None,
) -> None:
  """Writes the file of a metric.

  Args:
    metric: which.
    package: the published one, of `downloads.METRICS`.
    output: the safetensors file.
    vgg_file: for 'dists', torchvision's VGG16.

  Raises:
    ValueError: one line naming the file that is not what it should be.
  """
  tensors: dict[str, Any] = {}
  if metric == 'dists':
    if vgg_file is None:
      raise ValueError('dists takes a VGG16: --vgg FILE')
    network = weights.load_vgg(vgg_file)
    if (
      network.depth != 16
      or 'conv5_3' not in network.params
      or network.preprocessing != vgg.TORCHVISION
    ):
      raise ValueError(f"{vgg_file}: not torchvision's VGG16 up to conv5_3")
    tensors['params'] = network.params
  home = downloads.METRICS[metric]
  if difference := home.compare(package):
    raise ValueError(f'{package}: not {home.file_name}, {difference}')
  read = {'niqe': _read_niqe, 'dists': _read_dists}[metric]
  facts = {'architecture': {}, 'source': home.file_name}
  weights.save(output, metric, tensors | read(package), facts)


def _read_niqe(package: pathlib.Path) -> dict[str, Any]:
  with tarfile.open(package) as archive:
    file = archive.extractfile(f'basicsr-1.4.2/{_NIQE}')
    assert file is not None  # the digest is verified
    arrays = np.load(io.BytesIO(file.read()), allow_pickle=False)
  return {
    'mean': arrays['mu_pris_param'].reshape(-1),
    'covariance': arrays['cov_pris_param'],
  }


def _read_dists(package: pathlib.Path) -> dict[str, Any]:
  with zipfile.ZipFile(package) as archive, tempfile.TemporaryDirectory() as to:
    arrays = torch_files.read(pathlib.Path(archive.extract(_DISTS, to)))
    return {name: np.array(arrays[name]).ravel() for name in ('alpha', 'beta')}


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = cli.parser(__doc__)
  add = parser.add_argument
  add('metric', choices=sorted(downloads.METRICS))
  add('--vgg', type=pathlib.Path, metavar='FILE', help='VGG16, for dists')
  add('--package', type=pathlib.Path, metavar='FILE', help='downloaded already')
  add('-o', '--output', type=pathlib.Path, required=True, metavar='FILE')
  options = parser.parse_args(arguments)
  metric = options.metric
  with cli.failing_in_a_line('metrics'):
    files.require_place(options.output, options.vgg, options.package)
    home = downloads.METRICS[metric]
    package = options.package or downloads.fetch(home)
    convert(metric, package, options.output, options.vgg)
  print(f'{options.output}: {metric}, of {home.file_name}')


if __name__ == '__main__':
  cli.run(main)
