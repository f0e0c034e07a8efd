"""What a source does not take, so that nothing is left out unsaid."""

import collections
import os
import stat

_NAMED = 10
_KINDS = {
  stat.S_IFIFO: 'a pipe',
  stat.S_IFSOCK: 'a socket',
  stat.S_IFCHR: 'a device',
  stat.S_IFBLK: 'a device',
  stat.S_IFDIR: 'a folder',
}


class LeftOut:
  """Counts what is passed over, and names the first few with the reason.

  Attributes:
    count: what might have been a picture and is not taken.
  """

  def __init__(self) -> None:
    self.count = 0
    self._named: list[str] = []
    self._others: collections.Counter[str] = collections.Counter()

  def add(self, name: str, why: str) -> None:
    """Counts what might have been a picture, or might hold some."""
    self.count += 1
    if len(self._named) < _NAMED:
      self._named.append(f'{name} ({why})')

  def add_other(self, name: str) -> None:
    """Counts a file that is no picture by its name."""
    base = os.path.basename(name)
    suffix = os.path.splitext(base)[1].lower()
    self._others['hidden' if base.startswith('.') else suffix or 'none'] += 1

  def __str__(self) -> str:
    more = self.count - len(self._named)
    return ', '.join(self._named) + (f' and {more} more' if more else '')

  def others(self) -> str:
    """The files that are no pictures, by their suffixes; '' without any."""
    return ', '.join(f'{n} {name}' for name, n in self._others.most_common(5))


def kind(mode: int) -> str | None:
  """What a file is by its status, if not a regular one."""
  if stat.S_ISREG(mode):
    return None
  return _KINDS.get(stat.S_IFMT(mode), 'no regular file')
