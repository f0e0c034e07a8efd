"""Files that are there whole or not at all, and where others lie."""

from collections.abc import Iterator, Sequence
import contextlib
import hashlib
import io
import json
import lzma
import os
import pathlib
import secrets
import stat
import sys
import tarfile
from typing import Any, BinaryIO, cast
import zlib

Path = str | os.PathLike[str]

# Those that ship, in train/ and validation/.
PHOTOS = pathlib.Path(__file__).parent / 'assets'

_BESIDE = '.srgan_jax.'  # what is being written, in a file beside its place
_ORIGIN = 'user.srgan_jax.origin'  # an extended attribute


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[pathlib.Path]:
  """Gives a file beside `path` to write, which then takes its place.

  A reader, or a program that is stopped meanwhile, sees the old file or the
  new one. Where the writing fails, the old one stays and nothing is left. A
  link stays and what it leads to is replaced; a device or a pipe is given
  itself, to be written as it is.

  Args:
    path: the file; its folder must exist.
  """
  if _is_stream(path):
    yield pathlib.Path(path)
    return
  path = pathlib.Path(os.path.realpath(path))
  # Short, where the file's own name may be as long as names can be, and no
  # other process's, of whatever container.
  beside = path.with_name(f'{_BESIDE}{secrets.token_hex(8)}.tmp')
  try:
    with naming(path):
      yield beside
      os.replace(beside, path)
  finally:
    beside.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
  """Has an OSError inside name a file: that of a full disk names none."""
  try:
    yield
  except OSError as error:
    if error.errno is None:
      raise OSError(f'{os.fspath(path)}: {error}') from error
    if error.filename is None or _BESIDE in str(error.filename):
      error.filename = os.fspath(path)
    raise


def _is_stream(path: Path) -> bool:
  """Whether a path is a device, a pipe or an open file of this process."""
  try:
    mode = os.stat(path).st_mode
  except FileNotFoundError:
    return False
  if not stat.S_ISREG(mode):
    return not stat.S_ISDIR(mode)
  path = os.fspath(path)
  while True:  # to where /dev/stdout and its like lead
    folder = os.path.realpath(os.path.dirname(path))
    if folder.startswith('/proc/'):
      return True
    if not os.path.islink(path):
      return False
    path = os.path.join(os.path.dirname(path), os.readlink(path))


def set_origin(path: Path, text: str) -> None:
  """Notes what made a file in its extended attributes, where Linux has them."""
  if sys.platform == 'linux':
    with contextlib.suppress(OSError):
      os.setxattr(path, _ORIGIN, os.fsencode(text))


def origin(path: Path) -> str:
  """What `set_origin` noted; '' where nothing is."""
  if sys.platform == 'linux':
    with contextlib.suppress(OSError):
      return os.fsdecode(os.getxattr(path, _ORIGIN))
  return ''


def write_text(path: Path, text: str) -> None:
  """Writes a UTF-8 text file; bytes of names that are no UTF-8 pass through."""
  with replacing(path) as beside:
    beside.write_text(text, encoding='utf-8', errors='surrogateescape')


def write_bytes(path: Path, data: bytes) -> None:
  """Writes a file's bytes."""
  with replacing(path) as beside:
    beside.write_bytes(data)


def digest(path: Path, algorithm: str = 'sha256') -> str:
  """A file's digest in hexadecimal digits."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, algorithm).hexdigest()


def parse_json(text: str | bytes) -> Any:
  """The value of JSON that may be damaged or hostile.

  Raises:
    ValueError: where it is none, or nested too deeply to be read.
  """
  try:
    return json.loads(text)
  except RecursionError:
    raise ValueError('nested too deeply') from None


def read_json(path: Path) -> Any:
  """The value of a JSON file.

  Raises:
    ValueError: naming the file, where it is damaged.
    OSError: where it cannot be read.
  """
  try:
    return parse_json(pathlib.Path(path).read_bytes())
  except ValueError as error:
    raise ValueError(f'{path} is damaged: it is no JSON ({error})') from error


# What tarfile raises, besides ValueError, for tars that are damaged or hostile.
TAR_FAULTS = (
  tarfile.TarError,
  zlib.error,
  lzma.LZMAError,
  EOFError,
  OSError,
  RecursionError,
  MemoryError,
)


def write_json(path: Path, value: Any) -> None:
  """Writes a value as JSON for people to read too."""
  write_text(path, json.dumps(value, indent=2) + '\n')


def require_folder(path: Path) -> None:
  """Refuses a file whose folder is not there, before work is done for it.

  Raises:
    ValueError: naming the file and the folder.
  """
  folder = os.path.dirname(os.fspath(path)) or '.'
  if not os.path.isdir(folder):
    raise ValueError(f'{path}: there is no folder {folder}')


def nearest_folder(path: Path) -> pathlib.Path:
  """A folder, or where it is not there yet, the nearest above it that is.

  Raises:
    ValueError: naming what is a file instead.
  """
  path = pathlib.Path(path)
  nearest = next(
    each
    for each in (path, *pathlib.Path(os.path.abspath(path)).parents)
    if os.path.lexists(each)
  )
  if not os.path.isdir(nearest):
    raise ValueError(f'{nearest} is a file, not a folder')
  return nearest


def make_folder(path: Path) -> None:
  """Makes a folder, with those that it lies in, where it is not there yet.

  Raises:
    ValueError: as `nearest_folder`.
  """
  nearest_folder(path)
  os.makedirs(path, exist_ok=True)


def require_place(path: Path, *others: Path | None) -> None:
  """Refuses a file that could not be written, before work is done for it.

  Args:
    path: the file.
    others: the command's inputs and its other outputs; None counts for none.

  Raises:
    ValueError: there is no such folder, one has the file's name, or the file
      is one of the others.
  """
  require_folder(path)
  if os.path.isdir(path):
    raise ValueError(f'{path} is a folder')
  for other in others:
    if other is not None and is_one_file(path, other) and not _is_stream(path):
      raise ValueError(f'{path} is an input or another output already')


def is_one_file(path: Path, other: Path) -> bool:
  """Whether two paths lead to the same file, which need not be there."""
  try:
    return os.path.samefile(path, other)
  except OSError:  # one of them is not there yet
    return os.path.realpath(path) == os.path.realpath(other)


def cache_folder(name: str) -> pathlib.Path:
  """A folder of the user's cache for this package, not made yet.

  $XDG_CACHE_HOME/srgan_jax/NAME, by default ~/.cache/srgan_jax/NAME.
  """
  home = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  return pathlib.Path(home, 'srgan_jax', name)


def joined(
  file: BinaryIO, pieces: Sequence[tuple[int, int] | bytes]
) -> BinaryIO:
  """Pieces of a file, one behind the other, as a file that closes it.

  Args:
    file: which can seek.
    pieces: each from and to in the file, or bytes of its own.
  """
  return cast(BinaryIO, io.BufferedReader(_Pieces(file, pieces), 1 << 16))


class Wrapper(io.RawIOBase):
  """A stream that reads another one, its `_file`, and closes it."""

  def __init__(self, file: BinaryIO) -> None:
    self._file = file

  def close(self) -> None:
    self._file.close()
    super().close()

  def readable(self) -> bool:
    return True

  def seekable(self) -> bool:
    return True


class _Pieces(Wrapper):
  def __init__(
    self, file: BinaryIO, pieces: Sequence[tuple[int, int] | bytes]
  ) -> None:
    super().__init__(file)
    self._pieces = pieces
    self._lengths = [
      len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
      for piece in pieces
    ]
    self._position = 0

  def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
    origins = {
      os.SEEK_SET: 0,
      os.SEEK_CUR: self._position,
      os.SEEK_END: sum(self._lengths),
    }
    self._position = max(0, origins[whence] + offset)
    return self._position

  def readinto(self, buffer: Any) -> int:
    view, start = memoryview(buffer).cast('B'), self._position
    for piece, length in zip(self._pieces, self._lengths, strict=True):
      if start < length:
        count = min(len(view), length - start)
        if isinstance(piece, bytes):
          data = piece[start : start + count]
        else:
          self._file.seek(piece[0] + start)
          data = self._file.read(count)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
      start -= length
    return 0
