"""Files of object stores, by their URLs: gs://BUCKET/..., s3://BUCKET/....

fsspec opens them, with the package that it asks for by name: gcsfs for gs://,
s3fs for s3://. Credentials are theirs to find.
"""

from collections.abc import Callable
import functools
from typing import Any, BinaryIO

from srgan_jax import cli


def is_url(path: str) -> bool:
  """Whether a path is of a store rather than of this machine."""
  return '://' in path


def find(url: str) -> dict[str, str]:
  """The files below a folder: their names from there on, sorted, to their URLs.

  Raises:
    ValueError: one line, where the store or the folder cannot be reached.
  """
  fs, path = _store(url)
  root = path.rstrip('/') + '/'
  found = _call(url, lambda: fs.find(path))
  return {name.removeprefix(root): fs.unstrip_protocol(name) for name in found}


def glob(url: str) -> list[str]:
  """The URLs of the files that match a pattern, sorted.

  Raises:
    ValueError: one line, where the store cannot be reached.
  """
  fs, path = _store(url)
  return [fs.unstrip_protocol(n) for n in _call(url, lambda: fs.glob(path))]


def open_file(url: str) -> BinaryIO:
  """A file, to read from anywhere in it."""
  fs, path = _store(url)
  return fs.open(path, 'rb')


def size(url: str) -> int:
  """A file's size in bytes."""
  fs, path = _store(url)
  return int(fs.size(path))


def stamp(url: str) -> str:
  """What changes when a file does: its size and what the store says of it."""
  fs, path = _store(url)
  info = fs.info(path)
  marks = (
    'size',
    'etag',
    'ETag',
    'md5Hash',
    'generation',
    'updated',
    'created',
  )
  return ' '.join([url, *(str(info[mark]) for mark in marks if mark in info)])


def _call(url: str, list_files: Callable[[], Any]) -> list[str]:
  try:
    return sorted(list_files())
  except Exception as error:  # each store has errors of its own
    raise ValueError(f'{url}: {cli.one_line(error)}') from error


@functools.lru_cache(maxsize=1 << 16)
def _store(url: str) -> tuple[Any, str]:
  try:
    import fsspec
  except ImportError:
    raise ImportError(
      f'{url} takes the package fsspec: pip install fsspec'
    ) from None
  try:
    return fsspec.core.url_to_fs(url)
  except (ImportError, ValueError) as error:
    raise ValueError(f'{url}: {cli.one_line(error)}') from error
