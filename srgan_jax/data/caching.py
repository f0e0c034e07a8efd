"""Sources that keep decoded pictures in memory."""

import functools

import numpy as np

from srgan_jax.data.source import Source


class CachedSource(Source):
  """A source that keeps decoded pictures in memory, within a budget.

  The first that fit are kept; the rest are read every time. Training draws all
  pictures equally often, so replacing kept ones would only cost time.
  """

  def __init__(self, source: Source, gib: float) -> None:
    """Wraps a source; `gib` is the budget in GiB (2**30 bytes)."""
    super().__init__(source.spec, source._entries, source.sizes, source.marks)
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
    super().__init__(source.spec, source._entries, source.sizes, source.marks)
    self._read = functools.lru_cache(count)(source.read)

  def read(self, index: int) -> np.ndarray:
    """As `Source.read`; not to be written to."""
    return self._read(index)
