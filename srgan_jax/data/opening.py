"""Where training pictures come from: a TFDS set, a folder, or tar files.

A source gives random access: the i-th picture, decoded, whenever it is asked
for. Everything about it that `draw` needs (how many, how large) is known once
it is open, from the files' headers. Pictures are uint8 [H, W, 3], RGB, 0..255.

Specs:
  tfds:NAME[:SPLIT]   prepared as ArrayRecord; feature `hr`, else `image`;
                      NAME may hold config and version, SPLIT is 'train'
  folder:DIR          every image below it
  tar:GLOB            every image in plain tar files

DIR and GLOB may be of an object store, as gs://BUCKET/photos (see
`image_files`).

Pictures are ordered by name (TFDS: by record), so an index means the same
picture on every host and after every restart.
"""

from collections.abc import Sequence
import contextlib
import functools
import hashlib
from multiprocessing.pool import ThreadPool
import os
from typing import BinaryIO, NamedTuple
import warnings

import numpy as np

from srgan_jax import cli, files
from srgan_jax.data import image_files, tars, tfds
from srgan_jax.data.image_files import LeftOut
from srgan_jax.data.source import Entry, Source
from srgan_jax.imaging import opening, reading

MAX_MEGAPIXELS = 100.0  # of a picture, unless it is told otherwise

_SCAN_THREADS = 16  # headers: mostly waiting for the disk
_SCAN_CHUNK = 64
_SAMPLE = 1 << 16  # bytes of a file that its mark is made of, three times
# Of ImageNet's records, a header cannot be read without the whole.
_CACHED_FROM = 10_000  # pictures


class _Header(NamedTuple):
  """What is known of a picture before it is decoded.

  Height and width are 0 where its header cannot be read; `why` says so.
  """

  height: int = 0
  width: int = 0
  mark: int = 0
  why: str = ''


def open_source(
  spec: str, *, min_size: int, max_megapixels: float = MAX_MEGAPIXELS
) -> Source:
  """Opens a source and reads every picture's header.

  Pictures that are unreadable, smaller than `min_size` on a side or larger than
  `max_megapixels` are left out, and so are pipes, links in tars and the like:
  one warning counts them and names the first. Relative paths are relative to
  the working directory at this moment.

  Args:
    spec: one of the module's forms.
    min_size: the least height and width in pixels; the crop size.
    max_megapixels: the most pixels of a picture, in millions.

  Returns:
    The source, of at least one picture.

  Raises:
    ValueError: a malformed spec, nothing found, nothing usable, a damaged or
      compressed tar, or a TFDS set that is missing or has no random access;
      one line with the spec.
    ImportError: a `tfds:` spec without TensorFlow Datasets.
  """
  left_out = LeftOut()
  entries = _find(spec, left_out)
  found = len(entries) + left_out.count
  kept: list[Entry] = []
  headers: list[_Header] = []
  for entry, header in zip(entries, _headers(entries), strict=True):
    if why := _why_not(header, min_size, max_megapixels):
      left_out.add(entry.name, why)
    else:
      kept.append(entry)
      headers.append(header)
  if not kept:
    raise ValueError(
      f'{spec}: none of {found} pictures can be used: {left_out}'
    )
  if left_out.count:
    count = f'{left_out.count} of {found} pictures'
    warnings.warn(f'{spec}: left out {count}: {left_out}', stacklevel=2)
  return Source(
    spec,
    kept,
    np.array([header[:2] for header in headers], np.int32),
    np.array([header.mark for header in headers], np.uint64),
  )


def _find(spec: str, left_out: LeftOut) -> list[Entry]:
  """The pictures of a source, unread; at least one."""
  kind, _, rest = spec.partition(':')
  if kind not in ('tfds', 'folder', 'tar') or rest[:1] in ('', ':'):
    raise ValueError(
      f'data source {spec!r} is not of the form tfds:NAME[:SPLIT], folder:DIR '
      'or tar:GLOB'
    )
  try:
    if kind == 'tfds':
      entries = tfds.find(rest)
    elif kind == 'folder':
      entries = _in_folder(rest, left_out)
    else:
      entries = tars.find(rest, left_out)
  except (OSError, ValueError) as error:
    raise ValueError(f'{spec}: {cli.one_line(error)}') from error
  if not entries:
    more = f'; left out: {left_out}' if left_out.count else ''
    raise ValueError(
      f'{spec}: no image file ({", ".join(opening.suffixes())}){more}'
    )
  return entries


def _in_folder(folder: str, left_out: LeftOut) -> list[Entry]:
  paths = image_files.find(folder, left_out)
  return [
    Entry(
      name,
      functools.partial(image_files.open_file, paths[name]),
      image_files.stamp(paths[name]),
    )
    for name in sorted(paths)
  ]


def _why_not(
  header: _Header, min_size: int, max_megapixels: float
) -> str | None:
  """Why a picture is not trained on, if so."""
  height, width = header[:2]
  if header.why:
    return f'unreadable: {header.why}'
  if min(height, width) < min_size:
    return f'{height}x{width}, smaller than {min_size}x{min_size}'
  if height * width > 1e6 * max_megapixels:
    return f'{height}x{width}, more than {max_megapixels:g} megapixels'
  return None


def _headers(entries: Sequence[Entry]) -> list[_Header]:
  """`_scan`, which is done once for a large source that does not change."""
  if len(entries) < _CACHED_FROM:
    return _scan(entries)
  digest = hashlib.sha256()
  for entry in entries:
    digest.update(f'{entry.name}\n{entry.stamp}\n'.encode())
  path = files.cache_folder('headers') / f'{digest.hexdigest()}.npy'
  known = np.zeros((len(entries), 3), np.uint64)
  with contextlib.suppress(OSError, ValueError):
    if (stored := np.load(path, allow_pickle=False)).shape == known.shape:
      known = stored
  # What could not be read may have been a store's passing trouble.
  unknown = np.flatnonzero(known[:, 0] == 0)
  reasons: dict[int, str] = {}
  if len(unknown):
    found = _scan([entries[int(i)] for i in unknown])
    known[unknown] = np.array([header[:3] for header in found], np.uint64)
    reasons = {
      int(i): header.why
      for i, header in zip(unknown, found, strict=True)
      if header.why
    }
    with contextlib.suppress(OSError):  # a cache that cannot be written
      path.parent.mkdir(parents=True, exist_ok=True)
      with files.replacing(path) as beside, open(beside, 'wb') as file:
        np.save(file, known)
  return [
    _Header(int(height), int(width), int(mark), reasons.get(i, ''))
    for i, (height, width, mark) in enumerate(known)
  ]


def _scan(entries: Sequence[Entry]) -> list[_Header]:
  """The header of each entry."""
  with ThreadPool(_SCAN_THREADS) as pool:
    return pool.map(_read, entries, chunksize=_SCAN_CHUNK)


def _read(entry: Entry) -> _Header:
  try:
    with entry.open() as stream:
      mark = _mark(stream)
      stream.seek(0)
      return _Header(*reading.image_size(stream, entry.name), mark)
  except (ValueError, OSError) as error:
    why = cli.one_line(error).removeprefix(f'{entry.name}: ')
    return _Header(why=why)


def _mark(stream: BinaryIO) -> int:
  """A hash of a file's size, and of its beginning, middle and end."""
  size = stream.seek(0, os.SEEK_END)
  digest = hashlib.blake2b(str(size).encode(), digest_size=8)
  for start in sorted({0, max(0, size // 2), max(0, size - _SAMPLE)}):
    stream.seek(start)
    digest.update(stream.read(_SAMPLE))
  return int.from_bytes(digest.digest(), 'little')
