"""The upscaling call: arrays and PIL images of any size in, the same kind out.

  upscale = srgan_jax.load('generator.safetensors')
  sr = upscale(lr)

A picture goes through the network in tiles (see `tiling`), which lie
on the host, so neither memory holds more than the picture, the result and the
tiles under way.
"""

import collections
from collections.abc import Callable, Iterator
import functools
import os
import time
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from srgan_jax import pretrained, weights
from srgan_jax.imaging import alpha as alpha_lib
from srgan_jax.imaging import color, pictures, resize, writing
from srgan_jax.models import folded
from srgan_jax.models.generator import SCALE, Generator
from srgan_jax.upscaling import tiling

Precision = Literal['float32', 'bfloat16']
Tile = int | Literal['auto', 'fit']
AnyImage = TypeVar('AnyImage', np.ndarray, jax.Array, Image.Image)
Progress = Callable[[int], None]

_IN_FLIGHT = 2  # calls: the device computes one while the host has the other
_WAITS = 1e-4, 2e-3  # seconds: the first and the longest
_SLACK = 0.01  # outside [0, 1], from filters that overshoot


class Upscaler:
  """A generator with its weights, called on pictures.

  It computes with BN's running statistics, in float32 with the highest
  precision unless told otherwise.
  """

  def __init__(
    self,
    generator: Generator,
    variables: Any,
    *,
    tile: Tile = 'auto',
    precision: Precision = 'float32',
  ):
    """Prepares a generator.

    Args:
      generator: the network.
      variables: {'params', 'batch_stats'}.
      tile: the side of the tiles in LR pixels; or 'auto': as the device's free
        memory allows, smaller after it ran out of memory; or 'fit': so, too,
        for many pictures of one size, as a video's. Then least is computed,
        where 'auto' on an accelerator takes up to 2.3 times as many pixels so
        that pictures of all sizes need few programs.
      precision: what 8-bit pictures are computed in; all others always take
        float32.

    Raises:
      ValueError: for a tile that is too small for the network or no number,
        or another precision.
    """
    if precision not in get_args(Precision):
      raise ValueError(
        f'precision must be one of {get_args(Precision)}, not {precision!r}'
      )
    self.halo = folded.halo(generator)
    if isinstance(tile, str):
      if tile not in ('auto', 'fit'):
        raise ValueError(
          f"tile must be a number, 'auto' or 'fit', not {tile!r}"
        )
    elif tile <= 2 * self.halo:
      raise ValueError(
        f'a tile of {tile} pixels is too small: this network sees {self.halo} '
        f'to each side, so it must be larger than {2 * self.halo}'
      )
    self._generator = generator.clone(dtype=jnp.dtype('float32'))
    self._fast = generator.clone(dtype=jnp.dtype(precision))
    self._params = jax.device_put(folded.fold(generator, variables))
    self._tile = tile
    self._limit: tiling.Limit | None = None

  def __call__(
    self, image: AnyImage, progress: Progress | None = None
  ) -> AnyImage:
    """Upscales a picture, or a batch of pictures of one size, by 4.

    Args:
      image: [H, W], [H, W, C] or [N, H, W, C] with C of 1 (gray), 2 (gray and
        alpha), 3 (RGB) or 4 (RGB and alpha), not premultiplied; uint8, uint16
        or float in [0, 1]. A JAX array may be traced, in `jit`: then it goes
        through the network whole. Or a PIL image of any mode.
      progress: called with the number of LR pixels that have just been
        finished; negative where they have to be done again.

    Returns:
      The same kind, 4 times as high and wide. Gray is the BT.601 luma of the
      network's RGB; alpha is upscaled on its own, by `imresize`. A PIL image
      has the mode that `imaging.pictures` gives its own (a palette becomes
      RGB), its ICC profile, resolution and EXIF.

    Raises:
      ValueError: for another dtype, shape or range.
      FloatingPointError: where the network's output is not finite.
    """
    if isinstance(image, Image.Image):
      picture = pictures.from_image(image)
      picture = picture.with_pixels(self(picture.pixels, progress))
      return writing.to_image(picture)
    _check(image)
    if isinstance(image, jax.core.Tracer):
      return self._traced(image)
    array = np.asarray(image)
    _check_values(array)
    result = self._upscale(
      array.reshape(_batch_shape(array)), progress or (lambda pixels: None)
    ).reshape(_upscaled_shape(array))
    return jnp.asarray(result) if isinstance(image, jax.Array) else result

  def _upscale(self, images: np.ndarray, progress: Progress) -> np.ndarray:
    """[N, H, W, C] to [N, 4H, 4W, C], with smaller tiles if need be."""
    if self._limit is None:
      device, channels = jax.local_devices()[0], self._generator.channels
      if self._tile == 'auto':
        self._limit = tiling.automatic(device, channels, self.halo)
      elif self._tile == 'fit':
        self._limit = tiling.fitted(device, channels, self.halo)
      else:
        self._limit = tiling.fixed(self._tile, device)
    count, height, width, channels = images.shape
    result = np.empty(
      (count, SCALE * height, SCALE * width, channels), images.dtype
    )
    while True:
      done = 0
      try:
        for pixels in self._run(images, result):
          done += pixels
          progress(pixels)
        return result
      except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
          raise
        failure = error
      progress(-done)
      self._shrink(tiling.shape(height, width, self.halo, self._limit), failure)

  def _shrink(self, shape: tuple[int, int], failure: Exception) -> None:
    """Goes on with half the tile, or raises a MemoryError."""
    assert self._limit is not None
    if not isinstance(self._tile, str):
      raise MemoryError(
        f'out of memory with tiles of {self._tile} pixels: take smaller ones, '
        "or 'auto'"
      ) from failure
    smaller = self._limit.halved(shape)
    is_least = smaller.pixels < tiling.smallest(self.halo) ** 2
    if is_least or smaller == self._limit:
      raise MemoryError('out of memory with the smallest tiles') from failure
    self._limit = smaller

  def _run(self, images: np.ndarray, result: np.ndarray) -> Iterator[int]:
    """Fills `result`; yields how many LR pixels each call finished."""
    assert self._limit is not None
    count, height, width, channels = images.shape
    is_gray, has_alpha = channels < 3, channels in (2, 4)
    shape = tiling.shape(height, width, self.halo, self._limit)
    tiles = [
      _Tile(i, y, x)
      for i in range(count)
      for y in tiling.spans(height, shape[0], self.halo)
      for x in tiling.spans(width, shape[1], self.halo)
    ]
    size = tiling.batch_size(shape, len(tiles), count, self._limit)
    strips = tiling.strips(shape, size, jax.local_devices()[0])
    generator = self._fast if images.dtype == np.uint8 else self._generator
    is_integer = np.issubdtype(images.dtype, np.integer)
    dtype = images.dtype.name if is_integer else 'float32'
    colours = [_visible_colour(image, has_alpha) for image in images]

    def start(batch: list[_Tile]) -> tuple[jax.Array, jax.Array]:
      lr = np.zeros((size, *shape, 3), np.float32)
      sizes = np.ones((size, 2), np.int32)
      for slot, tile in enumerate(batch):
        part = tile.of(colours[tile.image], shape)
        sizes[slot] = part.shape[:2]
        lr[slot, : part.shape[0], : part.shape[1]] = color.to_unit(part)
      sr = _network(generator, strips, self._params, lr, sizes)
      return _finish(sr, dtype, is_gray)

    def take(batch: list[_Tile], sr: jax.Array, is_finite: jax.Array) -> int:
      if not _wait_for(is_finite):
        raise FloatingPointError(
          'the generator made values that are not finite'
        )
      values = np.asarray(sr)
      for slot, tile in enumerate(batch):
        place = result[tile.image][tile.kept(0, 0)]
        inside = tile.kept(tile.rows.start, tile.columns.start)
        colour_count = values.shape[-1]
        place[..., :colour_count] = values[slot][inside]
        if has_alpha:
          alpha = tile.of(images[tile.image, :, :, -1], shape)
          place[..., -1] = _upscale_alpha(alpha)[inside]
      return sum(tile.pixels for tile in batch)

    under_way: collections.deque[Any] = collections.deque()
    for first in range(0, len(tiles), size):
      batch = tiles[first : first + size]
      under_way.append((batch, *start(batch)))
      if len(under_way) == _IN_FLIGHT:
        yield take(*under_way.popleft())
    while under_way:
      yield take(*under_way.popleft())

  def _traced(self, image: jax.Array) -> jax.Array:
    """The whole picture in one go, as part of a program of the caller's."""
    if image.ndim > 2 and image.shape[-1] in (2, 4):
      raise ValueError(
        'inside jit an image has 1 or 3 channels: upscale alpha outside'
      )
    batch = jnp.broadcast_to(
      color.to_unit(image.reshape(_batch_shape(image))),
      (*_batch_shape(image)[:3], 3),
    )
    generator = self._fast if image.dtype == jnp.uint8 else self._generator
    sr = folded.upscale(generator, self._params, batch)
    is_gray = image.ndim == 2 or image.shape[-1] == 1
    sr = color.from_signed(color.to_gray(sr) if is_gray else sr, image.dtype)
    return sr.reshape(_upscaled_shape(image))


class _Tile(NamedTuple):
  """Part of one image of a batch."""

  image: int
  rows: tiling.Span
  columns: tiling.Span

  def of(self, image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Its pixels, of at most that shape, of [H, W, ...]."""
    y, x = self.rows.start, self.columns.start
    return image[y : y + shape[0], x : x + shape[1]]

  def kept(self, row: int, column: int) -> tuple[slice, slice]:
    """Where its result stands in an HR array that begins at an LR pixel."""
    y, x = self.rows, self.columns
    return (
      slice(SCALE * (y.first - row), SCALE * (y.last - row)),
      slice(SCALE * (x.first - column), SCALE * (x.last - column)),
    )

  @property
  def pixels(self) -> int:
    y, x = self.rows, self.columns
    return (y.last - y.first) * (x.last - x.first)


def load(
  model: str | os.PathLike[str],
  *,
  tile: Tile = 'auto',
  precision: Precision = 'float32',
) -> Upscaler:
  """Loads a generator, ready to be called on pictures.

  Args:
    model: a shipped name ('srgan', 'srresnet') or a weights file.
    tile: see `Upscaler`.
    precision: see `Upscaler`.

  Raises:
    ValueError: one line, where the file is not a generator of this project.
  """
  generator, variables, _ = weights.load_generator(pretrained.find(model))
  return Upscaler(generator, variables, tile=tile, precision=precision)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _network(
  generator: Generator, strips: int, params: Any, lr: Any, sizes: Any
) -> jax.Array:
  return folded.upscale(generator, params, lr, sizes, strips)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _finish(
  sr: jax.Array, dtype: str, is_gray: bool
) -> tuple[jax.Array, jax.Array]:
  """The network's output as pixels, and whether it is finite."""
  if is_gray:
    sr = color.to_gray(sr)
  return color.from_signed(sr, np.dtype(dtype)), jnp.isfinite(sr).all()


def _wait_for(array: Any) -> bool:
  """Its value; waits in Python, where Ctrl-C is heard."""
  wait, longest = _WAITS
  while not array.is_ready():
    time.sleep(wait)
    wait = min(1.1 * wait, longest)  # late by a tenth of the call at most
  return bool(array)


def _visible_colour(image: np.ndarray, has_alpha: bool) -> np.ndarray:
  """[H, W, 1] or [H, W, 3], with nothing hidden under transparency."""
  if not has_alpha:
    return image
  return alpha_lib.fill_hidden(image[..., :-1], image[..., -1])


def _upscale_alpha(alpha: np.ndarray) -> np.ndarray:
  resized = resize.imresize(alpha, SCALE)
  if np.issubdtype(alpha.dtype, np.floating):
    return resized.clip(0, 1)
  return resized


def _check(image: Any) -> None:
  shape, dtype = np.shape(image), image.dtype
  if (
    len(shape) not in (2, 3, 4)
    or 0 in shape
    or (len(shape) > 2 and shape[-1] > 4)
    or not (
      dtype in (np.uint8, np.uint16) or jnp.issubdtype(dtype, jnp.floating)
    )
  ):
    raise ValueError(
      'an image to upscale must be uint8, uint16 or float, [H, W], [H, W, C] '
      f'or [N, H, W, C] with 1 to 4 channels, not {dtype} {list(shape)}'
    )


def _check_values(image: np.ndarray) -> None:
  """Floats in another range are a mistake that would only show as white."""
  if image.dtype in (np.uint8, np.uint16):
    return
  low, high = float(image.min()), float(image.max())
  if not (low >= -_SLACK and high <= 1 + _SLACK):  # also where they are NaN
    raise ValueError(
      f'a float image must be in [0, 1], not from {low:g} to {high:g}'
    )


def _batch_shape(image: Any) -> tuple[int, ...]:
  """[N, H, W, C], of whatever rank it is."""
  if image.ndim == 4:
    return tuple(image.shape)
  return (1, *image.shape, 1)[: 4 if image.ndim == 3 else None]


def _upscaled_shape(image: Any) -> tuple[int, ...]:
  shape = list(image.shape)
  for axis in (0, 1) if image.ndim < 4 else (1, 2):
    shape[axis] *= SCALE
  return tuple(shape)


def _is_out_of_memory(error: Exception) -> bool:
  text = str(error).lower()
  return (
    isinstance(error, MemoryError)
    or 'resource_exhausted' in text
    or 'out of memory' in text
  )
