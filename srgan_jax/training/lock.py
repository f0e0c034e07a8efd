"""A lock file in a run's folder: one run at a time trains there.

`run.lock` names its holder. It is made by a hard link, which takes effect whole
or not at all on network drives too, and its modification time is renewed every
few seconds. A lock is left behind by a process that was killed, where this
machine has no such process any more, or, of another machine, where nobody
renews it for a minute: that is measured here, and no two clocks are compared.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import hashlib
import json
import logging
import os
import pathlib
import secrets
import socket
import threading
import time

from srgan_jax import files

logger = logging.getLogger('srgan_jax')

NAME = 'run.lock'
_RENEWED_EVERY = 10.0  # seconds
_LEFT_BEHIND_AFTER = 60.0


@dataclasses.dataclass(frozen=True)
class Holder:
  """Who holds a lock.

  Attributes:
    host: the machine's name.
    machine: what tells this boot of this machine, or container, from others.
    process: the process's number there.
    started: what tells it from a later process of the same number.
    since: when the lock was taken, by the machine's clock.
    token: of this lock alone.
  """

  host: str
  machine: str
  process: int
  started: str
  since: str
  token: str

  def __str__(self) -> str:
    return f'process {self.process} on {self.host} since {self.since}'


class Lock:
  """The lock of a folder; a context that holds it."""

  def __init__(
    self,
    folder: pathlib.Path,
    *,
    renewed_every: float = _RENEWED_EVERY,
    left_behind_after: float = _LEFT_BEHIND_AFTER,
  ):
    """Takes nothing yet; the folder must exist once the lock is taken.

    It shows a sign of life every `renewed_every` seconds; without one for
    `left_behind_after`, another machine's lock may be taken.
    """
    self._path = folder / NAME
    self._renewed_every = renewed_every
    self._left_behind_after = left_behind_after
    self._own = _this_process()
    self._ended = threading.Event()
    self._is_lost = False

  def check(self) -> None:
    """Refuses a folder whose holder runs on this machine; waits for nothing.

    Raises:
      ValueError: one line naming the holder.
    """
    holder = _read(self._path)
    if holder and holder.token != self._own.token and _runs_here(holder):
      raise ValueError(self._refusal(holder))

  def __enter__(self) -> 'Lock':
    """Takes the lock.

    Raises:
      ValueError: one line naming the holder.
      OSError: where the folder cannot be written.
    """
    self._take(self._path)
    self._ended.clear()
    threading.Thread(target=self._renew, daemon=True).start()
    return self

  def __exit__(self, *error: object) -> None:
    self._ended.set()
    holder = _read(self._path)
    if holder and holder.token == self._own.token:
      with contextlib.suppress(OSError):
        self._path.unlink()

  def require(self) -> None:
    """Refuses to go on where another process has taken the lock.

    Raises:
      ValueError: one line naming the new holder.
    """
    if self._is_lost:
      holder = _read(self._path)
      raise ValueError(
        f'{self._path} was taken by {holder or "another process"} while this '
        'process was held up: it stops here'
      )

  def _refusal(self, holder: Holder | None) -> str:
    whose = str(holder) if holder else 'a process that it does not name'
    return (
      f'{self._path.parent} is in use by {whose}: wait for its end, or choose '
      'another --workdir'
    )

  def _take(self, path: pathlib.Path) -> None:
    """Makes a lock file, in another's place if nobody holds that one.

    Of several processes that find the same one left behind, only who holds the
    claim to it, itself a lock file, may replace it: nobody ever removes a lock
    that has been taken since it was looked at. ValueError, one line, names the
    holder, if there is one.
    """
    while not self._create(path):
      try:
        content = path.read_bytes()
      except FileNotFoundError:
        continue
      self._refuse_if_held(path, content)
      named = path.name.encode() + content
      claim = path.with_name(f'.{NAME}.{hashlib.sha256(named).hexdigest()}')
      self._take(claim)
      try:
        if self._replace(path, content):
          return
      finally:
        claim.unlink(missing_ok=True)

  def _create(self, path: pathlib.Path) -> bool:
    """Makes a lock file with its content, unless there is one."""
    with self._beside() as beside:
      try:
        os.link(beside, path)
      except FileExistsError:
        return False
      except OSError:  # a drive without hard links
        try:
          with open(path, 'xb') as file:
            file.write(beside.read_bytes())
        except FileExistsError:
          return False
    return True

  def _replace(self, path: pathlib.Path, content: bytes) -> bool:
    """Puts the own lock in the place of one that still has this content."""
    with self._beside() as beside:
      try:
        if path.read_bytes() != content:
          return False
      except FileNotFoundError:
        return False
      os.replace(beside, path)
    whose = _parse(content) or 'a process'
    logger.info('took over %s, left behind by %s', path, whose)
    return True

  @contextlib.contextmanager
  def _beside(self) -> Iterator[pathlib.Path]:
    """A whole lock file under a name of this lock alone."""
    path = self._path.with_name(f'.{NAME}.{self._own.token}')
    try:
      text = json.dumps(dataclasses.asdict(self._own)) + '\n'
      path.write_text(text, encoding='utf-8')
      yield path
    finally:
      path.unlink(missing_ok=True)

  def _refuse_if_held(self, path: pathlib.Path, content: bytes) -> None:
    """Raises ValueError, one line naming the holder, if somebody holds it."""
    holder = _parse(content)
    if holder and holder.machine == self._own.machine:
      is_held = _runs_here(holder)
    else:
      is_held = self._is_renewed(path, holder)
    if is_held:
      raise ValueError(self._refusal(holder))

  def _is_renewed(self, path: pathlib.Path, holder: Holder | None) -> bool:
    """Watches for a sign of life of another machine's lock."""
    logger.info(
      '%s names %s: waiting up to %.0f s for a sign of life',
      path,
      holder or 'nobody',
      self._left_behind_after,
    )
    end = time.monotonic() + self._left_behind_after
    first = _modified(path)
    while time.monotonic() < end:
      time.sleep(min(1.0, self._left_behind_after / 10))
      if (now := _modified(path)) != first:
        return now is not None
    return False

  def _renew(self) -> None:
    while not self._ended.wait(self._renewed_every):
      holder = _read(self._path)
      if holder and holder.token != self._own.token:
        self._is_lost = True
        return
      with contextlib.suppress(OSError):  # a drive that is away for a moment
        if holder:
          os.utime(self._path)
        else:
          self._create(self._path)


def _this_process() -> Holder:
  now = datetime.datetime.now().astimezone()
  return Holder(
    host=socket.gethostname(),
    machine=_machine(),
    process=os.getpid(),
    started=_started(os.getpid()) or '',
    since=now.isoformat(sep=' ', timespec='seconds'),
    token=secrets.token_hex(8),
  )


def _machine() -> str:
  """This boot and, where processes are numbered apart, this container."""
  parts = [socket.gethostname()]
  for find in (_boot, lambda: os.readlink('/proc/self/ns/pid')):
    with contextlib.suppress(OSError):
      parts.append(find())
  return ' '.join(parts)


def _boot() -> str:
  return pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()


def _started(process: int) -> str | None:
  """When a process of this machine began, in ticks since the boot."""
  try:
    status = pathlib.Path(f'/proc/{process}/stat').read_text()
  except OSError:
    return None
  fields = status.rpartition(')')[2].split()  # the name may hold anything
  return None if fields[0] in ('Z', 'X') else fields[19]


def _runs_here(holder: Holder) -> bool:
  """Whether a lock's holder is a running process of this machine."""
  if holder.machine != _machine():
    return False
  if pathlib.Path('/proc/self/stat').exists():
    return _started(holder.process) == holder.started
  try:
    os.kill(holder.process, 0)
  except ProcessLookupError:
    return False
  except OSError:  # it is another user's
    return True
  return True


def _modified(path: pathlib.Path) -> int | None:
  """When a file was modified, as its drive says and no cache of it."""
  try:
    with open(path, 'rb') as file:
      return os.fstat(file.fileno()).st_mtime_ns
  except OSError:
    return None


def _read(path: pathlib.Path) -> Holder | None:
  try:
    return _parse(path.read_bytes())
  except OSError:
    return None


def _parse(content: bytes) -> Holder | None:
  with contextlib.suppress(ValueError, TypeError):
    return Holder(**files.parse_json(content))
  return None
