"""Cuts pictures of one size into tiles, on the host, and joins results."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from srgan_jax import SCALE
from srgan_jax.imaging import alpha as alpha_lib
from srgan_jax.imaging import color, resize
from srgan_jax.upscaling import tiling


class Tile(NamedTuple):
  """Part of one image of a batch."""

  image: int
  rows: tiling.Span
  columns: tiling.Span

  def of(self, image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The tile's pixels, at most of a shape, of an image [H, W, ...]."""
    y, x = self.rows.start, self.columns.start
    return image[y : y + shape[0], x : x + shape[1]]

  def kept(self, row: int, column: int) -> tuple[slice, slice]:
    """The place of its result in an HR array that starts at an LR pixel."""
    y, x = self.rows, self.columns
    return (
      slice(SCALE * (y.first - row), SCALE * (y.last - row)),
      slice(SCALE * (x.first - column), SCALE * (x.last - column)),
    )

  @property
  def pixels(self) -> int:
    """The number of LR pixels whose result it gives."""
    y, x = self.rows, self.columns
    return (y.last - y.first) * (x.last - x.first)


class Cut:
  """Pictures in tiles of one shape, and their result.

  Attributes:
    tiles: of all pictures.
    result: [N, 4H, 4W, C] of the pictures' dtype.
  """

  def __init__(self, images: np.ndarray, shape: tuple[int, int], halo: int):
    """Cuts pictures.

    Args:
      images: [N, H, W, C] with C of 1 to 4, the last of 2 and 4 alpha.
      shape: the tiles' height and width.
      halo: as for `tiling.spans`.
    """
    count, height, width, channels = images.shape
    self._images, self._shape = images, shape
    self._has_alpha = channels in (2, 4)
    self._colours = list(images)
    if self._has_alpha:
      self._colours = [
        alpha_lib.fill_hidden(x[..., :-1], x[..., -1]) for x in images
      ]
    self.tiles = [
      Tile(i, y, x)
      for i in range(count)
      for y in tiling.spans(height, shape[0], halo)
      for x in tiling.spans(width, shape[1], halo)
    ]
    self.result = np.empty(
      (count, SCALE * height, SCALE * width, channels), images.dtype
    )

  def batches(self, size: int) -> Iterator[list[Tile]]:
    """The tiles in batches."""
    for first in range(0, len(self.tiles), size):
      yield self.tiles[first : first + size]

  def gather(
    self, batch: Sequence[Tile], size: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """Puts tiles into the top left of buffers, which are zero elsewhere.

    Returns:
      lr, float32 [size, height, width, 3] in [0, 1], and sizes, int32 [size,
      2]; a buffer without a tile has size 1.
    """
    lr = np.zeros((size, *self._shape, 3), np.float32)
    sizes = np.ones((size, 2), np.int32)
    for slot, tile in enumerate(batch):
      part = tile.of(self._colours[tile.image], self._shape)
      sizes[slot] = part.shape[:2]
      lr[slot, : part.shape[0], : part.shape[1]] = color.to_unit(part)
    return lr, sizes

  def put(self, batch: Sequence[Tile], values: np.ndarray) -> int:
    """Copies the buffers' results; returns the number of their LR pixels."""
    for slot, tile in enumerate(batch):
      place = self.result[tile.image][tile.kept(0, 0)]
      inside = tile.kept(tile.rows.start, tile.columns.start)
      place[..., : values.shape[-1]] = values[slot][inside]
      if self._has_alpha:
        alpha = tile.of(self._images[tile.image, :, :, -1], self._shape)
        place[..., -1] = _upscale_alpha(alpha)[inside]
    return sum(tile.pixels for tile in batch)


def _upscale_alpha(alpha: np.ndarray) -> np.ndarray:
  resized = resize.imresize(alpha, SCALE)
  if np.issubdtype(alpha.dtype, np.floating):
    return resized.clip(0, 1)
  return resized
