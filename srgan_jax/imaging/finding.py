"""Pictures in folders: which there are, and what is passed over."""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import os
from typing import NamedTuple

from srgan_jax import cli
from srgan_jax.imaging import opening

_NO_ENDING = 'they are pictures, but their names have no ending such as .png'
_SHOWN = 3  # names of each kind


class PassedOver(NamedTuple):
  """What is not read: a picture or folder, and why, or what would read it.

  `is_fault`: whether somebody may have meant it to be read.
  """

  path: str
  why: str
  is_fault: bool


@dataclasses.dataclass
class Found:
  """The pictures of a folder, by name, and what was passed over."""

  files: list[str]
  passed_over: list[PassedOver]


def find(
  root: str | os.PathLike[str],
  *,
  is_recursive: bool = True,
  leave: str | None = None,
) -> Found:
  """Looks for pictures, but no hidden ones, in a folder and those below it.

  Links are followed, but no folder is read twice. The folder of the real path
  `leave` is left alone with all below it.
  """
  root = os.fspath(root)
  found = Found([], [])

  def skip(path: str, why: str, is_fault: bool = True) -> None:
    found.passed_over.append(PassedOver(path, why, is_fault))

  def locked(error: OSError) -> None:
    skip(str(error.filename or root), cli.reason(error))

  for folder, names in _walk(root, locked, leave):
    for name in sorted(names):
      path = os.path.join(folder, name)
      if opening.is_image(name):
        if os.path.isfile(path):
          found.files.append(path)
        elif os.path.islink(path):
          skip(path, 'a link that leads nowhere')
        elif not os.path.isdir(path):
          skip(path, 'no regular file')
      elif (reader := opening.what_reads(name)) and os.path.isfile(path):
        skip(path, reader, is_fault=False)
      elif '.' not in name and os.path.isfile(path):
        if opening.holds_image(path):
          skip(path, _NO_ENDING, is_fault=False)
    if not is_recursive:
      break
  return found


def _walk(
  root: str, locked: Callable[[OSError], None], leave: str | None
) -> Iterator[tuple[str, list[str]]]:
  real_root = os.path.realpath(root)
  seen: set[str] = set()
  for folder, subfolders, names in os.walk(
    root, onerror=locked, followlinks=True
  ):
    real = os.path.realpath(folder)
    if real in seen:
      subfolders.clear()
      continue
    seen.add(real)
    kept = []
    for name in sorted(subfolders):
      path = os.path.join(folder, name)
      target = os.path.realpath(path)
      if leave is not None and _is_in(target, leave):
        continue
      if os.path.islink(path) and (
        target in seen or _is_in(target, real_root) or _is_in(real_root, target)
      ):
        continue  # it is read anyway
      kept.append(name)
    subfolders[:] = kept
    yield folder, names


def _is_in(path: str, folder: str) -> bool:
  return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def describe(passed_over: Sequence[PassedOver]) -> list[str]:
  """A line for each kind of what was passed over, with how many and which."""
  by_why: dict[str, list[str]] = {}
  for item in passed_over:
    by_why.setdefault(item.why, []).append(item.path)
  lines = []
  for why, paths in by_why.items():
    names = ', '.join(paths[:_SHOWN])
    if len(paths) > _SHOWN:
      names += f' and {len(paths) - _SHOWN} more'
    lines.append(f'{len(paths)} passed over: {names} ({why})')
  return lines
