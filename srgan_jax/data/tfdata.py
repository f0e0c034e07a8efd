"""The tf.data loader: crops are read and cut on the host, ahead of the step.

Ships uint8 HR crops with their context; low resolution, flips and ranges are
made inside the compiled step (`batch`). Which crops is decided by `draw` alone,
so nothing here has a state: a run resumed at step n continues with exactly the
batches it would have seen. TensorFlow is imported when a pipeline is made.
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
from srgan_jax.data.loader import come_cut
from srgan_jax.data.source import Source
from srgan_jax.imaging import resize

PREFETCH = 8  # batches ready in memory; 0.6 MB each at 16 crops of 96


class TfDataLoader:
  """The loader of a training run: this process's crops, from tf.data."""

  pictures = None  # nothing lies on the device
  crops = staticmethod(come_cut)

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


def batches(
  source: Source,
  *,
  seed: int,
  start_step: int = 0,
  batch_size: int,
  crop_size: int,
  augment: bool = True,
  crops_per_image: int = 1,
  shard_index: int = 0,
  shard_count: int = 1,
  threads: int | None = None,
) -> '_Batches':
  """Batches of crops from `start_step` on, without end.

  Process `shard_index` of n gives rows [i*b, (i+1)*b) of the batch,
  b = batch_size / n, as `loader.host_batch` returns them. The other arguments
  are those of `draw`, and how many threads read, by default two a core: some
  wait for disks.

  Raises:
    ValueError: of `draw`.
    ImportError: without TensorFlow.
  """
  rows = batch_size // shard_count
  threads = threads or 2 * (os.cpu_count() or 1)
  draw = functools.partial(
    draw_lib.draw,
    seed,
    sizes=source.sizes,
    batch_size=batch_size,
    crop_size=crop_size,
    augment=augment,
    crops_per_image=crops_per_image,
  )
  draw(start_step)  # what is wrong with the arguments is said now
  read = source.read
  if crops_per_image > 1:
    read = functools.lru_cache(2 * rows)(read)
  # Crops of so many steps at most are read at a time.
  cached = functools.lru_cache(2 + threads)(draw)
  crop = functools.partial(
    _crop, read, cached, rows, shard_index * rows, crop_size
  )
  side = crop_size + 2 * resize.CONTEXT
  return _start(crop, side, start_step * rows, rows, threads)


def _crop(
  read: Callable[[int], np.ndarray],
  draw: Callable[[int], draw_lib.Draw],
  rows: int,
  first_row: int,
  crop_size: int,
  number: int,
) -> tuple[np.ndarray, np.int32]:
  """The crop and symmetry of one of this process's rows, from step 0 on."""
  step, row = divmod(number, rows)
  image, y, x, symmetry = (field[first_row + row] for field in draw(step))
  return draw_lib.cut(read(int(image)), y, x, crop_size=crop_size), symmetry


def _start(
  crop: Callable[[int], tuple[np.ndarray, np.int32]],
  side: int,
  first: int,
  rows: int,
  threads: int,
) -> '_Batches':
  """A pipeline of crops of that side from number `first` on, in batches."""
  tf = _import_tensorflow()
  failures: list[Exception] = []

  def read_crop(number: int) -> tuple[np.ndarray, np.int32]:
    try:
      return crop(int(number))
    except Exception as error:
      # Raised by the iterator: TensorFlow would make a page of text of it.
      failures.append(error)
      return np.zeros((side, side, 3), np.uint8), np.int32(0)

  def to_crop(number: Any) -> dict[str, Any]:
    read = tf.numpy_function(read_crop, [number], (tf.uint8, tf.int32))
    return dict(zip(('crop', 'symmetry'), read, strict=True))

  options = tf.data.Options()
  options.threading.private_threadpool_size = threads
  dataset = (
    tf.data.Dataset.range(first, np.iinfo(np.int64).max)
    .map(to_crop, num_parallel_calls=threads, deterministic=True)
    .batch(rows, drop_remainder=True)
    .prefetch(PREFETCH)
    .with_options(options)
  )
  return _Batches(dataset.as_numpy_iterator(), failures)


class _Batches(Iterator[dict[str, np.ndarray]]):
  """Iterates over a pipeline, and lets go of it when told to."""

  def __init__(
    self, batches: Iterator[dict[str, np.ndarray]], failures: list[Exception]
  ) -> None:
    self._batches: Iterator[dict[str, np.ndarray]] | None = batches
    self._failures = failures
    # TensorFlow's threads call Python: a pipeline that is still running when
    # the interpreter goes away would wait for it forever. Registered after
    # TensorFlow's own import, so it runs before whatever that registers.
    _running.add(self)
    atexit.unregister(_close_all)
    atexit.register(_close_all)

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
