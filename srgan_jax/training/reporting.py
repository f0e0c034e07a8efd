"""What a run shows: JSON lines, TensorBoard, a progress bar, sample images."""

from collections.abc import Iterator, Mapping
import itertools
import json
import logging
import pathlib
import time
from typing import TypeVar

import numpy as np
from PIL import Image
import tensorboardX
import tqdm

from srgan_jax import cli, files

Batch = TypeVar('Batch')

_STAGES = ('pretrain', 'gan')

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

    Args:
      workdir: the run's folder.
      stage: 'pretrain' or 'gan'.
      start: the step restored, 0 for a new stage.
      steps: the stage's length.
      active: False in all processes but the first.
    """
    self._stage = stage
    self._active = active
    self._steps = steps
    self._start = start
    self._started = time.monotonic()
    if not active:
      return
    self._samples = workdir / 'samples'
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / 'metrics.jsonl'
    cut_metrics(path, stage, start)
    self._lines = path.open('a', encoding='utf-8')
    self._board = tensorboardX.SummaryWriter(
      str(workdir / 'tensorboard' / stage), purge_step=start + 1
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
    """Writes one line of metrics."""
    if not self._active:
      return
    record = {'step': step, 'stage': self._stage, **values}
    self._lines.write(json.dumps(record) + '\n')
    self._lines.flush()
    for name, value in values.items():
      self._board.add_scalar(name, value, step)
    text = ' '.join(f'{name}={value:.4g}' for name, value in values.items())
    if self._bar.disable:
      self._print_progress(step, text)
    else:
      self._bar.write(f'{self._stage} {step}: {text}')

  def images(self, step: int, name: str, image: np.ndarray) -> None:
    """Writes uint8 [H, W, 3] to `samples/STAGE_STEP.png` and TensorBoard."""
    if not self._active:
      return
    path = self._samples / f'{self._stage}_{step:07d}.png'
    write_image(path, image)
    self._board.add_image(name, image, step, dataformats='HWC')

  def close(self) -> None:
    if self._active:
      self._lines.close()
      self._board.close()
      self._bar.close()

  def _print_progress(self, step: int, text: str) -> None:
    """A line for log files, where a progress bar is no use."""
    seconds = time.monotonic() - self._started
    rate = (step - self._start) / seconds if seconds else 0.0
    left = (self._steps - step) / rate if rate else float('inf')
    logger.info(
      '%s %d/%d (%.2f steps/s, %s left) %s',
      self._stage,
      step,
      self._steps,
      rate,
      tqdm.tqdm.format_interval(left) if rate else '?',
      text,
    )


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
    """`images_per_s` and `input_wait`, a fraction, since the last reset."""
    seconds = time.monotonic() - self._start
    return {
      'images_per_s': self._steps * self._batch_size / seconds,
      'input_wait': self._waited / seconds,
    }


def write_image(path: pathlib.Path, image: np.ndarray) -> None:
  """Writes uint8 [H, W, 3] as PNG, whole or not at all."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with files.replacing(path) as beside:
    Image.fromarray(image).save(beside, format='PNG')


def cut_metrics(path: pathlib.Path, stage: str, step: int) -> None:
  """Drops the lines of a JSON-lines file past `step` of `stage`.

  Those, and a last line cut off in the middle, come from a run that was killed
  after its last checkpoint; the resumed run writes them again.
  """
  if not path.exists():
    return
  limit = (_STAGES.index(stage), step)
  kept = []
  for line in path.read_text(encoding='utf-8').splitlines():
    try:
      record = json.loads(line)
    except json.JSONDecodeError:
      continue
    if (_STAGES.index(record['stage']), record['step']) <= limit:
      kept.append(line + '\n')
  files.write_text(path, ''.join(kept))
