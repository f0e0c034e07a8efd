"""Where training pictures come from: a TFDS set, a folder, or tar files.

A source gives random access: the i-th picture, decoded, whenever it is asked
for. Everything about it that `draw` needs (how many, how large) is known once
it is open, from the files' headers. Pictures are uint8 [H, W, 3], RGB, 0..255.

Specs:
  tfds:NAME[:SPLIT]   prepared as ArrayRecord; feature `hr`, else `image`;
                      NAME may hold config and version, SPLIT is 'train'
  folder:DIR          every image below it
  tar:GLOB            every image in plain tar files

DIR and GLOB may be of an object store, as gs://BUCKET/photos (see `remote`).

Pictures are ordered by name (TFDS: by record), so an index means the same
picture on every host and after every restart.
"""

from collections.abc import Callable, Sequence
from concurrent import futures
import contextlib
import functools
import glob
import hashlib
import io
import os
import re
import tarfile
import threading
from typing import Any, BinaryIO, NamedTuple, cast
import warnings

import numpy as np

from srgan_jax import files
from srgan_jax.data import remote
from srgan_jax.imaging import io as image_io

SUFFIXES = (
  '.bmp',
  '.gif',
  '.jpeg',
  '.jpg',
  '.pgm',
  '.png',
  '.pnm',
  '.ppm',
  '.tif',
  '.tiff',
  '.webp',
)

_FORMS = 'tfds:NAME[:SPLIT], folder:DIR or tar:GLOB'
_SCAN_THREADS = 16  # headers: mostly waiting for the disk
_SCAN_CHUNK = 64
# Of ImageNet's records, a header cannot be read without the whole.
_CACHED_FROM = 10_000  # pictures


class _Entry(NamedTuple):
  """A picture: its name, how to open it, and what changes when it does."""

  name: str
  open: Callable[[], BinaryIO]
  stamp: str = ''


class Source:
  """Random access to pictures.

  Attributes:
    spec: what the source was opened from.
    names: one name a picture, unique within a source.
    sizes: int32 [N, 2], height and width of each picture, from its header.
  """

  def __init__(
    self, spec: str, entries: Sequence[_Entry], sizes: np.ndarray
  ) -> None:
    self.spec = spec
    self.names = [entry.name for entry in entries]
    self.sizes = np.asarray(sizes, np.int32).reshape(len(entries), 2)
    self._entries = entries
    self._broken: set[int] = set()
    self._lock = threading.Lock()

  def __len__(self) -> int:
    return len(self.names)

  def part(self, indices: Sequence[int]) -> 'Source':
    """Some of the pictures, as a source of their own."""
    entries = [self._entries[i] for i in indices]
    return Source(self.spec, entries, self.sizes[list(indices)])

  def read(self, index: int) -> np.ndarray:
    """Reads and decodes one picture; safe to call from several threads.

    A picture whose header was fine but whose pixels cannot be read is named in
    one warning, and the next readable one of the list (the first, after the
    last) stands in for it: the same one every time, so a run stays
    reproducible. Its size may differ from `sizes[index]`; `draw.cut` allows
    for that.

    Args:
      index: 0 <= index < len(source).

    Returns:
      uint8 [H, W, 3], 0..255.

    Raises:
      IndexError: no such index.
      ValueError: not one picture of the source can be read.
    """
    if not 0 <= index < len(self):
      raise IndexError(f'{self.spec}: no picture {index} of {len(self)}')
    for step in range(len(self)):
      candidate = (index + step) % len(self)
      if candidate in self._broken:
        continue
      entry = self._entries[candidate]
      try:
        return image_io.read_rgb(entry.open(), entry.name)
      except (ValueError, OSError) as error:
        with self._lock:
          is_news = candidate not in self._broken
          self._broken.add(candidate)
        if is_news:
          warnings.warn(
            f'{self.spec}: {error}; the next picture is used in its place',
            stacklevel=2,
          )
    raise ValueError(f'{self.spec}: none of {len(self)} pictures can be read')


class CachedSource(Source):
  """A source that keeps decoded pictures in memory, within a budget.

  Pictures are kept in the order in which they are first read, until the next
  one would exceed the budget; the rest are read from the disk every time.
  Training draws all pictures equally often, so replacing kept ones would only
  cost time.
  """

  def __init__(self, source: Source, gib: float) -> None:
    """Wraps a source; `gib` is the budget in GiB (2**30 bytes)."""
    super().__init__(source.spec, source._entries, source.sizes)
    self._source = source
    self._budget = int(gib * 2**30)
    self._used = 0
    self._kept: dict[int, np.ndarray] = {}

  @property
  def bytes_kept(self) -> int:
    """Bytes of decoded pictures in memory."""
    return self._used

  def read(self, index: int) -> np.ndarray:
    """As `Source.read`; a picture that is kept is read-only."""
    kept = self._kept.get(index)
    if kept is not None:
      return kept
    image = self._source.read(index)  # outside the lock: decoding is slow
    image.flags.writeable = False  # what is kept is shared by all readers
    with self._lock:
      if index not in self._kept and self._used + image.nbytes <= self._budget:
        self._kept[index] = image
        self._used += image.nbytes
    return image


class RecentSource(Source):
  """A source that keeps the pictures read last."""

  def __init__(self, source: Source, count: int) -> None:
    """Wraps a source; `count` pictures are kept."""
    super().__init__(source.spec, source._entries, source.sizes)
    self._read = functools.lru_cache(count)(source.read)

  def read(self, index: int) -> np.ndarray:
    """As `Source.read`; not to be written to."""
    return self._read(index)


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
  openers = {'tfds': _tfds, 'folder': _folder, 'tar': _tar}
  if kind not in openers or not rest:
    raise ValueError(f'data source {spec!r} is not of the form {_FORMS}')
  entries = openers[kind](spec, rest)

  sizes = _sizes(entries)
  kept: list[_Entry] = []
  kept_sizes: list[tuple[int, int]] = []
  left_out: list[str] = []
  for entry, size in zip(entries, sizes, strict=True):
    if size is None:
      left_out.append(f'{entry.name} (unreadable)')
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


def _sizes(entries: Sequence[_Entry]) -> list[tuple[int, int] | None]:
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
  if len(unknown):
    found = _scan([entries[int(i)] for i in unknown])
    known[unknown] = [size or (0, 0) for size in found]
    with contextlib.suppress(OSError):  # a cache that cannot be written
      path.parent.mkdir(parents=True, exist_ok=True)
      with files.replacing(path) as beside, open(beside, 'wb') as file:
        np.save(file, known)
  return [(int(h), int(w)) if h else None for h, w in known]


def _scan(entries: Sequence[_Entry]) -> list[tuple[int, int] | None]:
  """(H, W) of each entry, None where the header cannot be read."""

  def scan_chunk(start: int) -> list[tuple[int, int] | None]:
    chunk: list[tuple[int, int] | None] = []
    for entry in entries[start : start + _SCAN_CHUNK]:
      try:
        chunk.append(image_io.image_size(entry.open(), entry.name))
      except (ValueError, OSError):
        chunk.append(None)
    return chunk

  with futures.ThreadPoolExecutor(_SCAN_THREADS) as pool:
    chunks = pool.map(scan_chunk, range(0, len(entries), _SCAN_CHUNK))
    return [size for chunk in chunks for size in chunk]


# Every file of a source is opened here.
def _open_file(path: str, start: int = 0, size: int | None = None) -> BinaryIO:
  """A file, or `size` bytes of it from `start` on, as a stream of its own."""
  # A file of its own for each call: no position is shared between threads, and
  # none is held open, however many tars there are.
  if remote.is_url(path):
    file = cast(io.RawIOBase, remote.open_file(path))
    size = remote.size(path) if size is None else size
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


def _stamp(path: str) -> str:
  """What changes when a file does."""
  if remote.is_url(path):
    return remote.stamp(path)
  try:
    status = os.stat(path)
  except OSError:  # a link to nowhere
    return path
  return f'{path} {status.st_size} {status.st_mtime_ns}'


def _is_image(name: str) -> bool:
  base = os.path.basename(name)
  # '._x.jpg' is what macOS leaves beside x.jpg: metadata, no picture.
  return base.lower().endswith(SUFFIXES) and not base.startswith('.')


def _folder(spec: str, directory: str) -> list[_Entry]:
  if remote.is_url(directory):
    return _remote_folder(spec, directory)
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
    for name in filter(_is_image, file_names):
      path = os.path.join(folder, name)
      names.append(os.path.relpath(path, root).replace(os.sep, '/'))
  if not names:
    raise ValueError(f'{spec}: no image file ({", ".join(SUFFIXES)}) in {root}')
  return [
    _Entry(name, functools.partial(_open_file, path), _stamp(path))
    for name in sorted(names)
    for path in [os.path.join(root, name)]
  ]


def _remote_folder(spec: str, url: str) -> list[_Entry]:
  found = remote.find(url)
  entries = [
    _Entry(name, functools.partial(_open_file, path), _stamp(path))
    for name, path in found.items()
    if _is_image(name)
  ]
  if not entries:
    raise ValueError(f'{spec}: no image file ({", ".join(SUFFIXES)}) in {url}')
  return entries


def _match(pattern: str) -> list[str]:
  """The files that match, of this machine or of a store."""
  if remote.is_url(pattern):
    return remote.glob(pattern)
  found = glob.glob(pattern, recursive=True)
  return sorted(path for path in found if os.path.isfile(path))


def _tar(spec: str, pattern: str) -> list[_Entry]:
  if not remote.is_url(pattern):
    pattern = os.path.abspath(os.path.expanduser(pattern))
  paths = _match(pattern)
  if not paths:
    raise ValueError(f'{spec}: no file matches {pattern}')
  entries: list[_Entry] = []
  for path in paths:
    members: dict[str, tuple[int, int]] = {}  # a later one replaces an earlier
    try:
      # 'r:' is without decompression: members must be at known offsets.
      with (
        _open_file(path) as file,
        tarfile.open(fileobj=file, mode='r:') as archive,
      ):
        for member in archive:
          if member.isreg() and _is_image(member.name):
            members[member.name] = (member.offset_data, member.size)
          # Else tarfile keeps every header.
          archive.members = []  # type: ignore[attr-defined]
    except (tarfile.TarError, OSError) as error:
      raise ValueError(f'{spec}: {path}: {_tar_fault(path, error)}') from error
    stamp = _stamp(path)
    entries.extend(
      _Entry(
        f'{os.path.basename(path)}/{name}',
        functools.partial(_open_file, path, *members[name]),
        stamp,
      )
      for name in sorted(members)
    )
  if not entries:
    raise ValueError(
      f'{spec}: no image file ({", ".join(SUFFIXES)}) in {len(paths)} tar files'
    )
  return entries


def _tar_fault(path: str, error: Exception) -> str:
  """Why a tar cannot be used, and what to do about it."""
  if isinstance(error, PermissionError):
    return 'permission denied'
  with _open_file(path) as file:
    head = file.read(6)
  if head.startswith(
    (b'\x1f\x8b', b'BZh', b'\xfd7zXZ\x00', b'\x28\xb5\x2f\xfd')
  ):
    return (
      'a compressed tar has no random access; decompress it first'
      ' (images hardly shrink anyway)'
    )
  return f'not a complete tar file ({error})'


def _tfds(spec: str, rest: str) -> list[_Entry]:
  # NAME may end in a version, which has a colon of its own.
  match = re.fullmatch(
    r'(?P<name>[^:]+(?::[\d*]+\.[\d*]+\.[\d*]+)?)(?::(?P<split>.+))?', rest
  )
  if not match:
    raise ValueError(f'data source {spec!r} is not of the form {_FORMS}')
  name, split = match['name'], match['split'] or 'train'

  try:
    import tensorflow_datasets as tfds
  except ImportError as error:
    raise ImportError(
      f'{spec} needs TensorFlow Datasets: pip install tensorflow-datasets'
      ' array-record'
    ) from error

  prepare = (
    'python -c "import tensorflow_datasets as tfds;'
    f" tfds.builder('{name}', file_format='array_record')"
    '.download_and_prepare()"'
  )
  try:
    builder = tfds.builder(name)
  except tfds.core.DatasetNotFoundError as error:
    raise ValueError(
      f'{spec}: TFDS knows no data set {name!r}, and'
      f' {tfds.core.constants.DATA_DIR} (TFDS_DATA_DIR) holds none'
    ) from error
  except Exception as error:  # AssertionError for an unknown version, …
    why = ' '.join(str(error).split())
    raise ValueError(f'{spec}: TFDS cannot open {name!r}: {why}') from error
  if not builder.is_prepared():
    raise ValueError(f'{spec} is not prepared; prepare it by: {prepare}')
  formats = {format.value for format in builder.info.available_file_formats()}
  if 'array_record' not in formats:
    raise ValueError(
      f'{spec} is prepared as {", ".join(sorted(formats))}, without random'
      f' access; delete {builder.data_path} and prepare it as ArrayRecord by:'
      f' {prepare}'
    )

  features = builder.info.features or {}
  images = {
    key: tfds.decode.SkipDecoding()
    for key, feature in features.items()
    if isinstance(feature, tfds.features.Image)
  }
  key = next((key for key in ('hr', 'image') if key in images), None)
  if key is None:
    raise ValueError(
      f"{spec} has no image feature 'hr' or 'image', only"
      f' {", ".join(sorted(features))}'
    )
  try:
    records = builder.as_data_source(
      split, decoders=images, file_format='array_record'
    )
  except Exception as error:  # no such split, an empty one, …
    why = ' '.join(str(error).split())
    raise ValueError(f'{spec}: TFDS cannot open {split!r}: {why}') from error

  def open_record(index: int) -> BinaryIO:
    return io.BytesIO(records[index][key])

  return [
    _Entry(
      f'{name}:{split}#{index}',
      functools.partial(open_record, index),
      str(builder.data_path),
    )
    for index in range(len(records))
  ]
