"""Image files of this machine or of an object store: listed and opened."""

import glob
import io
import os
from typing import Any, BinaryIO, cast

from srgan_jax.data import object_store
from srgan_jax.data.left_out import LeftOut, kind


def match(pattern: str, left_out: LeftOut) -> list[str]:
  """The files that match, of this machine or of a store."""
  if object_store.is_url(pattern):
    return object_store.glob(pattern)
  found = []
  for path in sorted(glob.glob(pattern, recursive=True)):
    try:
      why = kind(os.stat(path).st_mode)
    except OSError as error:  # a link to nowhere, say
      why = error.strerror or type(error).__name__
    if why is None:
      found.append(path)
    else:
      left_out.add(path, why)
  return found


# Every file of a source is opened here.
def open_file(path: str, start: int = 0, size: int | None = None) -> BinaryIO:
  """A file, or `size` bytes of it from `start` on, as a stream of its own."""
  # A file of its own for each call: no position is shared between threads, and
  # none is held open, however many tars there are.
  if object_store.is_url(path):
    file = cast(io.RawIOBase, object_store.open_file(path))
    size = object_store.size(path) if size is None else size
  else:
    file = open(path, 'rb', buffering=0)
    size = os.path.getsize(path) if size is None else size
  part = _Part(file, start, size)
  return cast(BinaryIO, io.BufferedReader(part, 1 << 16))


class _Part(io.RawIOBase):
  """`size` bytes of a raw file from `start` on, seen as a file."""

  def __init__(self, file: io.RawIOBase, start: int, size: int) -> None:
    self._file, self._start, self._size = file, start, size
    self._position = 0

  def readable(self) -> bool:
    return True

  def seekable(self) -> bool:
    return True

  def tell(self) -> int:
    return self._position

  def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
    origin = {
      os.SEEK_SET: 0,
      os.SEEK_CUR: self._position,
      os.SEEK_END: self._size,
    }[whence]
    self._position = max(0, origin + offset)
    return self._position

  def readinto(self, buffer: Any) -> int:
    left = max(0, self._size - self._position)
    view = memoryview(buffer)[:left]
    self._file.seek(self._start + self._position)
    count = self._file.readinto(view) or 0
    self._position += count
    return count

  def close(self) -> None:
    self._file.close()
    super().close()


def stamp(path: str) -> str:
  """What changes when a file does."""
  if object_store.is_url(path):
    return object_store.stamp(path)
  try:
    status = os.stat(path)
  except OSError:  # a link to nowhere
    return path
  return f'{path} {status.st_size} {status.st_mtime_ns}'
