"""Pictures of a folder, of this machine or of an object store."""

import functools
import os

from srgan_jax.data import object_store
from srgan_jax.data.image_files import SUFFIXES, is_image, open_file, stamp
from srgan_jax.data.passed_over import PassedOver, kind
from srgan_jax.data.source import Entry


def find(spec: str, directory: str, passed_over: PassedOver) -> list[Entry]:
  """Every image below a folder, by name.

  Args:
    spec: for errors.
    directory: of this machine or of an object store.
    passed_over: is told of pipes, devices and folders that cannot be read.

  Raises:
    ValueError: one line with the spec, where there is none.
  """
  if object_store.is_url(directory):
    paths = object_store.find(directory)
  else:
    directory = os.path.abspath(os.path.expanduser(directory))
    if not os.path.isdir(directory):
      raise ValueError(f'{spec}: no such folder: {directory}')
    paths = _walk(directory, passed_over)
  names = [name for name in sorted(paths) if _is_wanted(name, passed_over)]
  if not names:
    more = f'; passed over: {passed_over}' if passed_over.count else ''
    raise ValueError(
      f'{spec}: no image file ({", ".join(SUFFIXES)}) in {directory}{more}'
    )
  return [
    Entry(name, functools.partial(open_file, paths[name]), stamp(paths[name]))
    for name in names
  ]


def _is_wanted(name: str, passed_over: PassedOver) -> bool:
  if is_image(name):
    return True
  passed_over.add_other(name)
  return False


def _walk(root: str, passed_over: PassedOver) -> dict[str, str]:
  """The regular files below a folder by their names from there on."""

  def refuse(error: OSError) -> None:
    name = os.path.relpath(error.filename, root)
    passed_over.add(name, error.strerror or type(error).__name__)

  paths: dict[str, str] = {}
  seen: set[str] = set()
  for folder, subfolders, file_names in os.walk(
    root, followlinks=True, onerror=refuse
  ):
    real = os.path.realpath(folder)
    if real in seen:  # a link back up the tree
      subfolders.clear()
      continue
    seen.add(real)
    subfolders.sort()
    for file_name in file_names:
      path = os.path.join(folder, file_name)
      name = os.path.relpath(path, root).replace(os.sep, '/')
      try:
        why = kind(os.stat(path).st_mode)
      except OSError as error:  # a link to nowhere, say
        why = error.strerror or type(error).__name__
      if why is None:
        paths[name] = path
      else:
        passed_over.add(name, why)
  return paths
