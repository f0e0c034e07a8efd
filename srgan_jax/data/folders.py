"""Pictures of a folder, of this machine or of an object store."""

import functools
import os

from srgan_jax.data import object_store
from srgan_jax.data.image_files import open_file, stamp
from srgan_jax.data.left_out import LeftOut
from srgan_jax.data.source import Entry
from srgan_jax.imaging import finding
from srgan_jax.imaging.opening import is_image, suffixes


def find(spec: str, directory: str, left_out: LeftOut) -> list[Entry]:
  """Every image below a folder of this machine or of an object store, by name.

  `left_out` is told of pipes, devices and folders that cannot be read.

  Raises:
    ValueError: one line with the spec, where there is none.
  """
  if object_store.is_url(directory):
    paths = {
      name: path
      for name, path in object_store.find(directory).items()
      if is_image(name)
    }
  else:
    directory = os.path.abspath(os.path.expanduser(directory))
    if not os.path.isdir(directory):
      raise ValueError(f'{spec}: no such folder: {directory}')
    paths = _find_here(directory, left_out)
  if not paths:
    more = f'; left out: {left_out}' if left_out.count else ''
    raise ValueError(
      f'{spec}: no image file ({", ".join(suffixes())}) in {directory}{more}'
    )
  return [
    Entry(name, functools.partial(open_file, paths[name]), stamp(paths[name]))
    for name in sorted(paths)
  ]


def _find_here(root: str, left_out: LeftOut) -> dict[str, str]:
  """The pictures below a folder of this machine, by name."""

  def name(path: str) -> str:
    return os.path.relpath(path, root).replace(os.sep, '/')

  found = finding.find(root)
  for item in found.passed_over:
    left_out.add(name(item.path), item.why)
  return {name(path): path for path in found.files}
