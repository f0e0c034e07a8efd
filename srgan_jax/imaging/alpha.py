"""Transparency: what an upscaler does with the colours that it hides.

Alpha is a channel of its own, 0 for transparent, not premultiplied.
"""

import numpy as np


def fill_hidden(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
  """Gives fully transparent pixels the colour of visible ones near them.

  What a file has there (mostly black) cannot be seen, but a network would
  smear it into what can. `colour` is [H, W, C], `alpha` [H, W], 0 transparent.
  """
  visible = alpha > 0
  if visible.all() or not visible.any():
    return colour
  levels = [_spread(colour.astype(np.float32), visible.astype(np.float32))]
  while not levels[-1][1].all():  # the same on grids of 2x2, 4x4, ... pixels
    value, known = levels[-1]
    count = _halved(known)
    value = _halved(value * known[..., None])
    value /= np.maximum(count, 1)[..., None]
    levels.append(_spread(value, (count > 0).astype(np.float32)))
  filled = levels.pop()[0]
  for value, known in reversed(levels):
    larger = filled.repeat(2, axis=0).repeat(2, axis=1)
    larger = larger[: value.shape[0], : value.shape[1]]
    filled = np.where(known[..., None] > 0, value, larger)
  if np.issubdtype(colour.dtype, np.integer):
    filled = np.floor(filled + 0.5)
  return np.where(visible[..., None], colour, filled.astype(colour.dtype))


def of_key(values: np.ndarray, key: int | tuple[int, ...]) -> np.ndarray:
  """Adds alpha to uint16 [H, W, C], transparent where pixels are the key."""
  is_key = (values == np.array(key)).all(axis=2, keepdims=True)
  opacity = np.where(is_key, 0, 65535).astype(np.uint16)
  return np.concatenate([values, opacity], axis=2)


def over_white(pixels: np.ndarray) -> np.ndarray:
  """Composites uint8 [H, W, 2] or [H, W, 4] over white; without alpha then."""
  result = np.empty_like(pixels[..., :-1])
  for first in range(0, len(pixels), 256):
    band = pixels[first : first + 256].astype(np.uint32)
    colour, alpha = band[..., :-1], band[..., -1:]
    mixed = (colour * alpha + 255 * (255 - alpha) + 127) // 255
    result[first : first + 256] = mixed
  return result


def _spread(
  value: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Gives unknown pixels the mean of the known ones among their neighbours."""
  total, count = value * known[..., None], known
  for axis in (0, 1):
    total, count = (_with_neighbours(x, axis) for x in (total, count))
  mean = total / np.maximum(count, 1)[..., None]
  spread = np.where(known[..., None] > 0, value, mean)
  return spread, (count > 0).astype(np.float32)


def _with_neighbours(x: np.ndarray, axis: int) -> np.ndarray:
  """Each pixel plus the two beside it."""
  x = x.swapaxes(0, axis)
  total = x.copy()
  total[1:] += x[:-1]
  total[:-1] += x[1:]
  return total.swapaxes(0, axis)


def _halved(x: np.ndarray) -> np.ndarray:
  """Sums of 2x2 pixels; outside the picture is nothing."""
  height, width = x.shape[:2]
  edges = [(0, height % 2), (0, width % 2)] + [(0, 0)] * (x.ndim - 2)
  x = np.pad(x, edges)
  return x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]
