"""MATLAB's `imresize(..., 'bicubic')`: the paper's degradation (section 2).

Low-resolution images are made from high-resolution ones by exactly this
function; Pillow's differs by up to 14 levels on Set14. Three implementations
share one weight builder: `imresize` in NumPy for whole images at any scale, and
in JAX `downscale_crops` for training crops inside the compiled step and
`resize_buffers` for float pictures in padded buffers.

All resize the rows first, then the columns; where the scales differ, the
smaller is first (`imresize_to`). For integer images the intermediate picture is
rounded (half up) and clipped between the two passes. MATLAB does all of this;
leaving the rounding out changes 11 % of the bytes.

Layout: [..., height, width, channels].
"""

import functools
import math
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from srgan_jax import SCALE

Edge = Literal['clamp', 'mirror']

# How far outside a crop the taps of its own LR pixels reach, in HR pixels: half
# the antialiased kernel's support, rounded up to the LR grid.
CONTEXT = 2 * SCALE


def imresize(
  image: np.ndarray, scale: float, edge: Edge = 'clamp'
) -> np.ndarray:
  """Resizes an image as MATLAB's `imresize(image, scale, 'bicubic')` does.

  Args:
    image: [H, W] or [H, W, C]; unsigned integers (uint8, uint16), or floats,
      which are neither rounded nor clipped.
    scale: the size factor, e.g. 1/4 or 4; antialiased when below 1.
    edge: what taps outside the image read. 'clamp' repeats the edge pixel
      (MATLAB until 2015; the public Set5, Set14 and BSD100 LR files),
      'mirror' reflects with the edge pixel repeated (MATLAB today).

  Returns:
    [ceil(H * scale), ceil(W * scale)] or the same with C, in the image's dtype.

  Raises:
    ValueError: for another rank or dtype, a scale that is not a positive
      number, or an unknown edge.
  """
  image = _checked(image)
  if not (math.isfinite(scale) and scale > 0):
    raise ValueError(f'scale must be a positive number, not {scale}')
  for axis in (0, 1):
    taps = _taps(image.shape[axis], float(scale), edge)
    image = _resize_axis(image, *taps, axis)
  return image


def imresize_to(image: np.ndarray, height: int, width: int) -> np.ndarray:
  """Resizes an image as MATLAB's `imresize(image, [height, width])` does.

  The ratios of the lengths are the scales, the smaller of which is taken first,
  rows where they are equal; edges are clamped.

  Raises:
    ValueError: for another rank or dtype, or a length below 1.
  """
  image = _checked(image)
  if (least := min(height, width)) < 1:
    raise ValueError(f'a length must be at least 1, not {least}')
  scales = (height / image.shape[0], width / image.shape[1])
  for axis in sorted((0, 1), key=scales.__getitem__):
    length = (height, width)[axis]
    taps = _taps(image.shape[axis], scales[axis], 'clamp', length)
    image = _resize_axis(image, *taps, axis)
  return image


def _checked(image: np.ndarray) -> np.ndarray:
  image = np.asarray(image)
  if image.ndim not in (2, 3) or 0 in image.shape:
    raise ValueError(
      f'imresize takes [H, W] or [H, W, C], not an array of shape {image.shape}'
    )
  if image.dtype.kind not in 'uf':
    raise ValueError(
      f'imresize takes unsigned integers or floats, not {image.dtype}'
    )
  return image


def _resize_axis(
  image: np.ndarray, indices: np.ndarray, weights: np.ndarray, axis: int
) -> np.ndarray:
  """One pass, rounded where the image has whole numbers."""
  shape = [1] * image.ndim
  shape[axis] = -1
  result = np.zeros(1)
  for tap in range(indices.shape[1]):  # memory stays that of the output
    weight = weights[:, tap].reshape(shape)
    result = result + weight * np.take(image, indices[:, tap], axis)
  if image.dtype.kind == 'u':
    result = np.clip(np.floor(result + 0.5), 0, np.iinfo(image.dtype).max)
  return result.astype(image.dtype)


def downscale_crops(crops: jax.Array) -> jax.Array:
  """Makes the LR crops of HR crops, byte for byte those of the full images.

  Args:
    crops: uint8 [N, 4h + 16, 4w + 16, C]: HR crops on the LR grid with a
      context of 8 pixels on each side.

  Returns:
    uint8 [N, h, w, C].
  """
  rows, columns = (
    jnp.asarray(_crop_matrix(length)) for length in crops.shape[1:3]
  )
  # A weight has 10 significant bits, so that the products are exact in float32
  # and in TF32, but not in bfloat16, a TPU's default.
  exact = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
  lr = crops.astype(jnp.float32)
  lr = _round_to_byte(exact('yh,nhwc->nywc', rows, lr))
  lr = _round_to_byte(exact('xw,nywc->nyxc', columns, lr))
  return lr.astype(jnp.uint8)


def resize_buffers(
  x: jax.Array, sizes: jax.Array | None, scale: float
) -> jax.Array:
  """Resizes pictures in the top left of buffers; `edge` is 'clamp'.

  The same as `imresize` of floats, to float32 rounding. A pixel's result does
  not depend on the buffer's size.

  Args:
    x: float32 [N, H, W, C]; what lies outside a picture is not read.
    sizes: int32 [N, 2], the height and width of each picture; None where they
      fill their buffers.
    scale: a whole number, or 1 over one that divides H and W.

  Returns:
    float32 [N, H * scale, W * scale, C], meaningless outside the pictures.
  """
  for axis in (1, 2):
    if sizes is not None:
      x = _repeat_edge(x, sizes[:, axis - 1], axis)
    x = _resize_buffer_axis(x, axis, float(scale))
  return x


def _repeat_edge(x: jax.Array, lengths: jax.Array, axis: int) -> jax.Array:
  """Fills buffers behind the pictures' last pixels along one axis with them."""
  shape = [1] * x.ndim
  shape[axis] = -1
  places = jnp.arange(x.shape[axis]).reshape(shape)
  lengths = lengths.reshape(-1, *[1] * (x.ndim - 1))
  last = jnp.take_along_axis(x, lengths - 1, axis)
  return jnp.where(places < lengths, x, last)


def _resize_buffer_axis(x: jax.Array, axis: int, scale: float) -> jax.Array:
  """One pass: the same few weights for every pixel of the smaller grid."""
  stride, phases = max(1, round(1 / scale)), max(1, round(scale))
  # Far from the edges of an image long enough for it.
  middle = 4
  indices, weights = _taps(2 * middle * stride, scale, 'clamp')
  rows = slice(middle * phases, (middle + 1) * phases)
  offsets = indices[rows] - middle * stride
  before, behind = max(0, -offsets.min()), max(0, offsets.max() - stride + 1)
  widths = [(0, 0)] * x.ndim
  widths[axis] = (before, behind)
  padded = jnp.pad(x, widths, mode='edge')
  length = x.shape[axis]

  def tap(offset: int) -> jax.Array:
    first = before + offset
    return jax.lax.slice_in_dim(
      padded, first, first + length - stride + 1, stride, axis
    )

  results = [
    sum(
      jnp.float32(weight) * tap(int(offset))
      for offset, weight in zip(row_offsets, row_weights, strict=True)
      if weight
    )
    for row_offsets, row_weights in zip(offsets, weights[rows], strict=True)
  ]
  shape = list(x.shape)
  shape[axis] = length // stride * phases
  return jnp.stack(results, axis + 1).reshape(shape)


def _round_to_byte(x: jax.Array) -> jax.Array:
  return jnp.clip(jnp.floor(x + 0.5), 0, 255)


def cubic(x: Any) -> Any:
  """Keys' cubic convolution kernel with a = -0.5, of a NumPy or JAX array."""
  where, x = x.__array_namespace__().where, abs(x)
  near = (1.5 * x - 2.5) * x**2 + 1
  far = ((-0.5 * x + 2.5) * x - 4) * x + 2
  return where(x <= 1, near, where(x <= 2, far, 0))


@functools.lru_cache(maxsize=64)
def _taps(
  length: int, scale: float, edge: Edge, result: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
  """The pixels that each output pixel reads, and their weights.

  Args:
    length: of the input.
    scale: output pixels per input pixel.
    edge: see `imresize`.
    result: the length of the output; None for ceil(length * scale).

  Returns:
    indices int [out, taps] into the input axis and weights float64 [out, taps]
    that sum to 1.
  """
  if edge not in get_args(Edge):
    raise ValueError(f"edge must be 'clamp' or 'mirror', not {edge!r}")
  stretch = min(scale, 1.0)  # below 1 the kernel widens: antialiasing
  support = 4 / stretch
  # 1-based pixel centres, as MATLAB counts them.
  centre = np.arange(1, (result or math.ceil(length * scale)) + 1) / scale
  centre += 0.5 * (1 - 1 / scale)
  first = np.floor(centre - support / 2)
  indices = first[:, None] + np.arange(math.ceil(support) + 2)
  weights = stretch * cubic(stretch * (centre[:, None] - indices))
  weights /= weights.sum(axis=1, keepdims=True)

  indices = indices.astype(np.int64) - 1
  if edge == 'clamp':
    indices = np.clip(indices, 0, length - 1)
  else:
    indices = np.mod(indices, 2 * length)
    indices = np.minimum(indices, 2 * length - 1 - indices)
  used = np.any(weights != 0, axis=0)
  return indices[:, used], weights[:, used]


@functools.lru_cache(maxsize=8)
def _crop_matrix(length: int) -> np.ndarray:
  """float32 [LR pixels, length]: one pass over a crop with its context."""
  outputs = (length - 2 * CONTEXT) // SCALE
  indices, weights = _taps(length, 1 / SCALE, 'clamp')
  matrix = np.zeros((outputs, length), np.float32)
  skipped = CONTEXT // SCALE  # LR pixels that lie in the context
  for row in range(outputs):
    matrix[row, indices[row + skipped]] = weights[row + skipped]
  return matrix
