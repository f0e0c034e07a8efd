"""A study's server under raters, kills, a full disk and clients that wait.

Each attack starts `python -m srgan_jax.mos serve` on a study of random images
and acts as the page does: a score is sent until it is acknowledged.
"""

from collections.abc import Iterator
from concurrent import futures
import contextlib
import dataclasses
import http.client
import pathlib
import random
import resource
import socket
import tempfile
import threading
import time
from typing import Any

from srgan_jax.mos import prepare, study
from srgan_jax.mos import ratings as ratings_lib
from tests.stress import Row
from tests.support import opinion, pages

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
    fault = '' if disk == (503, 0, 1) else 'not survived'
    yield Row(('a full disk: status, kept then, kept later', disk), fault)
    seconds = answer_time_among_idle(folder, _IDLE)
    fault = f'over {_SOON} s' if seconds > _SOON else ''
    yield Row((f'seconds to register among {_IDLE} idle', seconds), fault)


def make_study(folder: pathlib.Path, images: int) -> pathlib.Path:
  """A study of random images, each by three methods; where it lies."""
  sizes = {f'image{i}': (48, 40) for i in range(images)}
  hr = opinion.write_set(folder, **sizes)
  output = folder / 'study'
  prepare.prepare(
    prepare.open_sets([str(hr)]), {}, output, examples=1, repeats=0
  )
  return output


class Rater(opinion.Client):
  """A rater as the page has her: she sends again until there is an answer."""

  def post(self, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    """As a client's, without answers that ask for another try."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
      with contextlib.suppress(OSError, http.client.HTTPException):
        status, found = super().post(path, **body)
        if status < 500:
          return status, found
      time.sleep(_RETRY)
    raise TimeoutError(f'no answer to {path}')


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
    kills: how often; each at a random score of an equal part of them all, of
      which there must be enough.
  """
  rng = random.Random(0)
  # Of every rater one more score may be acknowledged before the server dies:
  # each kill is early enough for some to be left.
  stretch = (len(study.load(folder).files) - 1) * raters // max(kills, 1)
  moments = {1 + stretch * i + rng.randrange(stretch) for i in range(kills)}
  lock, count, killed = threading.Lock(), 0, 0

  def acknowledge() -> None:
    nonlocal count, killed
    with lock:
      count += 1
      if count in moments:
        server.kill()
        server.start()
        killed += 1

  def session(number: int) -> tuple[str, list[tuple[int, str, int]]]:
    rater = Rater(server)
    state = rater.start()
    kept: list[tuple[int, str, int]] = []
    while state['phase'] == 'rating':
      position, score = state['position'], 1 + (number + len(kept)) % 5
      _, after = rater.rate(state, score)
      if after['rated'] != position + 1:
        raise ValueError(f'after {position} came {after}')
      kept.append((position, state['image'], score))
      acknowledge()
      state = after
    return state['code'], kept

  start = time.monotonic()
  with (
    opinion.serving(folder) as server,
    futures.ThreadPoolExecutor(raters) as pool,
  ):
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


def fill_disk(server: pages.Server, is_full: bool) -> None:
  """Lets the server's files grow no more, as on a full disk; or again."""
  unlimited = resource.RLIM_INFINITY
  limit = 1 if is_full else unlimited
  resource.prlimit(
    server.process.pid, resource.RLIMIT_FSIZE, (limit, unlimited)
  )


def rate_on_a_full_disk(folder: pathlib.Path) -> tuple[int, int, int]:
  """Scores one image while the disk is full, and again when it is not.

  Returns:
    The status of the answer while it was full, how many scores were stored
    then, and once there was room and the score was sent again.
  """
  count = lambda: len(opinion.kept(folder))
  with opinion.serving(folder) as server:
    rater = opinion.Client(server)
    before, state = count(), rater.start()
    fill_disk(server, True)
    status, _ = rater.rate(state, 4)
    when_full = count()
    fill_disk(server, False)
    rater.rate(state, 4)
    return status, when_full - before, count() - before


def answer_time_among_idle(folder: pathlib.Path, connections: int) -> float:
  """Seconds until a rater is registered among connections that say nothing.

  Every second one has begun a request that it does not end.
  """
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  wanted = connections + 200
  resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
  with opinion.serving(folder) as server, contextlib.ExitStack() as stack:
    for i in range(connections):
      idle = socket.create_connection(('127.0.0.1', server.port), timeout=30)
      stack.enter_context(idle)
      if i % 2:
        idle.sendall(b'POST /rating HTTP/1.1\r\nHost: 127.0.0.1\r\n')
    start = time.monotonic()
    Rater(server).post('/start')
    return time.monotonic() - start
