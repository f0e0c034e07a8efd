"""Pictures inside plain tar files, at known offsets."""

from collections.abc import Iterator, Sequence
import functools
import re
import tarfile
from typing import BinaryIO, cast

from srgan_jax import cli, files
from srgan_jax.data import image_files
from srgan_jax.data.image_files import LeftOut
from srgan_jax.data.source import Entry
from srgan_jax.imaging.opening import is_image

_TAR = re.compile(r'\.(tar(\.\w+)?|t(gz|bz2?|xz|zst))$', re.IGNORECASE)
_MAX_HEADER = 2**20  # bytes; of long names it has some hundred


def find(pattern: str, left_out: LeftOut) -> list[Entry]:
  """Every image in the tar files that match, file by file and by name.

  Raises:
    ValueError: one line: no file matches, a damaged or compressed tar.
  """
  paths = image_files.match(pattern, left_out)
  if not paths:
    raise ValueError(f'no file matches {pattern}')
  entries: list[Entry] = []
  for path, short in zip(paths, _short_names(paths), strict=True):
    try:
      members = _members(path, short, left_out)
    except (*files.TAR_FAULTS, ValueError) as error:
      raise ValueError(f'{path}: {_fault(path, error)}') from error
    stamp = image_files.stamp(path)
    entries.extend(
      Entry(
        f'{short}/{name}',
        functools.partial(image_files.open_file, path, *members[name]),
        stamp,
      )
      for name in sorted(members)
    )
  return entries


def _members(
  path: str, name: str, left_out: LeftOut
) -> dict[str, tuple[int, int]]:
  """Offset and size of each image in a tar, by its name."""
  members: dict[str, tuple[int, int]] = {}
  count = 0
  with image_files.open_file(path) as file:
    for member in _listed(file, name, left_out):
      count += 1
      why = _why_not(member)
      if not why and _is_picture(member):
        if member.name in members:
          why = 'a later one has the same name'
        members[member.name] = (member.offset_data, member.size)
      if why:
        left_out.add(f'{name}/{member.name}', why)
  if not count:
    left_out.add(name, 'an empty tar')
  return members


def _listed(
  file: BinaryIO, name: str, left_out: LeftOut
) -> Iterator[tarfile.TarInfo]:
  """The members of a tar, and of those that `cat` has put behind it."""
  start: int | None = 0
  while start is not None:
    file.seek(start)
    # 'r:' is without decompression: members must be at known offsets.
    with tarfile.open(
      fileobj=cast(BinaryIO, _Headers(file)), mode='r:'
    ) as archive:
      for member in archive:
        if member.size < 0:  # tarfile would come back to it for ever
          raise tarfile.ReadError(f'a member of {member.size} bytes')
        yield member
        # Else tarfile keeps every header.
        archive.members = []  # type: ignore[attr-defined]
    end, before = archive.offset, start  # type: ignore[attr-defined]
    start = _behind_zeros(file, end)
    if start == end > before:
      raise tarfile.ReadError(f'no header at byte {end}')
    if start == before:
      left_out.add(name, 'bytes behind its end')
      return


def _behind_zeros(file: BinaryIO, start: int) -> int | None:
  """Where the first block is that is not all 0; None where they all are."""
  file.seek(start)
  while block := file.read(tarfile.BLOCKSIZE):
    if any(block):
      return start
    start += len(block)
  return None


class _Headers:
  """A tar as tarfile reads it, with headers of bounded length."""

  def __init__(self, file: BinaryIO):
    self._file = file
    self.seek, self.tell = file.seek, file.tell

  def read(self, size: int) -> bytes:
    if not 0 <= size <= _MAX_HEADER:
      raise tarfile.ReadError(f'a header of {size} bytes')
    return self._file.read(size)


def _is_picture(member: tarfile.TarInfo) -> bool:
  return not member.isdir() and is_image(member.name)


def _why_not(member: tarfile.TarInfo) -> str | None:
  """Why a member cannot be read where it lies, if it is worth a word."""
  if member.issym() or member.islnk():
    return 'a link'
  if member.isdev():
    return 'no regular file'
  if member.issparse():
    return 'a sparse file'
  if member.isreg() and _TAR.search(member.name) and not _is_picture(member):
    return 'a tar inside a tar'
  return None


def _short_names(paths: Sequence[str]) -> list[str]:
  """The files' names, with as much of their folders as tells them apart."""
  parts = [path.split('/') for path in paths]
  for length in range(1, max(map(len, parts), default=1) + 1):
    names = ['/'.join(part[-length:]) for part in parts]
    if len(set(names)) == len(names):
      return names
  return list(paths)


def _fault(path: str, error: Exception) -> str:
  """Why a tar cannot be used, and what to do about it."""
  if isinstance(error, PermissionError):
    return 'permission denied'
  if isinstance(error, OSError) and image_files.is_url(path):
    return cli.one_line(error).removeprefix(f'{path}: ')
  with image_files.open_file(path) as file:
    head = file.read(6)
  if head.startswith(
    (b'\x1f\x8b', b'BZh', b'\xfd7zXZ\x00', b'\x28\xb5\x2f\xfd')
  ):
    return (
      'a compressed tar has no random access; decompress it first'
      ' (images hardly shrink anyway)'
    )
  return f'not a complete tar file ({cli.one_line(error)})'
