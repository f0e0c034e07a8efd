"""The tf.data loader: crops are read and cut on the host, ahead of the step.

Ships uint8 HR crops with their context; low resolution, flips and ranges are
made inside the compiled step (`batch`). Which crops is decided by `draw` alone,
so nothing here has a state: a run that starts again at step n goes on with
exactly the batches it would have seen. TensorFlow is imported when a pipeline
is made, not before.
"""

import atexit
from collections.abc import Callable, Iterator
import functools
import importlib.util
import os
from typing import Any
import weakref

import jax
import numpy as np

from srgan_jax import cli
from srgan_jax.data import draw as draw_lib
from srgan_jax.data.caching import RecentSource
from srgan_jax.data.loader import host_batch
from srgan_jax.data.source import Source
from srgan_jax.imaging import resize

PREFETCH = 8  # batches ready in memory; 0.6 MB each at 16 crops of 96


class TfDataLoader:
  """The loader of a training run: this process's crops, from tf.data."""

  pictures = None  # nothing lies on the device

  def __init__(self, source: Source, **settings: Any):
    """Takes what `batches` takes.

    Raises:
      ImportError: where TensorFlow is not installed.
    """
    if importlib.util.find_spec('tensorflow') is None:
      raise ImportError(
        "config.data.loader 'tfdata' takes TensorFlow "
        f"({cli.install('train')}), 'resident' does not"
      )
    self._batches = functools.partial(batches, source, **settings)

  def batches(self, start_step: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """This process's batches from `start_step` on, without end."""
    return self._batches(
      start_step=start_step,
      shard_index=jax.process_index(),
      shard_count=jax.process_count(),
    )

  def crops(self, pictures: None, crops: dict[str, Any]) -> dict[str, Any]:
    """The crops come cut; see `resident.ResidentLoader.crops`."""
    del pictures
    return crops


def batches(
  source: Source,
  *,
  seed: int,
  start_step: int = 0,
  batch_size: int,
  crop_size: int,
  augment: bool = True,
  edge: resize.Edge = 'clamp',
  crops_per_image: int = 1,
  shard_index: int = 0,
  shard_count: int = 1,
  threads: int | None = None,
) -> Iterator[dict[str, np.ndarray]]:
  """Batches of crops from `start_step` on, without end.

  Process i of n gives rows [i*b, (i+1)*b) of the batch, b = batch_size / n, as
  `host_batch` returns them.

  Args as for `draw` and `cut`, and:
    crops_per_image: see `draw`; the pictures are kept between the steps.
    shard_index: this process.
    shard_count: how many processes; divides `batch_size`.
    threads: crops read at a time, by default two a core: some wait for disks.

  Raises:
    ValueError: shards that do not divide the batch, or of `draw`, `host_batch`.
    ImportError: without TensorFlow.
  """
  if not 0 <= shard_index < shard_count or batch_size % shard_count:
    raise ValueError(
      f'batch_size {batch_size} cannot be split for process {shard_index}'
      f' of {shard_count}'
    )
  rows = batch_size // shard_count
  if crops_per_image > 1:
    source = RecentSource(source, 2 * rows)
  draw = functools.partial(
    draw_lib.draw, seed, sizes=source.sizes, batch_size=batch_size,
    crop_size=crop_size, augment=augment,
    crops_per_image=crops_per_image,
  )  # fmt: skip
  draw(start_step)  # what is wrong with the arguments is said now
  cut = functools.partial(host_batch, source, crop_size=crop_size, edge=edge)
  side = crop_size + 2 * resize.CONTEXT
  mine = slice(shard_index * rows, (shard_index + 1) * rows)
  threads = threads or 2 * (os.cpu_count() or 1)
  return _Pipeline(draw, cut, side, mine).start(start_step, threads)


class _Pipeline:
  """From steps to crops, by tf.data.

  `draw` gives the global batch of a step, `cut` the crops of a draw, of `side`
  pixels with their context; `mine` are this process's rows of the batch.
  """

  def __init__(
    self,
    draw: Callable[[int], draw_lib.Draw],
    cut: Callable[[draw_lib.Draw], dict[str, np.ndarray]],
    side: int,
    mine: slice,
  ):
    self._draw, self._cut = draw, cut
    self._side, self._mine = side, mine
    self._rows: int = mine.stop - mine.start
    self._failures: list[Exception] = []
    self._tf = _import_tensorflow()

  def start(self, step: int, threads: int) -> '_Batches':
    """The batches from a step on."""
    tf = self._tf
    dataset = tf.data.Dataset.range(step, np.iinfo(np.int64).max)
    dataset = dataset.flat_map(self._to_rows)
    dataset = dataset.map(
      self._to_crop, num_parallel_calls=threads, deterministic=True
    )
    dataset = dataset.batch(self._rows, drop_remainder=True).prefetch(PREFETCH)
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    dataset = dataset.with_options(options)
    result = _Batches(dataset.as_numpy_iterator(), self._failures)
    # TensorFlow's threads call Python: a pipeline that is still running when
    # the interpreter goes away would wait for it forever. Registered after
    # TensorFlow's own import, so it runs before whatever that registers.
    _running.add(result)
    atexit.unregister(_close_all)
    atexit.register(_close_all)
    return result

  def _to_rows(self, step: Any) -> Any:
    tf = self._tf
    drawn = tf.numpy_function(self._draw_rows, [step], tf.int32)
    return tf.data.Dataset.from_tensor_slices(
      tf.ensure_shape(drawn, [self._rows, 4])
    )

  def _to_crop(self, row: Any) -> dict[str, Any]:
    tf = self._tf
    crop = tf.numpy_function(self._read_crop, [row], tf.uint8)
    return {
      'crop': tf.ensure_shape(crop, [self._side, self._side, 3]),
      'symmetry': row[draw_lib.Draw._fields.index('symmetry')],
    }

  def _draw_rows(self, step: int) -> np.ndarray:
    return np.stack(self._draw(int(step)), axis=1)[self._mine]

  def _read_crop(self, row: np.ndarray) -> np.ndarray:
    try:
      return self._cut(draw_lib.Draw(*row[:, np.newaxis]))['crop'][0]
    except Exception as error:
      # Raised by the iterator: TensorFlow would make a page of text of it.
      self._failures.append(error)
      return np.zeros((self._side, self._side, 3), np.uint8)


class _Batches(Iterator[dict[str, np.ndarray]]):
  """Iterates over a pipeline, and lets go of it when told to."""

  def __init__(
    self, batches: Iterator[dict[str, np.ndarray]], failures: list[Exception]
  ) -> None:
    self._batches: Iterator[dict[str, np.ndarray]] | None = batches
    self._failures = failures

  def __next__(self) -> dict[str, np.ndarray]:
    if self._batches is None:
      raise StopIteration
    batch = next(self._batches)
    if self._failures:
      raise self._failures[0]
    return batch

  def close(self) -> None:
    """Stops reading ahead; waits for the crops being read."""
    self._batches = None


_running: weakref.WeakSet[_Batches] = weakref.WeakSet()


def _close_all() -> None:
  for batches_ in list(_running):
    batches_.close()


def _import_tensorflow() -> Any:
  """TensorFlow, silent and without a hand on the accelerators."""
  # Both are read once, when TensorFlow loads. 2 leaves errors; with oneDNN on,
  # a notice is printed at any level, and nothing here computes by TensorFlow.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
  import tensorflow as tf

  for kind in ('GPU', 'TPU'):
    try:
      tf.config.set_visible_devices([], kind)
    except (RuntimeError, ValueError):  # in use already, or no such kind
      pass
  return tf
