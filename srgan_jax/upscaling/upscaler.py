"""The upscaling call: pictures of any size in, the same kind out.

  upscale = srgan_jax.load('generator.safetensors')
  sr = upscale(lr)

A picture is cut into tiles on the host (see `tiling`); the device only holds
those that it computes.
"""

import collections
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
import functools
import os
from typing import Any, Literal, TypeVar, get_args, overload

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from srgan_jax import SCALE, runtime
from srgan_jax.imaging import color, pictures, writing
from srgan_jax.models import folded
from srgan_jax.models.generator import Generator
from srgan_jax.upscaling import Precision, back_projection, cutting, tiling

Tile = int | Literal['auto']
AnyImage = TypeVar('AnyImage', np.ndarray, jax.Array, Image.Image)
Progress = Callable[[int], None]

_IN_FLIGHT = 2  # calls: the device computes one while the host has the other
_PROGRAMS = 32  # that are kept; one of the paper's size takes some 6 MB
_SLACK = 0.01  # outside [0, 1], from filters that overshoot
# Images of each rank as [N, H, W, C], and back.
_BATCHING: dict[int, tuple[Any, Any]] = {
  2: (np.s_[None, ..., None], np.s_[0, ..., 0]),
  3: (np.s_[None], np.s_[0]),
  4: (np.s_[:], np.s_[:]),
}


class Upscaler:
  """A generator with its weights, called on pictures.

  It computes with BN's running statistics, in float32 with the highest
  precision unless told otherwise.

  Attributes:
    scale: how much higher and wider a result is: 4.
    generator: the network.
    variables: {'params', 'batch_stats'}, as they were given.
    label: the name that its training gave it; '' where none is known.
    licence: of the weights; likewise.
    figures: by data set, then by name: {'Set5': {'psnr_paper': dB, ...}, ...};
      a run's by name alone, of its validation images; empty where none are
      known.
  """

  scale = SCALE

  def __init__(
    self,
    generator: Generator,
    variables: Any,
    *,
    tile: Tile = 'auto',
    precision: Precision = 'float32',
    back_project: int = 0,
    training: Mapping[str, Any] | None = None,
  ):
    """Prepares a generator.

    Args:
      generator: the network.
      variables: {'params', 'batch_stats'}.
      tile: the side of the tiles in LR pixels; or 'auto': as the device's free
        memory allows, smaller after it ran out of memory.
      precision: what 8-bit pictures are computed in; all others always take
        float32.
      back_project: steps of back-projection (`back_projection`) behind the
        network.
      training: what a weights file says of it: 'label', 'licence', 'figures'.

    Raises:
      ValueError: for a tile that is too small for the network or no number,
        another precision, or steps that are no whole number from 0 to 100.
    """
    if precision not in get_args(Precision):
      raise ValueError(
        f'precision must be one of {get_args(Precision)}, not {precision!r}'
      )
    self._back_project = back_projection.check(back_project)
    self.halo = (
      folded.halo(generator) + back_projection.HALO_PER_STEP * back_project
    )
    if tile != 'auto':
      if not isinstance(tile, int | np.integer):
        raise ValueError(f"tile must be a whole number or 'auto', not {tile!r}")
      tiling.check_side(tile, self.halo)
    training = training or {}
    self.generator, self.variables = generator, variables
    self.label = str(training.get('label', ''))
    self.licence = str(training.get('licence', ''))
    self.figures: Mapping[str, Any] = training.get('figures', {})
    self._generator = generator.clone(dtype=jnp.dtype('float32'))
    self._fast = generator.clone(dtype=jnp.dtype(precision))
    self._params = jax.device_put(folded.fold(generator, variables))
    self._tile = tile

  @functools.cached_property
  def _shapes(self) -> tiling.Shapes:
    device = jax.local_devices()[0]
    limit = tiling.automatic(device, self.generator.channels, self.halo)
    if self._tile != 'auto':
      limit = limit.of_side(self._tile)
    return tiling.Shapes(limit, self.halo)

  @overload
  def __call__(
    self, image: AnyImage, progress: Progress | None = None
  ) -> AnyImage: ...

  @overload
  def __call__(
    self, image: str | os.PathLike[str], progress: Progress | None = None
  ) -> Image.Image: ...

  @overload
  def __call__(
    self, image: list[Any] | tuple[Any, ...], progress: Progress | None = None
  ) -> list[Any]: ...

  def __call__(self, image: Any, progress: Progress | None = None) -> Any:
    """Upscales a picture, or a batch of pictures of one size, by 4.

    Args:
      image: [H, W], [H, W, C] or [N, H, W, C] with C of 1 (gray), 2 (gray and
        alpha), 3 (RGB) or 4 (RGB and alpha), not premultiplied; uint8, uint16
        or float in [0, 1]. A JAX array may be traced, in `jit`: then it goes
        through the network whole. Or a PIL image of any mode, the path of a
        picture, or a list of any of these, of any sizes.
      progress: called with the number of LR pixels that have just been
        finished.

    Returns:
      The same kind, 4 times as high and wide. Gray is the BT.601 luma of the
      network's RGB; alpha is upscaled on its own, by `imresize`. A PIL image
      has the mode that `imaging.pictures` gives its own (a palette becomes
      RGB, or L where all its colours are gray), its ICC profile, resolution and
      EXIF. A path gives a PIL image, a list a list.

    Raises:
      ValueError: for another dtype, shape or range, or a file that is no
        picture.
      FloatingPointError: where the network's output is not finite.
    """
    if isinstance(image, list | tuple):
      return [self(item, progress) for item in image]
    if isinstance(image, str | os.PathLike | Image.Image):
      if isinstance(image, Image.Image):
        picture = pictures.from_image(image)
      else:
        picture = pictures.read(image, str(image))
      picture = picture.with_pixels(self(picture.pixels, progress))
      return writing.to_image(picture)
    _check(image)
    if isinstance(image, jax.core.Tracer):
      return self._traced(image)
    array = np.asarray(image)
    if not array.dtype.isnative:  # as in many scientific files
      array = array.astype(array.dtype.newbyteorder('='))
    _check_values(array)
    there, back = _BATCHING[array.ndim]
    progress = progress or (lambda pixels: None)
    result = self._upscale(array[there], progress)[back]
    if isinstance(image, jax.Array):
      return jnp.asarray(result)
    return result.astype(image.dtype, copy=False)

  def _upscale(self, images: np.ndarray, progress: Progress) -> np.ndarray:
    """Upscales [N, H, W, C], with smaller tiles after running out of memory."""
    reported = 0
    while True:
      shape = self._shapes.choose(*images.shape[:3])
      cut = cutting.Cut(images, shape, self.halo)
      done = 0
      try:
        for pixels in self._run(cut, shape, images):
          done += pixels
          if done > reported:  # or it had been, with larger tiles
            progress(done - reported)
            reported = done
        return cut.result
      except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not runtime.is_out_of_memory(error):
          raise
        failure = error
      if self._tile != 'auto':
        raise MemoryError(
          f'out of memory with tiles of {self._tile} pixels: take smaller '
          "ones, or 'auto'"
        ) from failure
      if not self._shapes.shrink(shape):
        raise MemoryError('out of memory with the smallest tiles') from failure

  def _run(
    self, cut: cutting.Cut, shape: tuple[int, int], images: np.ndarray
  ) -> Iterator[int]:
    """Fills the result; yields the number of LR pixels of each call."""
    count, *_, channels = images.shape
    size = tiling.batch_size(shape, len(cut.tiles), count, self._shapes.limit)
    strips = tiling.strips(shape, size, jax.local_devices()[0])
    generator = self._fast if images.dtype == np.uint8 else self._generator
    is_integer = np.issubdtype(images.dtype, np.integer)
    dtype = images.dtype.name if is_integer else 'float32'

    def start(batch: list[cutting.Tile]) -> tuple[jax.Array, jax.Array]:
      lr, sizes = cut.gather(batch, size)
      network = _network(generator, strips, self._back_project, lr.shape)
      return _finish(dtype, channels < 3, lr.shape)(
        network(self._params, lr, sizes)
      )

    def take(batch: list[cutting.Tile], computed: futures.Future[Any]) -> int:
      values, is_finite = computed.result()
      if not is_finite:
        raise FloatingPointError(
          'the generator made values that are not finite'
        )
      return cut.put(batch, values)

    # Another thread waits for the device: Ctrl-C does not interrupt that wait,
    # but it does this thread's.
    waiting = futures.ThreadPoolExecutor(1)
    under_way: collections.deque[Any] = collections.deque()
    try:
      for batch in cut.batches(size):
        under_way.append((batch, waiting.submit(jax.device_get, start(batch))))
        if len(under_way) == _IN_FLIGHT:
          yield take(*under_way.popleft())
      while under_way:
        yield take(*under_way.popleft())
    finally:
      under_way.clear()  # what an exception still holds, if there is one
      waiting.shutdown(wait=False, cancel_futures=True)

  def _traced(self, image: jax.Array) -> jax.Array:
    """Upscales a whole picture inside a program of the caller's."""
    if image.ndim > 2 and image.shape[-1] in (2, 4):
      raise ValueError(
        'inside jit an image has 1 or 3 channels: upscale alpha outside'
      )
    there, back = _BATCHING[image.ndim]
    batch = image[there]
    *shape, channels = batch.shape
    lr = jnp.broadcast_to(color.to_unit(batch), (*shape, 3))
    generator = self._fast if image.dtype == jnp.uint8 else self._generator
    network = _network(generator, 1, self._back_project, lr.shape)
    finish = _finish(image.dtype.name, channels == 1, lr.shape)
    sr, _ = finish(network(self._params, lr, None))
    return sr[back]


@functools.lru_cache(maxsize=_PROGRAMS)
def _network(
  generator: Generator, strips: int, back_project: int, shape: tuple[int, ...]
) -> Callable[..., jax.Array]:
  """Compiles network and back-projection for LR buffers of one shape."""

  def run(params: Any, lr: jax.Array, sizes: jax.Array | None) -> jax.Array:
    with jax.numpy_rank_promotion('allow'):
      sr = folded.upscale(generator, params, lr, sizes, strips)
    if back_project:
      sr = back_projection.back_project(sr, lr, sizes, back_project)
    return sr

  del shape  # only so that each program is dropped on its own
  return jax.jit(run)


@functools.lru_cache(maxsize=_PROGRAMS)
def _finish(
  dtype: str, is_gray: bool, shape: tuple[int, ...]
) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
  """Compiles the step from output to pixels, and whether it is finite."""

  def run(sr: jax.Array) -> tuple[jax.Array, jax.Array]:
    is_finite = jnp.isfinite(sr).all()  # not of grays, which are clipped
    if is_gray:
      sr = color.to_gray(sr)
    return color.from_signed(sr, np.dtype(dtype)), is_finite

  del shape
  return jax.jit(run)


def _check(image: Any) -> None:
  if not isinstance(image, np.ndarray | jax.Array):
    raise ValueError(
      'an image to upscale is a NumPy or JAX array, a PIL image, a path, or a '
      f'list of these, not {type(image).__name__}'
    )
  shape, dtype = image.shape, image.dtype
  if (
    len(shape) not in (2, 3, 4)
    or 0 in shape
    or (len(shape) > 2 and shape[-1] > 4)
    or not (
      dtype.name in ('uint8', 'uint16') or jnp.issubdtype(dtype, jnp.floating)
    )
  ):
    raise ValueError(
      'an image to upscale must be uint8, uint16 or float, [H, W], [H, W, C] '
      f'or [N, H, W, C] with 1 to 4 channels, not {dtype} {list(shape)}'
    )


def _check_values(image: np.ndarray) -> None:
  """Refuses floats of another range, which would only show as white."""
  if image.dtype in (np.uint8, np.uint16):
    return
  low, high = float(image.min()), float(image.max())
  if not (low >= -_SLACK and high <= 1 + _SLACK):  # also where they are NaN
    raise ValueError(
      f'a float image must be in [0, 1], not from {low:g} to {high:g}'
    )
