"""One run at a time in a folder, whatever happened to the one before."""

from concurrent import futures
import errno
import os
import re
import signal
import subprocess
import sys
import threading

import filelock
import pytest

from srgan_jax.training import lock
from tests.support import repository

_HOLD = """
import pathlib, sys, time
from srgan_jax.training import lock
with lock.held(pathlib.Path(sys.argv[1])):
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


def test_the_second_is_refused_with_the_holders_name(tmp_path, holder):
  for refused in (lock.check, lambda folder: lock.held(folder).__enter__()):
    with pytest.raises(ValueError) as caught:
      refused(tmp_path)
    assert re.fullmatch(
      rf'{tmp_path} is in use by process {holder.pid} on \S+ since '
      r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d.*: wait for .*',
      str(caught.value),
    )


def test_a_killed_holder_is_in_nobodys_way(tmp_path, holder):
  holder.send_signal(signal.SIGKILL)
  holder.wait()
  assert f'process {holder.pid} ' in (tmp_path / lock.NAME).read_text()
  lock.check(tmp_path)
  with lock.held(tmp_path):
    assert f'process {os.getpid()} ' in (tmp_path / lock.NAME).read_text()


def test_of_many_at_once_exactly_one_gets_it(tmp_path):
  start, ended = threading.Barrier(8), threading.Barrier(8)
  got, refused = [], []

  def take():
    start.wait()
    try:
      with lock.held(tmp_path):
        got.append(True)
        ended.wait()
    except ValueError as error:
      refused.append(error)
      ended.wait()

  with futures.ThreadPoolExecutor(8) as pool:
    for _ in range(8):
      pool.submit(take)
  assert len(got) == 1 and len(refused) == 7


@pytest.mark.parametrize('content', [b'', b'\xff', b'{}', b'[' * 10**5])
def test_a_file_that_nobody_holds_is_no_lock(tmp_path, content):
  (tmp_path / lock.NAME).write_bytes(content)
  lock.check(tmp_path)
  with lock.held(tmp_path):
    assert f'process {os.getpid()} ' in (tmp_path / lock.NAME).read_text()


def test_a_folder_without_a_lock_gets_none_by_the_check(tmp_path):
  lock.check(tmp_path)
  lock.check(tmp_path / 'nowhere')
  assert not list(tmp_path.iterdir())


def test_a_drive_without_locks_is_named(tmp_path, monkeypatch):
  def refuse(*arguments, **options):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

  monkeypatch.setattr(filelock.FileLock, 'acquire', refuse)
  with pytest.raises(OSError, match='not implemented.*run.lock'):
    lock.held(tmp_path).__enter__()
