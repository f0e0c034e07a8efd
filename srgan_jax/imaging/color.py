"""Luma and value ranges: the only place where pixel values change their scale.

The lumas are those of the evaluation protocols (paper section 3.1 and the
literature's), in NumPy. The ranges are those of training (paper section 3.2):
LR images in [0, 1], HR images in [-1, 1]; these functions work on NumPy and
JAX arrays alike, also inside `jit`, and keep the kind of array they are given.

Layout: [..., height, width, 3], red first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
  import jax

Array = TypeVar('Array', np.ndarray, 'jax.Array')

# What red, green and blue at 255 add to the luma of black, which is 16.
_BT601 = (65.481, 128.553, 24.966)
_BT709 = (219 * 0.2126, 219 * 0.7152, 219 * 0.0722)


def luma_bt601(image: np.ndarray) -> np.ndarray:
  """BT.601 luma in limited range, not rounded: MATLAB's `rgb2ycbcr` in floats.

  From uint8 RGB [..., H, W, 3] to float64 [..., H, W] in [16, 235].

  Raises:
    ValueError: for another dtype or number of channels.
  """
  return _luma(image, _BT601)


def luma_bt709(image: np.ndarray) -> np.ndarray:
  """BT.709 luma in limited range, rounded to 8 bits, as a video codec sees it.

  From uint8 RGB [..., H, W, 3] to uint8 [..., H, W] in 16..235.

  Raises:
    ValueError: for another dtype or number of channels.
  """
  return np.floor(_luma(image, _BT709) + 0.5).astype(np.uint8)


def _luma(
  image: np.ndarray, coefficients: tuple[float, float, float]
) -> np.ndarray:
  if image.dtype != np.uint8 or image.ndim < 3 or image.shape[-1] != 3:
    raise ValueError(
      'luma takes uint8 RGB [..., H, W, 3], not '
      f'{image.dtype} {list(image.shape)}'
    )
  # Channel by channel: the same sum, in the same order, for every shape.
  red, green, blue = (
    coefficient * image[..., channel].astype(np.float64)
    for channel, coefficient in enumerate(coefficients)
  )
  return (red + green + blue) / 255 + 16


def uint8_to_unit(x: Array) -> Array:
  """0..255 of any dtype to float32 in [0, 1]: the generator's input."""
  return x.astype(np.float32) / np.float32(255)


def uint8_to_signed(x: Array) -> Array:
  """0..255 of any dtype to float32 in [-1, 1]: the generator's output."""
  return x.astype(np.float32) / np.float32(127.5) - np.float32(1)


def to_unit(x: Array) -> Array:
  """Pixels to float32 in [0, 1] by their dtype: uint8, uint16, or float."""
  if np.issubdtype(x.dtype, np.unsignedinteger):
    return x.astype(np.float32) / np.float32(np.iinfo(x.dtype).max)
  return x.astype(np.float32)


def from_signed(x: Array, dtype: Any) -> Array:
  """Floats in [-1, 1] to pixels: clipped first, so that nothing wraps around.

  Args:
    x: any shape, float; values outside [-1, 1] become black or white.
    dtype: uint8 or uint16, rounded half up, or a float, in [0, 1].
  """
  x = x.astype(np.float32) + np.float32(1)
  if not np.issubdtype(dtype, np.unsignedinteger):
    return (x / np.float32(2)).clip(0, 1).astype(dtype)
  top = np.iinfo(dtype).max
  # Not below 0, so that cutting off the fraction rounds half up.
  levels = (x * np.float32(top / 2)).clip(0, top)
  return (levels + np.float32(0.5)).astype(dtype)


def to_gray(x: Array) -> Array:
  """RGB in [-1, 1] to its BT.601 luma in [-1, 1], as Pillow's mode L.

  From float [..., H, W, 3], clipped first, to float32 [..., H, W, 1].
  """
  x = x.astype(np.float32).clip(-1, 1)
  red, green, blue = (x[..., i : i + 1] for i in range(3))
  return (
    np.float32(0.299) * red
    + np.float32(0.587) * green
    + np.float32(0.114) * blue
  )


def signed_to_uint8(x: Array) -> Array:
  """`from_signed` to uint8: the inverse of `uint8_to_signed`."""
  return from_signed(x, np.uint8)
