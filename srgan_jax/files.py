"""Files that are there whole or not at all, and where caches lie."""

from collections.abc import Iterator
import contextlib
import os
import pathlib

Path = str | os.PathLike[str]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[pathlib.Path]:
  """Gives a file beside `path` to write, which then takes its place.

  A reader, or a program that is stopped meanwhile, sees the old file or the
  new one. Where the writing fails, the old one stays and nothing is left.

  Args:
    path: the file; its folder must exist.
  """
  path = pathlib.Path(path)
  beside = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
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
    if error.filename is None:
      error.filename = os.fspath(path)
    raise


def write_text(path: Path, text: str) -> None:
  """Writes a UTF-8 text file."""
  with replacing(path) as beside:
    beside.write_text(text, encoding='utf-8')


def require_folder(path: Path) -> None:
  """Refuses a file whose folder is not there, before work is done for it.

  Raises:
    ValueError: naming the file and the folder.
  """
  folder = pathlib.Path(path).parent
  if not folder.is_dir():
    raise ValueError(f'{path}: there is no folder {folder}')


def cache_folder(name: str) -> pathlib.Path:
  """A folder of the user's cache for this package, not made yet.

  $XDG_CACHE_HOME/srgan_jax/NAME, by default ~/.cache/srgan_jax/NAME.
  """
  home = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
  return pathlib.Path(home, 'srgan_jax', name)
