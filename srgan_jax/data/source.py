"""A source of training pictures: the i-th one, decoded, whenever asked for.

Pictures are uint8 [H, W, 3], RGB, 0..255. `opening` makes a source from what a
config says.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import math
import threading
from typing import BinaryIO, NamedTuple
import warnings

import numpy as np

from srgan_jax.imaging import reading


class Entry(NamedTuple):
  """A picture: its name, how to open it, and what changes when it does."""

  name: str
  open: Callable[[], BinaryIO]
  stamp: str = ''


class _Pixels:
  """Pixels that may be decoded at a time, whatever the number of threads."""

  def __init__(self, most: int):
    self._most, self._taken = most, 0
    self._changed = threading.Condition()

  @contextlib.contextmanager
  def take(self, count: int) -> Iterator[None]:
    """Waits until a picture of so many fits in, or is the only one."""
    with self._changed:
      self._changed.wait_for(
        lambda: not self._taken or self._taken + count <= self._most
      )
      self._taken += count
    try:
      yield
    finally:
      with self._changed:
        self._taken -= count
        self._changed.notify_all()


# At about 11 bytes each while Pillow converts them.
_decoding = _Pixels(1 << 27)


class Source:
  """Random access to pictures.

  Attributes:
    spec: what the source was opened from.
    names: one name a picture, unique within a source.
    sizes: int32 [N, 2], height and width of each picture, from its header.
    marks: uint64 [N]; a picture of another content has another.
  """

  def __init__(
    self,
    spec: str,
    entries: Sequence[Entry],
    sizes: np.ndarray,
    marks: np.ndarray,
  ) -> None:
    self.spec = spec
    self.names = [entry.name for entry in entries]
    self.sizes = np.asarray(sizes, np.int32).reshape(len(entries), 2)
    self.marks = np.asarray(marks, np.uint64)
    self._entries = entries
    self._broken: set[int] = set()
    self._lock = threading.Lock()

  def __len__(self) -> int:
    return len(self.names)

  def part(self, indices: Sequence[int]) -> 'Source':
    """Some of the pictures, as a source of their own."""
    entries = [self._entries[i] for i in indices]
    chosen = list(indices)
    return Source(self.spec, entries, self.sizes[chosen], self.marks[chosen])

  def read(self, index: int) -> np.ndarray:
    """The picture of `read_or_next`: uint8 [H, W, 3], 0..255."""
    return self.read_or_next(index)[1]

  def read_or_next(self, index: int) -> tuple[int, np.ndarray]:
    """Reads and decodes one picture; safe to call from several threads.

    A picture whose header was fine but whose pixels cannot be read, or are of
    another size by now, is named in one warning, and the next readable one of
    the list (the first, after the last) stands in for it: the same one every
    time, so a run stays reproducible. Its size may differ from `sizes[index]`;
    `draw.cut` allows for that.

    Args:
      index: 0 <= index < len(source).

    Returns:
      The index of what was read, and uint8 [H, W, 3], 0..255.

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
      try:
        return candidate, self._decode(candidate)
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

  def _decode(self, index: int) -> np.ndarray:
    entry, size = self._entries[index], tuple(self.sizes[index].tolist())
    with _decoding.take(math.prod(size)):
      image = reading.read_rgb(entry.open(), entry.name)
    if (now := image.shape[:2]) != size:
      raise ValueError(
        f'{entry.name}: was {size[0]}x{size[1]} when the source was opened and '
        f'is {now[0]}x{now[1]}'
      )
    return image


class CachedSource(Source):
  """A source that keeps decoded pictures in memory, within a budget.

  The first that fit are kept; the rest are read every time. Training draws all
  pictures equally often, so replacing kept ones would only cost time.

  Attributes:
    bytes_kept: of decoded pictures in memory.
  """

  def __init__(self, source: Source, gib: float) -> None:
    """Wraps a source; `gib` is the budget in GiB (2**30 bytes)."""
    super().__init__(source.spec, source._entries, source.sizes, source.marks)
    self.bytes_kept = 0
    self._source = source
    self._budget = gib * 2**30
    self._kept: dict[int, np.ndarray] = {}

  def read(self, index: int) -> np.ndarray:
    """As `Source.read`; a picture that is kept is read-only."""
    if index in self._kept:
      return self._kept[index]
    image = self._source.read(index)  # outside the lock: decoding is slow
    image.flags.writeable = False  # what is kept is shared by all readers
    with self._lock:
      more = self.bytes_kept + image.nbytes
      if index not in self._kept and more <= self._budget:
        self._kept[index] = image
        self.bytes_kept = more
    return image
