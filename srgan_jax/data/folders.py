"""Pictures of a folder, of this machine or of an object store."""

import functools
import os
import warnings

from srgan_jax.data import object_store
from srgan_jax.data.image_files import open_file, stamp
from srgan_jax.data.source import Entry
from srgan_jax.imaging import finding
from srgan_jax.imaging.opening import is_image, suffixes


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
  found = finding.find(root)
  others = '; '.join(finding.describe(found.passed_over))
  if not found.files:
    known = ', '.join(suffixes())
    more = f'; {others}' if others else ''
    raise ValueError(f'{spec}: no image file ({known}) in {root}{more}')
  if others:
    warnings.warn(f'{spec}: {others}', stacklevel=2)
  paths = {
    os.path.relpath(path, root).replace(os.sep, '/'): path
    for path in found.files
  }
  return [
    Entry(name, functools.partial(open_file, paths[name]), stamp(paths[name]))
    for name in sorted(paths)
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
    raise ValueError(
      f'{spec}: no image file ({", ".join(suffixes())}) in {url}'
    )
  return entries
