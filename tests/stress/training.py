"""Training under `kill -9` and on full disks: it ends as a run left alone."""

from collections.abc import Iterator
import contextlib
import hashlib
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from tests.stress import Row
from tests.support import repository

HEADER = ('training meets', 'times', 'and ends the same, bit by bit')

STEPS = 15  # of either stage
# Saves are frequent, so that some kills come in the midst of one.
FLAGS = (
  *repository.TINY,
  '--config.data.loader=resident',
  f'--config.stages.pretrain.steps={STEPS}',
  f'--config.stages.gan.steps={STEPS}',
  '--config.save_every=3',
  '--config.log_every=3',
  '--config.ema_decay=0.9',
)
_STAGES = 'pretrain', 'gan'
_TIMED = 'images_per_s', 'input_wait'


def start(workdir: pathlib.Path) -> 'subprocess.Popen[str]':
  """Starts a run, or goes on with it."""
  module = sys.executable, '-m', 'srgan_jax.main'
  return subprocess.Popen(
    [*module, *FLAGS, f'--workdir={workdir}'],
    cwd=repository.ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(workdir: pathlib.Path) -> None:
  """Lets a run go on to its end.

  Raises:
    ValueError: with what it said, where it did not come to it.
  """
  process = start(workdir)
  said, _ = process.communicate(timeout=600)
  if process.returncode:
    raise ValueError(f'status {process.returncode}: {said}')


def logged(workdir: pathlib.Path) -> int:
  """The updates of both stages that a run has logged so far."""
  with contextlib.suppress(OSError, IndexError, json.JSONDecodeError):
    last = json.loads((workdir / 'metrics.jsonl').read_text().splitlines()[-1])
    return int(last['step'] + STEPS * _STAGES.index(last['stage']))
  return 0


def end(workdir: pathlib.Path) -> dict[str, str]:
  """Digests of all that a run ended with, but for its times."""
  import jax
  import orbax.checkpoint as ocp

  found = {}
  for path in workdir.glob('*.safetensors'):
    found[path.name] = path.read_bytes()
  for stage in _STAGES:
    state = workdir / 'checkpoints' / stage / str(STEPS) / 'state'
    restored = ocp.StandardCheckpointer().restore(state.absolute())
    for name, leaf in jax.tree_util.tree_leaves_with_path(restored):
      place = f'{stage}{jax.tree_util.keystr(name)}'
      found[place] = jax.device_get(leaf).tobytes()
  for line in (workdir / 'metrics.jsonl').read_text().splitlines():
    record = json.loads(line)
    kept = {key: record[key] for key in record if key not in _TIMED}
    place = f'metrics {record["stage"]} {record["step"]}'
    assert place not in found, f'{place} is there twice'
    found[place] = json.dumps(kept).encode()
  return {
    name: hashlib.sha256(data).hexdigest() for name, data in found.items()
  }


def kill(workdir: pathlib.Path, times: int, seed: int) -> int:
  """Stops a run at random moments, then lets it end; the stops that struck.

  Every second one is a SIGTERM, upon which it saves; the others are SIGKILL.
  """
  rng, struck = random.Random(seed), 0
  # Not the last updates: a run that has ended is not stopped.
  moments = sorted(rng.choices(range(2 * STEPS - 10), k=times))
  for number, moment in enumerate(moments):
    process = start(workdir)
    while logged(workdir) < moment and process.poll() is None:
      time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.2))
    process.send_signal(signal.SIGTERM if number % 2 else signal.SIGKILL)
    process.communicate(timeout=600)
    struck += process.returncode != 0
  finish(workdir)
  return struck


def fill(folder: pathlib.Path, alone: pathlib.Path, share: float) -> str:
  """Runs on a disk that is too small and, once there is room, to the end.

  Args:
    folder: where the disk is mounted.
    alone: a run that had room.
    share: of the room that it takes, the disk's size.

  Returns:
    What is wrong; '' where the full disk was said in a line and the end is
    that of the other run.

  Raises:
    PermissionError: without the right to mount.
  """
  whole = sum(512 * path.lstat().st_blocks for path in alone.rglob('*'))
  folder.mkdir()
  _mount(folder, f'size={int(share * whole)}')
  try:
    process = start(folder / 'run')
    said, _ = process.communicate(timeout=600)
    last = said.strip().splitlines()[-1]
    is_line = last.startswith('srgan_jax: ') and 'No space left' in last
    if process.returncode != 1 or not is_line or 'Traceback' in said:
      return f'status {process.returncode}: {said}'
    _mount(folder, f'remount,size={8 * whole}')
    finish(folder / 'run')
    return '' if end(folder / 'run') == end(alone) else 'another end'
  except ValueError as error:  # of the run that had room
    return str(error)
  finally:
    subprocess.run(['umount', '--lazy', str(folder)], check=True)


def _mount(folder: pathlib.Path, options: str) -> None:
  command = ['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', str(folder)]
  if subprocess.run(command, capture_output=True, check=False).returncode:
    raise PermissionError(f'{folder}: a disk of its own takes root')


def attack(short: bool) -> Iterator[Row]:
  """Stops a run again and again, and fills the disks of others."""
  stops, disks = (1, 0) if short else (20, 6)
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    alone, stopped = folder / 'alone', folder / 'stopped'
    finish(alone)
    struck = kill(stopped, stops, seed=0)
    fault = '' if struck and end(stopped) == end(alone) else 'another end'
    yield Row(
      ('SIGKILL and SIGTERM at random moments', struck, not fault), fault
    )
    for number in range(disks):
      share = (number + 0.5) / disks
      try:
        fault = fill(folder / f'disk {number}', alone, share)
      except PermissionError as error:
        yield Row((str(error), 0, ''))
        return
      yield Row((f'a disk of {share:.0%} of the room', 1, not fault), fault)
