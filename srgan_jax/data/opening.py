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
`object_store`).

Pictures are ordered by name (TFDS: by record), so an index means the same
picture on every host and after every restart.
"""

from collections.abc import Sequence
from concurrent import futures
import contextlib
import hashlib
import warnings

import numpy as np

from srgan_jax import files
from srgan_jax.data import folders, tars, tfds
from srgan_jax.data.source import FORMS, Entry, Source
from srgan_jax.imaging import reading

_SCAN_THREADS = 16  # headers: mostly waiting for the disk
_SCAN_CHUNK = 64
# Of ImageNet's records, a header cannot be read without the whole.
_CACHED_FROM = 10_000  # pictures


def open_source(spec: str, *, min_size: int) -> Source:
  """Opens a source and reads every picture's header.

  Pictures that are unreadable, or smaller than `min_size` on a side, are left
  out and named in one warning. Relative paths are relative to the working
  directory at this moment.

  Args:
    spec: one of the module's forms.
    min_size: the least height and width in pixels; the crop size.

  Returns:
    The source, of at least one picture.

  Raises:
    ValueError: a malformed spec, nothing found, nothing usable, a damaged or
      compressed tar, or a TFDS set that is missing or has no random access;
      one line with the spec.
    ImportError: a `tfds:` spec without TensorFlow Datasets.
  """
  kind, _, rest = spec.partition(':')
  openers = {'tfds': tfds.find, 'folder': folders.find, 'tar': tars.find}
  if kind not in openers or not rest:
    raise ValueError(f'data source {spec!r} is not of the form {FORMS}')
  entries = openers[kind](spec, rest)

  sizes = _sizes(entries)
  kept: list[Entry] = []
  kept_sizes: list[tuple[int, int]] = []
  left_out: list[str] = []
  for entry, size in zip(entries, sizes, strict=True):
    if isinstance(size, str):
      left_out.append(f'{entry.name} ({size})')
    elif min(size) < min_size:
      left_out.append(f'{entry.name} ({size[0]}x{size[1]})')
    else:
      kept.append(entry)
      kept_sizes.append(size)

  if left_out:
    shown = ', '.join(left_out[:10])
    more = f' and {len(left_out) - 10} more' if len(left_out) > 10 else ''
    why = f'unreadable or smaller than {min_size}x{min_size}: {shown}{more}'
    if not kept:
      raise ValueError(f'{spec}: all {len(entries)} pictures are {why}')
    warnings.warn(
      f'{spec}: left out {len(left_out)} of {len(entries)} pictures, {why}',
      stacklevel=2,
    )
  return Source(spec, kept, np.array(kept_sizes, np.int32))


def _sizes(entries: Sequence[Entry]) -> list[tuple[int, int] | str]:
  """`_scan`, which is done once for a large source that does not change."""
  if len(entries) < _CACHED_FROM:
    return _scan(entries)
  digest = hashlib.sha256()
  for entry in entries:
    digest.update(f'{entry.name}\n{entry.stamp}\n'.encode())
  path = files.cache_folder('sizes') / f'{digest.hexdigest()}.npy'
  known = np.zeros((len(entries), 2), np.int32)
  with contextlib.suppress(OSError, ValueError):
    if (stored := np.load(path, allow_pickle=False)).shape == known.shape:
      known = stored
  # What could not be read may have been a store's passing trouble.
  unknown = np.flatnonzero(known[:, 0] == 0)
  found: dict[int, tuple[int, int] | str] = {}
  if len(unknown):
    scanned = _scan([entries[int(i)] for i in unknown])
    found = dict(zip(unknown.tolist(), scanned, strict=True))
    known[unknown] = [(0, 0) if isinstance(s, str) else s for s in scanned]
    with contextlib.suppress(OSError):  # a cache that cannot be written
      path.parent.mkdir(parents=True, exist_ok=True)
      with files.replacing(path) as beside, open(beside, 'wb') as file:
        np.save(file, known)
  return [found.get(i, (int(h), int(w))) for i, (h, w) in enumerate(known)]


def _scan(entries: Sequence[Entry]) -> list[tuple[int, int] | str]:
  """(H, W) of each entry, or why its header cannot be read."""

  def scan_chunk(start: int) -> list[tuple[int, int] | str]:
    chunk: list[tuple[int, int] | str] = []
    for entry in entries[start : start + _SCAN_CHUNK]:
      try:
        chunk.append(reading.image_size(entry.open(), entry.name))
      except (ValueError, OSError) as error:
        why = ' '.join(str(error).split())
        chunk.append(why.removeprefix(f'{entry.name}: '))
    return chunk

  with futures.ThreadPoolExecutor(_SCAN_THREADS) as pool:
    chunks = pool.map(scan_chunk, range(0, len(entries), _SCAN_CHUNK))
    return [size for chunk in chunks for size in chunk]
