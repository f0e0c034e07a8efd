"""JPEG as a function of pixels: what compression makes of them, without a file.

Baseline JPEG with chroma at half size (4:2:0), as libjpeg computes it: the
colours of JFIF, the tables of the standard's annex K (ITU-T T.81) scaled by the
quality, blocks of 8x8 through the discrete cosine transform, and chroma put
back by the triangle filter. Entropy coding loses nothing and is left out. Pure
`jax.numpy`, for training inside the compiled step.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

MCU = 16  # pixels: what chroma's blocks of 8x8 span; sides are multiples of it

_LUMA = (
  (16, 11, 10, 16, 24, 40, 51, 61),
  (12, 12, 14, 19, 26, 58, 60, 55),
  (14, 13, 16, 24, 40, 57, 69, 56),
  (14, 17, 22, 29, 51, 87, 80, 62),
  (18, 22, 37, 56, 68, 109, 103, 77),
  (24, 35, 55, 64, 81, 104, 113, 92),
  (49, 64, 78, 87, 103, 121, 120, 101),
  (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
  (17, 18, 24, 47, 99, 99, 99, 99),
  (18, 21, 26, 66, 99, 99, 99, 99),
  (24, 26, 56, 99, 99, 99, 99, 99),
  (47, 66, 99, 99, 99, 99, 99, 99),
  (99, 99, 99, 99, 99, 99, 99, 99),
  (99, 99, 99, 99, 99, 99, 99, 99),
  (99, 99, 99, 99, 99, 99, 99, 99),
  (99, 99, 99, 99, 99, 99, 99, 99),
)

# Fixed point: of the transforms 13 fractional bits, and 2 between their passes
# (jfdctint.c, jidctint.c); of the colours 16 (jccolor.c, jdcolor.c).
_BITS, _PASS_BITS, _COLOR_BITS = 13, 2, 16

# BT.601 with the full range (JFIF).
_TO_YCC = (
  (0.299, 0.587, 0.114),
  (-0.168735892, -0.331264108, 0.5),
  (0.5, -0.418687589, -0.081312411),
)


def compress(images: jax.Array, quality: jax.Array) -> jax.Array:
  """What a JPEG file gives back of images.

  Args:
    images: uint8 [N, H, W, 3], H and W multiples of 16.
    quality: float32 [N], 1 to 100 as libjpeg counts; fractions are dropped.

  Returns:
    uint8 [N, H, W, 3].
  """
  rgb = jnp.moveaxis(images.astype(jnp.int32), -1, 0)
  luma, *chroma = (
    _descale(
      sum(
        (_fixed(w, _COLOR_BITS) * x for w, x in zip(row, rgb, strict=True)),
        jnp.int32(offset),
      ),
      _COLOR_BITS,
      half,
    )
    for row, offset, half in zip(
      _TO_YCC,
      (0, 128 << _COLOR_BITS, 128 << _COLOR_BITS),
      (1 << _COLOR_BITS - 1, *[(1 << _COLOR_BITS - 1) - 1] * 2),
      strict=True,
    )
  )
  luma = _through_blocks(luma, _table(_LUMA, quality))
  blue, red = (
    _upsample(_through_blocks(_halve(x), _table(_CHROMA, quality))) - 128
    for x in chroma
  )
  color = lambda *terms: _descale(
    sum(_fixed(weight, _COLOR_BITS) * x for weight, x in terms), _COLOR_BITS
  )
  result = jnp.stack(
    [
      luma + color((1.402, red)),
      luma + color((-0.34414, blue), (-0.71414, red)),  # libjpeg's digits
      luma + color((1.772, blue)),
    ],
    axis=-1,
  )
  return jnp.clip(result, 0, 255).astype(jnp.uint8)


def _table(table: tuple[tuple[int, ...], ...], quality: jax.Array) -> jax.Array:
  """A table at each quality, [N, 1, 8, 1, 8] (libjpeg's jcparam.c)."""
  quality = jnp.floor(quality)
  percent = jnp.where(
    quality < 50, jnp.floor(5000 / quality), 200 - 2 * quality
  )
  percent = percent.astype(jnp.int32)[:, None, None]
  scaled = (jnp.array(table) * percent + 50) // 100
  return jnp.clip(scaled, 1, 255)[:, None, :, None, :]


def _through_blocks(plane: jax.Array, table: jax.Array) -> jax.Array:
  """int32 [N, H, W] through transform, rounding and back."""
  n, height, width = plane.shape
  blocks = plane.reshape(n, height // 8, 8, width // 8, 8) - 128
  x = _along(_transform, blocks, 4, shift=_PASS_BITS)
  x = _along(_transform, x, 2, shift=-_PASS_BITS)
  # Eight times the coefficients; a half is rounded away from zero.
  kept = jnp.sign(x) * ((jnp.abs(x) + 4 * table) // (8 * table)) * table
  x = _along(_transform_back, kept, 2, shift=_PASS_BITS)
  x = _along(_transform_back, x, 4, shift=-_PASS_BITS - 3)
  return jnp.clip(x + 128, 0, 255).reshape(n, height, width)


def _along(
  transform: Any, blocks: jax.Array, axis: int, *, shift: int
) -> jax.Array:
  values = [jnp.take(blocks, i, axis=axis) for i in range(8)]
  return jnp.stack(transform(values, shift), axis=axis)


def _transform(d: list[jax.Array], shift: int) -> list[jax.Array]:
  """The DCT (type 2) of 8 values by Loeffler, Ligtenberg and Moschytz.

  The results are larger by `shift` bits, or smaller.
  """
  sums = [d[i] + d[7 - i] for i in range(4)]
  t7, t6, t5, t4 = (d[i] - d[7 - i] for i in range(4))
  t10, t13 = sums[0] + sums[3], sums[0] - sums[3]
  t11, t12 = sums[1] + sums[2], sums[1] - sums[2]
  middle = (t12 + t13) * _fixed(0.541196100)
  odd = _odd_part(t4, t5, t6, t7)
  scaled = lambda x: _descale(x, _BITS - shift)
  plain = lambda x: x << shift if shift > 0 else _descale(x, -shift)
  return [
    plain(t10 + t11),
    scaled(odd[3]),
    scaled(middle + t13 * _fixed(0.765366865)),
    scaled(odd[2]),
    plain(t10 - t11),
    scaled(odd[1]),
    scaled(middle - t12 * _fixed(1.847759065)),
    scaled(odd[0]),
  ]


def _transform_back(d: list[jax.Array], shift: int) -> list[jax.Array]:
  """The inverse of `_transform`, with the same arguments."""
  middle = (d[2] + d[6]) * _fixed(0.541196100)
  t2 = middle - d[6] * _fixed(1.847759065)
  t3 = middle + d[2] * _fixed(0.765366865)
  t0, t1 = (d[0] + d[4]) << _BITS, (d[0] - d[4]) << _BITS
  even = [t0 + t3, t1 + t2, t1 - t2, t0 - t3]
  odd = _odd_part(d[7], d[5], d[3], d[1])[::-1]
  values = [a + b for a, b in zip(even, odd, strict=True)]
  values += [a - b for a, b in zip(even[::-1], odd[::-1], strict=True)]
  return [_descale(x, _BITS - shift) for x in values]


def _odd_part(
  a: jax.Array, b: jax.Array, c: jax.Array, d: jax.Array
) -> list[jax.Array]:
  z1, z2, z3, z4 = a + d, b + c, a + c, b + d
  z5 = (z3 + z4) * _fixed(1.175875602)
  z1, z2 = z1 * -_fixed(0.899976223), z2 * -_fixed(2.562915447)
  z3 = z3 * -_fixed(1.961570560) + z5
  z4 = z4 * -_fixed(0.390180644) + z5
  return [
    a * _fixed(0.298631336) + z1 + z3,
    b * _fixed(2.053119869) + z2 + z4,
    c * _fixed(3.072711026) + z2 + z3,
    d * _fixed(1.501321110) + z1 + z4,
  ]


def _fixed(value: float, bits: int = _BITS) -> int:
  return round(value * (1 << bits))


def _descale(x: jax.Array, bits: int, half: int | None = None) -> jax.Array:
  """Divided by a power of two and rounded."""
  return (x + (1 << bits - 1 if half is None else half)) >> bits


def _halve(plane: jax.Array) -> jax.Array:
  """Means of 2x2; halves are rounded down and up in turns (jcsample.c)."""
  n, height, width = plane.shape
  sums = plane.reshape(n, height // 2, 2, width // 2, 2).sum(axis=(2, 4))
  return (sums + 1 + jnp.arange(width // 2) % 2) >> 2


def _upsample(plane: jax.Array) -> jax.Array:
  """To twice the size by the triangle filter (jdsample.c, "fancy")."""
  wide = _three_and_one(_three_and_one(plane, axis=1), axis=2)
  # 8 and 7 sixteenths are added in turns before rounding down.
  return (wide + 8 - jnp.arange(wide.shape[2]) % 2) >> 4


def _three_and_one(plane: jax.Array, axis: int) -> jax.Array:
  """Three times each value plus the one before it and the one after it."""
  body = functools.partial(jax.lax.slice_in_dim, plane, axis=axis)
  before = jnp.concatenate([body(0, 1), body(0, -1)], axis)
  after = jnp.concatenate([body(1, None), body(-1, None)], axis)
  pairs = jnp.stack([3 * plane + before, 3 * plane + after], axis + 1)
  shape = list(plane.shape)
  shape[axis] *= 2
  return pairs.reshape(shape)
