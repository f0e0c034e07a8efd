"""Results of any size: upscaled x4 repeatedly, then resized exactly."""

from collections.abc import Callable
import dataclasses
import math

import numpy as np

from srgan_jax import SCALE
from srgan_jax.imaging import resize
from srgan_jax.upscaling.upscaler import Upscaler


@dataclasses.dataclass(frozen=True)
class Size:
  """How large results are: by a scale, or by a width, a height or both.

  Attributes:
    scale: pixels of the result per pixel of the picture, along each side.
    width: of the result; without `height`, that follows.
    height: likewise.
  """

  scale: float = SCALE
  width: int | None = None
  height: int | None = None

  def __str__(self) -> str:
    """For file names: 'x4', 'w1920', 'h1080', '1920x1080'."""
    if self.width and self.height:
      return f'{self.width}x{self.height}'
    if self.width or self.height:
      return f'w{self.width}' if self.width else f'h{self.height}'
    return f'x{self.scale:g}'

  def of(self, height: int, width: int) -> tuple[int, int]:
    """Height and width of a picture's result."""
    if self.width is None and self.height is None:
      # 1.1 is a little more than 1.1: 100 pixels become 110.
      up = lambda length: math.ceil(length * self.scale - 1e-9)
      return up(height), up(width)
    return (
      self.height or max(1, round(height * (self.width or 0) / width)),
      self.width or max(1, round(width * (self.height or 0) / height)),
    )

  def passes(self, height: int, width: int) -> int:
    """How often a picture goes through the network, at least once."""
    ratio = max(
      a / b
      for a, b in zip(self.of(height, width), (height, width), strict=True)
    )
    return max(1, math.ceil(math.log(ratio, SCALE) - 1e-9))

  def most_pixels(self, height: int, width: int) -> int:
    """Pixels of the largest intermediate image or the result."""
    network = SCALE ** (2 * self.passes(height, width)) * height * width
    return max(network, math.prod(self.of(height, width)))

  def upscale(
    self,
    upscaler: Upscaler,
    image: np.ndarray,
    progress: Callable[[float], None],
  ) -> np.ndarray:
    """Upscales [H, W, C], as an upscaler takes it, to `of(H, W)`.

    `progress` is called with the share of the work, of 1, that is newly done.
    """
    height, width = image.shape[:2]
    # Each pass has as many pixels again as all before it, 16 times.
    work = [
      SCALE ** (2 * i) * height * width
      for i in range(self.passes(height, width))
    ]
    result = image
    for _ in work:
      result = upscaler(result, lambda pixels: progress(pixels / sum(work)))
    if result.shape[:2] != self.of(height, width):
      result = resize.imresize_to(result, *self.of(height, width))
    return result
