"""What a run shows: JSON lines, TensorBoard, a progress bar, sample images."""

from collections.abc import Iterator, Mapping
import contextlib
import itertools
import json
import logging
import math
import pathlib
import time
from typing import Self, TypeVar

import jax
import numpy as np
from PIL import Image
import tqdm

from srgan_jax import cli, files
from srgan_jax.evaluation import report
from srgan_jax.training import stages, tensorboard
from srgan_jax.training import step as step_lib

Batch = TypeVar('Batch')

logger = logging.getLogger('srgan_jax')


class Reporter:
  """The reports of one stage into `workdir`; silent but in one process.

  Writes `metrics.jsonl` (a JSON object a line with `step`, `stage` and the
  terms), `tensorboard/STAGE/` and `samples/`.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    stage: str,
    *,
    start: int,
    steps: int,
    active: bool = True,
  ):
    """Opens the reports at step `start`, cutting what a lost run wrote after.

    Active is the first process alone.
    """
    self._stage = stage
    self._active = active
    self._steps = steps
    self._start = start
    self._started = time.monotonic()
    if not active:
      return
    self._samples = workdir / 'samples'
    files.make_folder(workdir)
    path = workdir / 'metrics.jsonl'
    cut_metrics(path, stage, start)
    self._lines = path.open('a', encoding='utf-8')
    self._board = tensorboard.Board(
      workdir / 'tensorboard' / stage, purge_step=start + 1
    )
    self._bar = cli.progress(
      total=steps,
      initial=start,
      desc=stage,
      unit='step',
      smoothing=0.05,
      dynamic_ncols=True,
    )

  def advance(self, steps: int) -> None:
    """Counts steps on the progress bar."""
    if self._active:
      self._bar.update(steps)

  def metrics(self, step: int, values: Mapping[str, float]) -> None:
    """Writes one line of metrics; what is not finite is null there."""
    if not self._active:
      return
    numbers = {name: report.to_json(value) for name, value in values.items()}
    record = {'step': step, 'stage': self._stage, **numbers}
    with files.naming(self._lines.name):
      self._lines.write(json.dumps(record) + '\n')
      self._lines.flush()
    self._board.scalars(step, values)
    text = ' '.join(f'{name}={value:.4g}' for name, value in values.items())
    if not self._bar.disable:
      self._bar.write(f'{self._stage} {step}: {text}')
      return
    seconds = time.monotonic() - self._started
    logger.info(
      '%s %s',
      tqdm.tqdm.format_meter(
        step,
        self._steps,
        seconds,
        ncols=0,
        prefix=self._stage,
        unit='step',
        initial=self._start,
      ),
      text,
    )

  def images(self, step: int, image: np.ndarray) -> None:
    """Writes uint8 [H, W, 3] to `samples/STAGE_STEP.png` and TensorBoard."""
    if not self._active:
      return
    path = self._samples / f'{self._stage}_{step:07d}.png'
    write_image(path, image)
    self._board.image(step, 'samples', image.shape, path.read_bytes())

  def __enter__(self) -> Self:
    return self

  def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
    # What failed once, say on a full disk, would fail again and hide the cause.
    with contextlib.suppress(*() if kind is None else (OSError,)):
      self.close()

  def close(self) -> None:
    """Ends the reports."""
    if self._active:
      with contextlib.ExitStack() as stack:
        stack.callback(self._bar.close)
        stack.callback(self._board.close)
        stack.callback(self._lines.close)


class Clock:
  """Images a second, and the part of the time spent waiting for input."""

  def __init__(self, batch_size: int):
    self._batch_size = batch_size
    self.reset()

  def reset(self) -> None:
    """Starts a new measurement."""
    self._start = time.monotonic()
    self._waited = 0.0
    self._steps = 0

  def wait_for(self, batches: Iterator[Batch], count: int) -> list[Batch]:
    """The next batches; the time until they come counts as waiting."""
    start = time.monotonic()
    taken = list(itertools.islice(batches, count))
    self._waited += time.monotonic() - start
    self._steps += count
    return taken

  def figures(self) -> dict[str, float]:
    """`images_per_s` and `input_wait`, a fraction, since the last reset.

    Neither where nothing was taken since.
    """
    if not self._steps:
      return {}
    seconds = time.monotonic() - self._start
    return {
      'images_per_s': self._steps * self._batch_size / seconds,
      'input_wait': self._waited / seconds,
    }


class Window:
  """Metrics of the updates since the last line of them.

  Attributes:
    values: those on the host, a dict an update.
  """

  def __init__(self, stage: str):
    self._stage = stage
    self._pending: list[tuple[int, step_lib.Metrics]] = []
    self.values: list[dict[str, float]] = []

  def add(self, first_step: int, metrics: step_lib.Metrics) -> None:
    """Takes a call's metrics [K], which may not be computed yet."""
    self._pending.append((first_step, metrics))

  def wait(self, calls_left: int) -> None:
    """Waits until so many calls are unfinished at most."""
    # A call ends after all before it.
    if len(self._pending) > calls_left:
      jax.block_until_ready(self._pending[-1 - calls_left][1])

  def fetch(self) -> None:
    """Brings all metrics to the host.

    Raises:
      FloatingPointError: naming the first step and term that is not finite.
    """
    for first, metrics in self._pending:
      names, columns = zip(*jax.device_get(metrics).items(), strict=True)
      for step, row in enumerate(zip(*columns, strict=True), first):
        values = dict(zip(names, map(float, row), strict=True))
        self._require_finite(step, values)
        self.values.append(values)
    self._pending.clear()

  def take_mean(self) -> dict[str, float]:
    """The means over the updates, and starts anew."""
    means = {
      name: sum(values[name] for values in self.values) / len(self.values)
      for name in self.values[0]
    }
    self.values = []
    return means

  def _require_finite(self, step: int, values: Mapping[str, float]) -> None:
    for name in sorted(values, key=step_lib.CAUSES.index):
      if not math.isfinite(value := values[name]):
        raise FloatingPointError(
          f'{self._stage} step {step}: {name} is {value}'
        )


def write_image(path: pathlib.Path, image: np.ndarray) -> None:
  """Writes uint8 [H, W, 3] as PNG, whole or not at all."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with files.replacing(path) as beside:
    Image.fromarray(image).save(beside, format='PNG', compress_level=1)


def cut_metrics(path: pathlib.Path, stage: str, step: int) -> None:
  """Drops the lines of a JSON-lines file past `step` of `stage`.

  Those, and a last line cut off in the middle, come from a run that was killed
  after its last checkpoint; the resumed run writes them again. Lines that no
  run has written are dropped too, with a warning.
  """
  if not path.exists():
    return
  kept, foreign = [], []
  lines = path.read_bytes().split(b'\n')
  # The last one is empty, or was cut off.
  for number, line in enumerate(lines[:-1], 1):
    place = _place(line)
    if place is None:
      foreign.append(number)
    elif place <= (stages.NAMES.index(stage), step):
      kept.append(line + b'\n')
  if foreign:
    logger.warning('%s: dropped damaged lines: %s', path, foreign)
  files.write_bytes(path, b''.join(kept))


def _place(line: bytes) -> tuple[int, int] | None:
  """Stage and step of a line of metrics; None where it is none."""
  try:
    record = files.parse_json(line)
    return stages.NAMES.index(record['stage']), int(record['step'])
  except (ValueError, KeyError, TypeError, OverflowError):
    return None
