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
from srgan_jax.convert import readers, vgg_downloads
from srgan_jax.convert.readers import torch_files
from srgan_jax.evaluation import dists

_FILES = 'https://files.pythonhosted.org/packages'
PACKAGES = {
  'niqe': vgg_downloads.Home(
    f'{_FILES}/86/41/'
    '00a6b000f222f0fa4c6d9e1d6dcc9811a374cabb8abb9d408b77de39648c/'
    'basicsr-1.4.2.tar.gz',
    'basicsr-1.4.2.tar.gz',
    'sha256:b89b595a87ef964cda9913b4d99380ddb6554c965577c0c10cb7b78e31301e87',
  ),
  'dists': vgg_downloads.Home(
    f'{_FILES}/fa/78/'
    'f76cbe06c88076f6d6d5ef16a7591a7e3b7eb225e39b035e16d95f0fb89c/'
    'DISTS_pytorch-0.1-py3-none-any.whl',
    'DISTS_pytorch-0.1-py3-none-any.whl',
    'sha256:73e54ce13e7cf3ca962ee8e433d129884ec3dc75e00a27af90525e1da760ac61',
  ),
}
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
    package: the published one, of `PACKAGES`.
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
      or network.preprocessing != dists.PREPROCESSING
    ):
      raise ValueError(f"{vgg_file}: not torchvision's VGG16 up to conv5_3")
    tensors['params'] = network.params
  home = PACKAGES[metric]
  digest = files.digest(package)
  if home.digest != f'sha256:{digest}':
    raise ValueError(
      f'{package}: not {home.file_name}, the SHA-256 is {digest[:16]}...'
    )
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
    stored = torch_files.read(pathlib.Path(archive.extract(_DISTS, to)))
    arrays = readers.read_all({'': stored}, 2**16)['']
  return {name: arrays[name].reshape(-1) for name in ('alpha', 'beta')}


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = cli.parser(__doc__)
  add = parser.add_argument
  add('metric', choices=sorted(PACKAGES))
  add('--vgg', type=pathlib.Path, metavar='FILE', help='VGG16, for dists')
  add('--package', type=pathlib.Path, metavar='FILE', help='downloaded already')
  add('-o', '--output', type=pathlib.Path, required=True, metavar='FILE')
  options = parser.parse_args(arguments)
  metric = options.metric
  with cli.failing_in_a_line('metrics'):
    package = options.package or vgg_downloads.keep(PACKAGES[metric])
    convert(metric, package, options.output, options.vgg)
  print(f'{options.output}: {metric}, of {PACKAGES[metric].file_name}')


if __name__ == '__main__':
  cli.run(main)
