"""Image files of this machine or of an object store: listed and opened.

fsspec opens those of stores, gs://BUCKET/... or s3://BUCKET/..., with the
package that it asks for by name: gcsfs for gs://, s3fs for s3://. Credentials
are theirs to find. Each store has errors of its own: here they are OSErrors.
"""

from collections.abc import Callable, Iterator
import contextlib
import functools
import glob
import io
import os
from typing import Any, BinaryIO, cast

from srgan_jax import cli, files
from srgan_jax.imaging import finding
from srgan_jax.imaging.opening import is_image

_NAMED = 10
_HERE = 'file://'


class LeftOut:
  """Counts what a source leaves out, and names the first with the reason.

  Attributes:
    count: what might have been a picture and is not taken.
  """

  def __init__(self) -> None:
    self.count = 0
    self._named: list[str] = []

  def add(self, name: str, why: str) -> None:
    """Counts what might have been a picture, or might hold some."""
    self.count += 1
    if len(self._named) < _NAMED:
      self._named.append(f'{name} ({why})')

  def __str__(self) -> str:
    more = self.count - len(self._named)
    return ', '.join(self._named) + (f' and {more} more' if more else '')


def is_url(path: str) -> bool:
  """Whether a path is of a store rather than of this machine."""
  return '://' in path and not path.startswith(_HERE)


def find(folder: str, left_out: LeftOut) -> dict[str, str]:
  """The paths of the images below a folder, by their names from there on.

  Raises:
    ValueError: one line, where the store or the folder cannot be reached.
  """
  if is_url(folder):
    fs, inside = _store(folder)
    root = inside.rstrip('/') + '/'
    return {
      path.removeprefix(root): fs.unstrip_protocol(path)
      for path in _listed(folder, lambda: fs.find(inside))
      if is_image(path)
    }
  folder = _absolute(folder)
  if not os.path.isdir(folder):
    raise ValueError(f'no such folder: {folder}')
  name = lambda path: os.path.relpath(path, folder).replace(os.sep, '/')
  found = finding.find(folder)
  for item in found.passed_over:
    left_out.add(name(item.path), item.why)
  return {name(path): path for path in found.files}


def match(pattern: str, left_out: LeftOut) -> list[str]:
  """The paths of the files that match a pattern, sorted; or of that name.

  Raises:
    ValueError: one line, where the store cannot be reached.
  """
  if is_url(pattern):
    fs, inside = _store(pattern)

    def matching() -> Any:
      is_name = not glob.has_magic(inside) or fs.isfile(inside)
      return [inside] if is_name else fs.glob(inside)

    return [fs.unstrip_protocol(path) for path in _listed(pattern, matching)]
  pattern = _absolute(pattern)
  found = []
  if os.path.lexists(pattern):  # its letters mean themselves
    pattern = glob.escape(pattern)
  for path in sorted(glob.glob(pattern, recursive=True)):
    if os.path.isfile(path):
      found.append(path)
    else:
      left_out.add(path, 'no regular file')
  return found


def open_file(path: str, start: int = 0, size: int | None = None) -> BinaryIO:
  """A file, or `size` bytes of it from `start` on, as a stream of its own."""
  # Each call opens the file anew: threads share no position, and none of many
  # tars is held open.
  if is_url(path):
    fs, inside = _store(path)
    with naming(path):
      stored = _Stored(path, fs.open(inside, 'rb'))
    file = cast(BinaryIO, io.BufferedReader(stored))
  else:
    file = open(path, 'rb')
  return file if size is None else files.joined(file, [(start, start + size)])


def stamp(path: str) -> str:
  """What changes when a file does."""
  if is_url(path):
    fs, inside = _store(path)
    with naming(path):
      return f'{path} {fs.ukey(inside)}'
  status = os.stat(path)
  return f'{path} {status.st_size} {status.st_mtime_ns}'


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
  """Has every error inside, of whatever class, be an OSError of a file."""
  try:
    yield
  except FileNotFoundError as error:
    raise OSError(f'{path}: no such file') from error
  except Exception as error:
    raise OSError(f'{path}: {cli.one_line(error)}') from error


class _Stored(files.Wrapper):
  """A file of a store, whose faults name it."""

  def __init__(self, url: str, file: BinaryIO):
    super().__init__(file)
    self._url = url

  def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
    with naming(self._url):
      return self._file.seek(offset, whence)

  def readinto(self, buffer: Any) -> int:
    with naming(self._url):
      data = self._file.read(len(buffer))
    buffer[: len(data)] = data
    return len(data)


def _absolute(path: str) -> str:
  return os.path.abspath(os.path.expanduser(path.removeprefix(_HERE)))


def _listed(url: str, list_files: Callable[[], Any]) -> list[str]:
  try:
    return sorted(list_files())
  except Exception as error:
    raise ValueError(f'{url}: {cli.one_line(error)}') from error


@functools.lru_cache(maxsize=1 << 16)
def _store(url: str) -> tuple[Any, str]:
  """The file system of a URL and the path in it."""
  import fsspec

  if '::' in url:
    raise ValueError(f'{url}: chained URLs (::) are not read')
  try:
    return fsspec.core.url_to_fs(url)
  except Exception as error:
    raise ValueError(f'{url}: {cli.one_line(error)}') from error
