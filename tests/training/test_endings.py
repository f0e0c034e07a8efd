"""How a training command ends: signals, full disks, a folder in use."""

import os
import signal
import subprocess
import sys
import time

import pytest

from srgan_jax.training import checkpoints, lock
from srgan_jax.training.run import Run
from srgan_jax.training.setup import Setup
from tests.support import repository, signals

FLAGS = (
  *repository.TINY,
  '--config.data.loader=resident',
  f'--config.stages.pretrain.steps={10**6}',
  '--config.stages.gan.steps=0',
)


def command(workdir, *more):
  module = (sys.executable, '-m', 'srgan_jax.main')
  return *module, *FLAGS, f'--workdir={workdir}', *more


def start(*arguments, **settings):
  return subprocess.Popen(
    arguments,
    cwd=repository.ROOT,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
    **settings,
  )


def wait_for(condition, process):
  end = time.monotonic() + 240
  while not condition() and process.poll() is None:
    assert time.monotonic() < end
    time.sleep(0.02)


def has_metrics(workdir):
  path = workdir / 'metrics.jsonl'
  return path.exists() and path.stat().st_size > 0


def assert_saved(workdir):
  folder = workdir / 'checkpoints' / 'pretrain'
  [step, *_] = checkpoints.steps(folder)
  assert checkpoints.find_fault(folder / str(step)) is None


def test_a_second_run_is_refused_and_harms_nothing(tmp_path):
  workdir = tmp_path / 'run'
  first = start(*command(workdir))
  try:
    wait_for(lambda: has_metrics(workdir), first)
    with pytest.raises(ValueError, match=f'in use by process {first.pid} on'):
      Run(Setup(repository.config_of(*FLAGS)), workdir)
    first.send_signal(signal.SIGTERM)
    _, said = first.communicate(timeout=240)
    assert first.returncode == 143 and 'was saved' in said
  finally:
    first.kill()
  assert_saved(workdir)
  lock.check(workdir)


_ON_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_terminal_that_hangs_up_saves(tmp_path):
  workdir = tmp_path / 'run'
  ours, its = os.openpty()
  with signals.hangups_count():
    process = subprocess.Popen(
      [sys.executable, '-c', _ON_TERMINAL, *command(workdir)],
      cwd=repository.ROOT,
      stdin=its,
      stdout=its,
      stderr=its,
    )
  try:
    os.close(its)
    os.set_blocking(ours, False)
    wait_for(lambda: drain(ours) or has_metrics(workdir), process)
    os.close(ours)  # which sends SIGHUP
    assert process.wait(timeout=240) == 143
  finally:
    process.kill()
  assert_saved(workdir)


def drain(terminal):
  """Reads what a terminal shows, lest it is full."""
  try:
    while os.read(terminal, 1 << 16):
      pass
  except BlockingIOError:
    pass


_STUCK = """
import sys, threading, time
from srgan_jax import cli
def main():
  threading.Thread(target=time.sleep, args=(300,)).start()
  {ending}
cli.run(main)
"""


@pytest.mark.parametrize(
  ('ending', 'status', 'said'),
  [
    ('sys.exit("train: no room")', 1, 'train: no room\n'),
    ('sys.exit(143)', 143, ''),
    ('return 3', 3, ''),
    ('raise RuntimeError("a fault")', 1, 'RuntimeError: a fault\n'),
  ],
)
def test_a_process_that_has_failed_ends_whatever_waits(ending, status, said):
  process = start(sys.executable, '-c', _STUCK.format(ending=ending))
  _, error = process.communicate(timeout=30)
  assert process.returncode == status
  assert error.endswith(said)


def test_output_that_cannot_be_written_is_one_line():
  code = 'from srgan_jax import cli; cli.run(lambda: print("a line"))'
  with open('/dev/full', 'w') as full:
    result = subprocess.run(
      [sys.executable, '-c', code],
      cwd=repository.ROOT,
      stdout=full,
      stderr=subprocess.PIPE,
      text=True,
    )
  assert result.returncode == 1
  [line] = result.stderr.splitlines()
  assert 'No space left on device' in line
