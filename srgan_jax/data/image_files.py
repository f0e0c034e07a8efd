"""Image files of this machine or of an object store: listed and opened."""

import glob
import os
from typing import BinaryIO, cast

from srgan_jax import files
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
    file = object_store.open_file(path)
    size = object_store.size(path) if size is None else size
  else:
    file = cast(BinaryIO, open(path, 'rb', buffering=0))
    size = os.path.getsize(path) if size is None else size
  return files.joined(file, [(start, start + size)])


def stamp(path: str) -> str:
  """What changes when a file does."""
  if object_store.is_url(path):
    return object_store.stamp(path)
  try:
    status = os.stat(path)
  except OSError:  # a link to nowhere
    return path
  return f'{path} {status.st_size} {status.st_mtime_ns}'
