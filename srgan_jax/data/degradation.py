"""What photos suffer before anybody enlarges them, as part of the program.

The degradation 'photo' is the "second-order" model of Real-ESRGAN (Wang et al.
2021, section 3): blur, resize, noise and JPEG compression, once or twice, and
the sinc filter that stands for ringing. Every strength is drawn for each crop
by a key alone. A quarter of the crops stays clean: the exact bicubic LR of
`imaging.resize`.

Images are float32 [N, H, W, 3] with values 0..255. All shapes are static: an
image that was resized lies in the top left of a buffer, and its size travels
with it.
"""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from srgan_jax import SCALE
from srgan_jax.data import jpeg
from srgan_jax.imaging import resize

Degradation = Literal['bicubic', 'photo']

# Of the crops (Real-ESRGAN's own figures are for stronger degradations).
_CLEAN = 0.25
_TWICE = 0.4
_BLURRED, _NOISY, _COMPRESSED, _RINGING = 0.5, 0.5, 0.85, 0.2

_BLUR = (0.2, 1.6)  # standard deviations, in pixels
_NOISE = (1.0, 15.0)  # standard deviation, in levels
_POISSON = (0.1, 1.5)  # times the noise of 256 photons at white
_GRAY = 0.4  # of noises, the same in all three channels
_QUALITY = (40.0, 95.0)  # of JPEG
_BETWEEN = (0.25, 1.0)  # side of the image after the first resize, of the HR's

_RADIUS = 10  # of the filters: 21x21 taps, as in the paper
_CUTOFFS = np.linspace(np.pi / 3, np.pi, 32)  # of the sinc filter
_KERNELS = ('area', 'bilinear', 'bicubic')


class _Image(NamedTuple):
  """Images in the top left of square buffers.

  Attributes:
    pixels: float32 [N, S, S, 3], 0..255; the edge is repeated beyond the image.
    side: int32 [N], at most S.
  """

  pixels: jax.Array
  side: jax.Array


def degrade(key: jax.Array, crops: jax.Array) -> jax.Array:
  """Makes the LR crops of HR crops as bad as photos are.

  Args:
    key: decides everything that is drawn.
    crops: uint8 [N, 4h + 16, 4h + 16, 3], as `resize.downscale_crops`.

  Returns:
    uint8 [N, h, h, 3].
  """
  count, length = crops.shape[:2]
  keys = iter(jax.random.split(key, 16))
  chance = functools.partial(_chance, count)

  hr = _Image(crops.astype(jnp.float32), jnp.full(count, length))
  between = (_draw(count, next(keys), *_BETWEEN) * length).astype(jnp.int32)
  first = _blur(next(keys), hr)
  first = _resize(next(keys), first, between, length)
  first = _add_noise(next(keys), first)
  first = _compress(next(keys), first)
  is_twice = chance(next(keys), _TWICE)
  image = _choose(is_twice, first, hr)

  lr_side = length // SCALE
  image = _blur(next(keys), image)
  image = _resize(next(keys), image, jnp.full(count, lr_side), lr_side)
  image = _add_noise(next(keys), image)
  ringing = chance(next(keys), _RINGING)
  # The paper's two orders: a sinc filter before the last compression or after.
  cutoffs = jax.random.randint(next(keys), (count,), 0, len(_CUTOFFS))
  kernels = jnp.asarray(_sinc_kernels())[cutoffs]
  is_before = chance(next(keys), 0.5)
  image = _choose(ringing & is_before, _filter(image, kernels), image)
  image = _compress(next(keys), image)
  image = _choose(ringing & ~is_before, _filter(image, kernels), image)

  inside = slice(resize.CONTEXT // SCALE, -resize.CONTEXT // SCALE)
  degraded = _to_bytes(image.pixels)[:, inside, inside]
  clean = resize.downscale_crops(crops)
  return _where(chance(next(keys), _CLEAN), clean, degraded)


def _blur(key: jax.Array, image: _Image) -> _Image:
  """A Gaussian filter, isotropic in half of the cases (section 3.1.1)."""
  chosen, along, across, angle, round_ = jax.random.split(key, 5)
  count = len(image.side)
  first, second = (_draw(count, key, *_BLUR) for key in (along, across))
  second = jnp.where(_chance(count, round_, 0.5), first, second)
  turn = _draw(count, angle, 0, np.pi)
  kernels = gaussian_kernels(first, second, turn)
  return _choose(
    _chance(count, chosen, _BLURRED), _filter(image, kernels), image
  )


def gaussian_kernels(
  first: jax.Array, second: jax.Array, angle: jax.Array
) -> jax.Array:
  """Gaussian filters, [N, 21, 21].

  `first` and `second` are float32 [N]: the deviations in pixels along an axis
  that is turned by `angle`, in radians, and across it.
  """
  offsets = jnp.arange(-_RADIUS, _RADIUS + 1, dtype=jnp.float32)
  y, x = offsets[None, :, None], offsets[None, None, :]
  cos, sin = jnp.cos(angle)[:, None, None], jnp.sin(angle)[:, None, None]
  u, v = cos * x + sin * y, cos * y - sin * x
  exponent = (u / first[:, None, None]) ** 2 + (v / second[:, None, None]) ** 2
  kernels = jnp.exp(-exponent / 2)
  return kernels / kernels.sum(axis=(1, 2), keepdims=True)


@functools.cache
def _sinc_kernels() -> np.ndarray:
  """Low-pass filters that ring, float32 [cutoffs, 21, 21] (section 3.3).

  cutoff / (2 pi r) * J1(cutoff * r), with J1, the Bessel function of the first
  kind, by its integral.
  """
  offsets = np.arange(-_RADIUS, _RADIUS + 1)
  radius = np.hypot(offsets[:, None], offsets[None, :])
  angles = (np.arange(256) + 0.5) * np.pi / 256
  x = _CUTOFFS[:, None, None] * np.where(radius, radius, 1.0)
  j1 = np.cos(angles - x[..., None] * np.sin(angles)).mean(axis=-1)
  kernels = (
    _CUTOFFS[:, None, None] * j1 / (2 * np.pi * np.where(radius, radius, 1))
  )
  middle = (slice(None), _RADIUS, _RADIUS)
  kernels[middle] = _CUTOFFS**2 / (4 * np.pi)
  kernels /= kernels.sum(axis=(1, 2), keepdims=True)
  return kernels.astype(np.float32)


def _filter(image: _Image, kernels: jax.Array) -> _Image:
  """Each image by its own kernel [21, 21], through the Fourier transform."""
  side = image.pixels.shape[1]
  index = jnp.arange(-_RADIUS, side + _RADIUS)
  padded = _take(image.pixels, _nearest(image, index))
  size = (padded.shape[1] + 2 * _RADIUS,) * 2  # no wrapping round
  transform = functools.partial(jnp.fft.rfft2, s=size, axes=(1, 2))
  product = transform(padded) * transform(kernels)[..., None]
  full = jnp.fft.irfft2(product, s=size, axes=(1, 2))
  inside = slice(2 * _RADIUS, 2 * _RADIUS + side)
  return image._replace(pixels=jnp.clip(full[:, inside, inside], 0, 255))


def _resize(
  key: jax.Array, image: _Image, side: jax.Array, length: int
) -> _Image:
  """To another side, in a buffer of `length`, by one of three kernels."""
  kernel = jax.random.randint(key, side.shape, 0, len(_KERNELS))
  matrix = resize_matrix(
    kernel, image.side, side, image.pixels.shape[1], length
  )
  exact = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
  pixels = exact('nyh,nhwc->nywc', matrix, image.pixels)
  pixels = exact('nxw,nywc->nyxc', matrix, pixels)
  return _repeat_edge(_Image(jnp.clip(pixels, 0, 255), side))


def resize_matrix(
  kernel: jax.Array,
  source: jax.Array,
  target: jax.Array,
  source_length: int,
  target_length: int,
) -> jax.Array:
  """What each output pixel takes of each input pixel, when rows are resized.

  The kernels are as wide as the resize asks for when it shrinks
  (antialiasing), as in MATLAB and Pillow.

  Args:
    kernel: int [N], 0 for area, 1 for bilinear, 2 for bicubic (a = -0.5).
    source: int [N], the length of each image.
    target: int [N], its length afterwards.
    source_length: of the buffers.
    target_length: likewise.

  Returns:
    float32 [N, target_length, source_length]; rows sum to 1.
  """
  ratio = (source / target)[:, None, None]
  width = jnp.maximum(ratio, 1)
  centre = (jnp.arange(target_length)[:, None] + 0.5) * ratio - 0.5
  index = jnp.arange(source_length)
  x = jnp.abs(index - centre) / width
  area = jnp.clip(0.5 * width + 0.5 - x * width, 0, 1)
  bilinear = jnp.maximum(1 - x, 0)
  bicubic = resize.cubic(x)
  chosen = kernel[:, None, None]
  weights = jnp.where(
    chosen == 0, area, jnp.where(chosen == 1, bilinear, bicubic)
  )
  weights = jnp.where(index < source[:, None, None], weights, 0)
  total = weights.sum(axis=-1, keepdims=True)
  is_beyond = jnp.arange(target_length)[:, None] >= target[:, None, None]
  return jnp.where(is_beyond, 0, weights / jnp.where(is_beyond, 1, total))


def _add_noise(key: jax.Array, image: _Image) -> _Image:
  """Gaussian or Poisson noise, in colour or gray (section 3.1.2).

  Poisson's is drawn as normal with its variance: at the counts here nobody
  tells them apart.
  """
  kind, chosen, gray, strength, draw = jax.random.split(key, 5)
  count = len(image.side)
  gaussian, poisson = (
    _draw(count, strength, *limits)[:, None, None, None]
    for limits in (_NOISE, _POISSON)
  )
  deviation = _where(
    _chance(count, kind, 0.5),
    gaussian,
    poisson * jnp.sqrt(image.pixels * 255 / 256),
  )
  noise = jax.random.normal(draw, image.pixels.shape)
  noise = _where(_chance(count, gray, _GRAY), noise[..., :1], noise)
  noisy = jnp.clip(image.pixels + deviation * noise, 0, 255)
  return _choose(
    _chance(count, chosen, _NOISY), image._replace(pixels=noisy), image
  )


def _compress(key: jax.Array, image: _Image) -> _Image:
  """JPEG, whose blocks begin anywhere outside the image."""
  chosen, quality, row, column = jax.random.split(key, 4)
  count, length = image.pixels.shape[:2]
  start = jnp.stack(
    [jax.random.randint(key, (count,), 0, jpeg.MCU) for key in (row, column)]
  )
  room = -(-(length + jpeg.MCU - 1) // jpeg.MCU) * jpeg.MCU
  rows, columns = _nearest(image, jnp.arange(room) - start[..., None])
  padded = _take(_to_bytes(image.pixels), rows, columns)
  compressed = jpeg.compress(padded, _draw(count, quality, *_QUALITY))
  compressed = compressed.astype(jnp.float32)
  rows, columns = _nearest(image, jnp.arange(length)) + start[..., None]
  pixels = _take(compressed, rows, columns)
  return _choose(
    _chance(count, chosen, _COMPRESSED), image._replace(pixels=pixels), image
  )


def _repeat_edge(image: _Image) -> _Image:
  index = _nearest(image, jnp.arange(image.pixels.shape[1]))
  return image._replace(pixels=_take(image.pixels, index))


def _nearest(image: _Image, index: jax.Array) -> jax.Array:
  """Rows or columns, [S] or [..., N, S], no farther than an image's edge."""
  return jnp.clip(index, 0, image.side[:, None] - 1)


def _take(
  pixels: jax.Array, rows: jax.Array, columns: jax.Array | None = None
) -> jax.Array:
  """The pixels at each image's own rows [N, H] and columns (default: rows)."""
  columns = rows if columns is None else columns
  return jax.vmap(lambda x, y, z: x[y[:, None], z[None, :]])(
    pixels, rows, columns
  )


def _to_bytes(x: jax.Array) -> jax.Array:
  return jnp.clip(jnp.floor(x + 0.5), 0, 255).astype(jnp.uint8)


def _draw(count: int, key: jax.Array, low: float, high: float) -> jax.Array:
  """Uniform between two numbers: float32 [N]."""
  return jax.random.uniform(key, (count,), minval=low, maxval=high)


def _chance(count: int, key: jax.Array, probability: float) -> jax.Array:
  """True with a probability: bool [N]."""
  return _draw(count, key, 0, 1) < probability


def _choose(condition: jax.Array, one: _Image, other: _Image) -> _Image:
  """Image by image. Buffers of two sizes: the larger holds both."""
  return _Image(
    *(_where(condition, a, b) for a, b in zip(one, other, strict=True))
  )


def _where(condition: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
  """Entry by entry of the first axis."""
  return jnp.where(condition.reshape(-1, *[1] * (one.ndim - 1)), one, other)
