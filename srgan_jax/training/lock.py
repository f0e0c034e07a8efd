"""The lock of a run's folder: one run at a time trains there.

The kernel holds it (`flock`), so it ends with its process, however that ends.
The file `run.lock` stays; its line names the holder, or the last one.
"""

from collections.abc import Iterator
import contextlib
import datetime
import os
import pathlib
import socket

import filelock

from srgan_jax import files

NAME = 'run.lock'

_UNKNOWN = 'another run'  # some drives let nobody read what is locked
_PATIENCE = 1.0  # seconds; `check` of another process holds it for an instant


def check(folder: pathlib.Path) -> None:
  """Refuses a folder in which another run trains.

  Raises:
    ValueError: one line naming the holder.
  """
  if (folder / NAME).exists():
    with held(folder):
      pass


@contextlib.contextmanager
def held(folder: pathlib.Path) -> Iterator[None]:
  """Holds the lock of a folder, which exists.

  Raises:
    ValueError: one line naming the holder.
    OSError: naming the lock, on a drive without locks, say.
  """
  path = folder / NAME
  lock = filelock.FileLock(path)
  with files.naming(path):
    try:
      lock.acquire(timeout=_PATIENCE)
    except filelock.Timeout:
      raise ValueError(
        f'{folder} is in use by {holder(folder)}: wait for its end, or '
        'choose another --workdir'
      ) from None
  try:
    _write_holder(path)
    yield
  finally:
    lock.release()


def holder(folder: pathlib.Path) -> str:
  """Who holds the lock of a folder, or did so last, in words of its own."""
  try:
    text = (folder / NAME).read_text(encoding='utf-8')
  except (OSError, UnicodeDecodeError):
    text = ''
  return text.strip() or _UNKNOWN


def may_be_held_by(name: str, folder: pathlib.Path) -> bool:
  """Whether a folder has a lock, and its holder is not known to be another."""
  return (folder / NAME).exists() and holder(folder) in (name, _UNKNOWN)


def _write_holder(path: pathlib.Path) -> None:
  since = datetime.datetime.now().astimezone()
  text = (
    f'process {os.getpid()} on {socket.gethostname()} since '
    f'{since.isoformat(sep=" ", timespec="seconds")}\n'
  )
  with contextlib.suppress(OSError):  # Windows: the lock keeps others out
    path.write_text(text, encoding='utf-8')
