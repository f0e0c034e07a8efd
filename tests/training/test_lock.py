"""One run at a time in a folder, whatever happened to the one before."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from srgan_jax.training import lock as lock_lib
from srgan_jax.training.lock import NAME, Lock
from tests.support import repository

_HOLD = """
import pathlib, sys, time
from srgan_jax.training.lock import Lock
with Lock(pathlib.Path(sys.argv[1])):
  print('held', flush=True)
  time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
  """A process that holds the folder's lock."""
  process = subprocess.Popen(
    [sys.executable, '-c', _HOLD, str(tmp_path)],
    cwd=repository.ROOT,
    stdout=subprocess.PIPE,
    text=True,
  )
  assert process.stdout.readline() == 'held\n'
  yield process
  process.kill()
  process.wait()
  process.stdout.close()


def quick(folder):
  return Lock(folder, renewed_every=0.05, left_behind_after=0.5)


def write(folder, **changes):
  """A lock of another, that nobody renews."""
  own = dataclasses.asdict(lock_lib._this_process())
  text = json.dumps(own | {'token': 'other'} | changes)
  (folder / NAME).write_text(text)


def test_the_second_is_refused_with_the_holders_name(tmp_path, holder):
  for refused in (Lock(tmp_path).check, Lock(tmp_path).__enter__):
    with pytest.raises(ValueError) as caught:
      refused()
    assert re.fullmatch(
      rf'{tmp_path} is in use by process {holder.pid} on \S+ since '
      r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d.*: wait for .*',
      str(caught.value),
    )


def test_a_killed_holders_lock_is_taken_at_once(tmp_path, holder):
  holder.send_signal(signal.SIGKILL)
  holder.wait()
  assert (tmp_path / NAME).exists()
  Lock(tmp_path).check()
  began = time.monotonic()
  with Lock(tmp_path):
    assert json.loads((tmp_path / NAME).read_text())['process'] == os.getpid()
  assert time.monotonic() - began < 5
  assert not list(tmp_path.iterdir())  # nothing is left


def test_a_later_process_of_the_same_number_is_no_holder(tmp_path):
  write(tmp_path, started='1')
  with Lock(tmp_path):
    pass


def test_another_machines_lock_is_taken_when_nobody_renews_it(tmp_path):
  write(tmp_path, machine='elsewhere', host='node7')
  began = time.monotonic()
  with quick(tmp_path):
    assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize('content', [b'', b'\xff', b'{}', b'[' * 10**5])
def test_a_lock_that_names_nobody_is_taken_too(tmp_path, content):
  (tmp_path / NAME).write_bytes(content)
  with quick(tmp_path):
    assert json.loads((tmp_path / NAME).read_text())['process'] == os.getpid()


def test_another_machines_lock_that_is_renewed_is_kept(tmp_path):
  write(tmp_path, machine='elsewhere', host='node7')
  ended = threading.Event()

  def renew():
    while not ended.wait(0.05):
      os.utime(tmp_path / NAME)

  thread = threading.Thread(target=renew)
  thread.start()
  try:
    with pytest.raises(ValueError, match='in use by process .* on node7'):
      quick(tmp_path).__enter__()
  finally:
    ended.set()
    thread.join()
  assert json.loads((tmp_path / NAME).read_text())['token'] == 'other'


def test_a_holder_renews_its_lock(tmp_path):
  with quick(tmp_path):
    before = (tmp_path / NAME).stat().st_mtime_ns
    time.sleep(0.3)
    assert (tmp_path / NAME).stat().st_mtime_ns > before


def test_who_lost_its_lock_stops(tmp_path):
  with quick(tmp_path) as held:
    held.require()
    write(tmp_path, host='node7')
    time.sleep(0.3)
    with pytest.raises(ValueError, match='was taken by process .* on node7'):
      held.require()
  assert (tmp_path / NAME).exists()  # the other's


def test_a_drive_without_links_locks_too(tmp_path, monkeypatch):
  def refuse(*arguments):
    raise PermissionError(1, 'Operation not permitted')

  monkeypatch.setattr(os, 'link', refuse)
  with Lock(tmp_path):
    with pytest.raises(ValueError, match='in use by process'):
      Lock(tmp_path).__enter__()


def test_of_many_that_find_a_lock_left_behind_one_gets_it(tmp_path):
  for _ in range(20):
    write(tmp_path, started='1')
    start, got = threading.Barrier(8), []

    def take(start=start, got=got):
      mine = Lock(tmp_path)
      start.wait()
      try:
        mine.__enter__()
        got.append(mine)
      except ValueError:
        pass

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    assert len(got) == 1
    got[0].__exit__()
    assert not (tmp_path / NAME).exists()


def test_who_is_killed_while_taking_a_lock_over_is_in_nobodys_way(tmp_path):
  write(tmp_path, started='1')
  killed = 'import os\nos.replace = lambda *paths: os._exit(9)\n' + _HOLD
  result = subprocess.run(
    [sys.executable, '-c', killed, str(tmp_path)], cwd=repository.ROOT
  )
  assert result.returncode == 9
  left = set(tmp_path.iterdir()) - {tmp_path / NAME}
  assert len(left) == 2  # its claim, and the lock that it was about to place
  with Lock(tmp_path):
    assert json.loads((tmp_path / NAME).read_text())['process'] == os.getpid()
  assert len(list(tmp_path.iterdir())) == 1  # that lock
