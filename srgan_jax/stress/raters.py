"""A study's server under raters, kills, a full disk and clients that wait.

Each attack starts `python -m srgan_jax.mos serve` on a study of random images
and acts as the page does: a score is sent until it is acknowledged.
"""

from collections.abc import Iterator
from concurrent import futures
import contextlib
import dataclasses
import http.client
import json
import pathlib
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, Protocol

import numpy as np
from PIL import Image

from srgan_jax.mos import prepare, study
from srgan_jax.mos import ratings as ratings_lib
from srgan_jax.stress import Row

HEADER = ('the study under attack', '')

_RETRY = 0.2  # seconds
_PATIENCE = 300.0
_IDLE = 1100  # connections
_SOON = 5.0


def attack(short: bool) -> Iterator[Row]:
  """Has 50 raters score under kills, on a full disk and among the idle."""
  images = 2 if short else 10
  with tempfile.TemporaryDirectory() as name:
    folder = make_study(pathlib.Path(name), images)
    found = rate_under_kills(folder, raters=50, kills=images)
    is_lost = found.lost or found.doubled or found.acknowledged != found.stored
    for field, value in dataclasses.asdict(found).items():
      yield Row((field, value), 'lost or doubled' if is_lost else '')
    disk = rate_on_a_full_disk(folder)
    fault = '' if disk == FullDisk(503, 0, 1) else 'not survived'
    yield Row(('a full disk', disk), fault)
    seconds = answer_time_among_idle(folder, _IDLE)
    fault = f'over {_SOON} s' if seconds > _SOON else ''
    yield Row((f'seconds to register among {_IDLE} idle', seconds), fault)


def make_study(folder: pathlib.Path, images: int) -> pathlib.Path:
  """A study of random images, each by three methods; where it lies."""
  hr = folder / 'Random' / 'HR'
  hr.mkdir(parents=True)
  rng = np.random.default_rng(0)
  for i in range(images):
    pixels = rng.integers(0, 256, (40, 48, 3), np.uint8)
    Image.fromarray(pixels).save(hr / f'{i}.png')
  output = folder / 'study'
  prepare.prepare(
    prepare.open_sets([str(hr)]), {}, output, examples=1, repeats=0
  )
  return output


class Server:
  """The server in a process of its own, on one port throughout."""

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    self.port = 0
    self.start()

  def start(self) -> None:
    """Starts it and waits until it answers."""
    command = [sys.executable, '-m', 'srgan_jax.mos', 'serve']
    self.process = subprocess.Popen(
      [*command, str(self._folder), f'--port={self.port}'],
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
    )
    assert self.process.stdout is not None
    line = self.process.stdout.readline()
    found = re.search(r'http://\S+:(\d+)/', line)
    if found is None:
      raise OSError(f'the server did not start: {line}')
    self.port = int(found[1])

  def end(self, number: int = signal.SIGTERM) -> None:
    """Sends it a signal and waits until it is gone."""
    self.process.send_signal(number)
    self.process.communicate()


@contextlib.contextmanager
def serving(folder: pathlib.Path) -> Iterator[Server]:
  """A server while it is needed."""
  server = Server(folder)
  try:
    yield server
  finally:
    server.end()


class Rater:
  """A rater as the page has her: she sends again until there is an answer."""

  def __init__(self, server: Server):
    self._server = server
    self._cookie = ''
    self.code = ''
    self.state: dict[str, Any] = {}

  def ask(self, path: str, body: dict[str, Any] | None = None) -> int:
    """Asks until the server answers; the status, and `state` with it."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
      with contextlib.suppress(OSError, http.client.HTTPException):
        status = self.ask_once(path, body)
        if status < 500:
          return status
      time.sleep(_RETRY)
    raise TimeoutError(f'no answer to {path}')

  def ask_once(self, path: str, body: dict[str, Any] | None = None) -> int:
    """Asks once.

    Raises:
      OSError: where there is no connection.
    """
    port = self._server.port
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=30)
    headers = {'Cookie': self._cookie} if self._cookie else {}
    content = None
    if body is not None:
      content = json.dumps(body)
      headers |= {
        'Content-Type': 'application/json',
        'Origin': f'http://127.0.0.1:{port}',
      }
    try:
      method = 'GET' if body is None else 'POST'
      connection.request(method, path, content, headers)
      answer = connection.getresponse()
      found = json.loads(answer.read())
    finally:
      connection.close()
    if cookie := answer.headers.get('Set-Cookie'):
      self._cookie = cookie.partition(';')[0]
    if 'phase' in found:
      self.state = found
      self.code = found.get('code', self.code)
    return answer.status

  def begin(self) -> None:
    """Registers and sees the examples."""
    self.ask('/start', {})
    while self.state['phase'] == 'example':
      state = self.state
      self.ask(
        '/example', {'position': state['position'], 'score': state['score']}
      )

  def rate(self, score: int) -> tuple[int, str, int]:
    """Scores what is shown; position, file and score once acknowledged.

    Raises:
      ValueError: where the server does not go on to the next image.
    """
    before = self.state
    position, image = before['position'], before['image']
    self.ask('/rating', {'position': position, 'image': image, 'score': score})
    if self.state['rated'] != position + 1:
      raise ValueError(f'after {position} came {self.state}')
    return position, image, score


@dataclasses.dataclass(frozen=True)
class Scores:
  """What became of scores.

  Attributes:
    raters: that were at it at once.
    kills: of the server meanwhile, by SIGKILL.
    acknowledged: scores that raters were told are kept.
    stored: scores in the file.
    lost: acknowledged and not stored as they were sent.
    doubled: stored more often than once.
    seconds: from the first score to the last.
  """

  raters: int
  kills: int
  acknowledged: int
  stored: int
  lost: int
  doubled: int
  seconds: float


def rate_under_kills(
  folder: pathlib.Path, *, raters: int, kills: int
) -> Scores:
  """Has raters score a whole study at once while its server is killed.

  Args:
    folder: a study that has no ratings.
    raters: how many.
    kills: how often; each at a random score of an equal part of them all.

  Raises:
    ValueError: where there are too few scores for so many kills.
  """
  rng = random.Random(0)
  # Of every rater one more score may be acknowledged before the server dies:
  # each kill is early enough for some to be left.
  stretch = (len(study.load(folder).files) - 1) * raters // max(kills, 1)
  if not stretch:
    raise ValueError(f'{folder} has too few images for {kills} kills')
  moments = {1 + stretch * i + rng.randrange(stretch) for i in range(kills)}
  lock, count, killed = threading.Lock(), 0, 0

  def acknowledge() -> None:
    nonlocal count, killed
    with lock:
      count += 1
      if count in moments:
        server.end(signal.SIGKILL)
        server.start()
        killed += 1

  def session(number: int) -> tuple[str, list[tuple[int, str, int]]]:
    rater = Rater(server)
    rater.begin()
    kept: list[tuple[int, str, int]] = []
    while rater.state['phase'] == 'rating':
      kept.append(rater.rate(1 + (number + len(kept)) % 5))
      acknowledge()
    return rater.code, kept

  start = time.monotonic()
  with serving(folder) as server, futures.ThreadPoolExecutor(raters) as pool:
    tasks = [pool.submit(session, i) for i in range(raters)]
    sessions = [task.result() for task in tasks]
  seconds = time.monotonic() - start
  return _compare(folder, sessions, killed, seconds)


def _compare(
  folder: pathlib.Path,
  sessions: list[tuple[str, list[tuple[int, str, int]]]],
  kills: int,
  seconds: float,
) -> Scores:
  with contextlib.closing(
    ratings_lib.Ratings(folder, study.load(folder))
  ) as kept:
    stored = [(r.rater, r.position, r.file, r.score) for r in kept.all()]
    acknowledged = [
      (kept.find(code), *score) for code, scores in sessions for score in scores
    ]
  places = [row[:2] for row in stored]
  return Scores(
    raters=len(sessions),
    kills=kills,
    acknowledged=len(acknowledged),
    stored=len(stored),
    lost=len(set(acknowledged) - set(stored)),
    doubled=len(places) - len(set(places)),
    seconds=seconds,
  )


class Running(Protocol):
  """What has a process of its own."""

  process: 'subprocess.Popen[str]'


def fill_disk(server: Running, is_full: bool) -> None:
  """Lets the server's files grow no more, as on a full disk; or again."""
  unlimited = resource.RLIM_INFINITY
  limit = 1 if is_full else unlimited
  resource.prlimit(
    server.process.pid, resource.RLIMIT_FSIZE, (limit, unlimited)
  )


@dataclasses.dataclass(frozen=True)
class FullDisk:
  """What became of a score on a full disk.

  Attributes:
    status: of the answer while it was full.
    kept_when_full: scores stored then.
    kept_after: scores stored once there was room and it was sent again.
  """

  status: int
  kept_when_full: int
  kept_after: int


def rate_on_a_full_disk(folder: pathlib.Path) -> FullDisk:
  """Scores one image while the disk is full, and again when it is not."""
  with serving(folder) as server:
    rater = Rater(server)
    rater.begin()
    before, state = _count(folder), rater.state
    fill_disk(server, True)
    body = {'position': state['position'], 'image': state['image'], 'score': 4}
    status = rater.ask_once('/rating', body)
    when_full = _count(folder)
    fill_disk(server, False)
    rater.rate(4)
    return FullDisk(status, when_full - before, _count(folder) - before)


def _count(folder: pathlib.Path) -> int:
  with contextlib.closing(
    ratings_lib.Ratings(folder, study.load(folder))
  ) as kept:
    return len(kept.all())


def answer_time_among_idle(folder: pathlib.Path, connections: int) -> float:
  """Seconds until a rater is registered among connections that say nothing.

  Every second one has begun a request that it does not end.
  """
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  wanted = connections + 200
  resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
  with serving(folder) as server, contextlib.ExitStack() as stack:
    for i in range(connections):
      idle = socket.create_connection(('127.0.0.1', server.port), timeout=30)
      stack.enter_context(idle)
      if i % 2:
        idle.sendall(b'POST /rating HTTP/1.1\r\nHost: 127.0.0.1\r\n')
    start = time.monotonic()
    Rater(server).ask('/start', {})
    return time.monotonic() - start
