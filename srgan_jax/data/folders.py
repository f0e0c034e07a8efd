"""Pictures of a folder, of this machine or of an object store."""

import functools
import os

from srgan_jax.data import object_store
from srgan_jax.data.image_files import SUFFIXES, is_image, open_file, stamp
from srgan_jax.data.source import Entry


def find(spec: str, directory: str) -> list[Entry]:
  """Every image below a folder, by name.

  Raises:
    ValueError: one line with the spec, where there is none.
  """
  if object_store.is_url(directory):
    return _find_remote(spec, directory)
  root = os.path.abspath(os.path.expanduser(directory))
  if not os.path.isdir(root):
    raise ValueError(f'{spec}: no such folder: {root}')
  names: list[str] = []
  seen: set[str] = set()
  for folder, subfolders, file_names in os.walk(root, followlinks=True):
    real = os.path.realpath(folder)
    if real in seen:  # a link back up the tree
      subfolders.clear()
      continue
    seen.add(real)
    subfolders.sort()
    for name in filter(is_image, file_names):
      path = os.path.join(folder, name)
      names.append(os.path.relpath(path, root).replace(os.sep, '/'))
  if not names:
    raise ValueError(f'{spec}: no image file ({", ".join(SUFFIXES)}) in {root}')
  return [
    Entry(
      name,
      functools.partial(open_file, path),
      stamp(path),
    )
    for name in sorted(names)
    for path in [os.path.join(root, name)]
  ]


def _find_remote(spec: str, url: str) -> list[Entry]:
  found = object_store.find(url)
  entries = [
    Entry(
      name,
      functools.partial(open_file, path),
      stamp(path),
    )
    for name, path in found.items()
    if is_image(name)
  ]
  if not entries:
    raise ValueError(f'{spec}: no image file ({", ".join(SUFFIXES)}) in {url}')
  return entries
