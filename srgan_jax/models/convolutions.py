"""Convolutions, each as the processor at hand computes it fastest.

All equal `plain` to float rounding, forwards and backwards. Images are NHWC,
kernels HWIO with an odd height and width, and zeros surround an image.
docs/performance.md says what each way brings.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.export
import jax.numpy as jnp

# Of an image and a kernel.
Conv = Callable[[jax.Array, jax.Array], jax.Array]

_FEW = 4  # channels: pictures, not feature maps

# From how many channels, and rows of the image, Winograd's algorithm pays.
_MANY_CHANNELS = 64
_MANY_ROWS = 12

# Of Winograd's F(4, 3), four outputs of a 3-tap filter by six products: Lavin
# and Gray 2016 (section 4.3), whose G, B^T and A^T they are.
_WINOGRAD_KERNEL = (
  (1 / 4, 0, 0),
  (-1 / 6, -1 / 6, -1 / 6),
  (-1 / 6, 1 / 6, -1 / 6),
  (1 / 24, 1 / 12, 1 / 6),
  (1 / 24, -1 / 12, 1 / 6),
  (0, 0, 1),
)
_WINOGRAD_INPUT = (
  (4, 0, -5, 0, 1, 0),
  (0, -4, -4, 1, 1, 0),
  (0, 4, -4, -1, 1, 0),
  (0, -2, -1, 2, 1, 0),
  (0, 2, -1, -2, 1, 0),
  (0, 4, 0, -5, 0, 1),
)
_WINOGRAD_OUTPUT = (
  (1, 1, 1, 1, 1, 0),
  (0, 1, -1, 2, -2, 0),
  (0, 1, 1, 4, 4, 0),
  (0, 1, -1, 8, -8, 1),
)


def conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """A convolution of stride 1: [N, H, W, C] by [h, w, C, K] to [N, H, W, K]."""
  if x.shape[-1] <= _FEW:
    return conv_from_few(x, kernel)
  return conv_of_many(x, kernel) if _is_many(x, kernel) else plain(x, kernel)


def conv_in_use(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """`conv` of a trained network: without a gradient of its own.

  So it can be differentiated in forward mode too (`jax.jvp`).
  """
  return _of_many(x, kernel) if _is_many(x, kernel) else plain(x, kernel)


def _is_many(x: jax.Array, kernel: jax.Array) -> bool:
  """Whether Winograd's algorithm pays on a CPU."""
  return (
    kernel.shape[:2] == (3, 3)
    and min(kernel.shape[2:]) >= _MANY_CHANNELS
    and not jax.export.is_symbolic_dim(x.shape[1])
    and x.shape[1] >= _MANY_ROWS
    and x.dtype == jnp.float32  # bfloat16 has no digits to lose
  )


def plain(
  x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: Any = 'SAME'
) -> jax.Array:
  """A convolution as XLA computes it."""
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    window_strides=(stride, stride),
    padding=padding,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )


def _with_gradient(forward: Conv, backward: Conv) -> Conv:
  """A convolution whose gradient by x is another one, with the kernel turned.

  The gradient by the kernel is a plain convolution's.
  """
  conv = jax.custom_vjp(forward)

  def pull_back(
    inputs: tuple[jax.Array, jax.Array], gradient: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    x, kernel = inputs
    (by_kernel,) = jax.vjp(lambda kernel: plain(x, kernel), kernel)[1](gradient)
    return backward(gradient, kernel[::-1, ::-1].swapaxes(2, 3)), by_kernel

  conv.defvjp(lambda x, kernel: (conv(x, kernel), (x, kernel)), pull_back)
  return conv


def conv_to_few(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """`conv` to so few channels that a CPU idles."""
  return jax.lax.platform_dependent(x, kernel, cpu=_by_rows, default=plain)


def _by_rows(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """`conv_to_few` as a convolution by each of the kernel's rows, all in one.

  It has as many times the channels; then the rows are shifted and added.
  """
  rows, columns, inputs, outputs = kernel.shape
  height = x.shape[1]
  kernel = kernel.transpose(1, 2, 0, 3).reshape(1, columns, inputs, -1)
  y = plain(x, kernel).reshape(*x.shape[:3], rows, outputs)
  y = jnp.pad(y, ((0, 0), (rows // 2, rows // 2), *[(0, 0)] * 3))
  return functools.reduce(
    jnp.add, [y[:, row : row + height, :, row] for row in range(rows)]
  )


def _by_winograd(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """`conv_of_many` with half the products, by Winograd's algorithm for rows.

  Four rows of the output are combinations of six 1x3 convolutions, each of a
  combination of six rows of the input; columns are convolved as they are, since
  combinations of both cost more memory traffic than they save products.
  Rounding is 3.5 times the plain convolution's (root mean square).
  """
  n, height, width, _ = x.shape
  tiles = -(-height // 4)
  x = jnp.pad(x, ((0, 0), (1, 4 * tiles + 1 - height), (0, 0), (0, 0)))
  rows = [x[:, i : i + 4 * tiles - 3 : 4] for i in range(6)]
  products = [
    plain(row, taps[None])
    for row, taps in zip(
      _combinations(_WINOGRAD_INPUT, rows),
      _combinations(_WINOGRAD_KERNEL, list(kernel)),
      strict=True,
    )
  ]
  y = jnp.stack(_combinations(_WINOGRAD_OUTPUT, products), axis=2)
  return y.reshape(n, 4 * tiles, width, -1)[:, :height]


def _combinations(
  matrix: tuple[tuple[float, ...], ...], terms: list[jax.Array]
) -> list[jax.Array]:
  """The matrix times the terms, without those that are zero times something."""
  return [
    functools.reduce(
      jnp.add,
      [
        x if factor == 1 else factor * x
        for factor, x in zip(row, terms, strict=True)
        if factor
      ],
    )
    for row in matrix
  ]


def _of_many(x: jax.Array, kernel: jax.Array) -> jax.Array:
  return jax.lax.platform_dependent(x, kernel, cpu=_by_winograd, default=plain)


# `conv` from a few channels.
conv_from_few = _with_gradient(plain, conv_to_few)
# `conv` by a 3x3 kernel from and to many channels, on CPU by `_by_winograd`; so
# is its gradient by x. The one by the kernel gains nothing by it.
conv_of_many: Conv = _with_gradient(_of_many, lambda *args: conv_of_many(*args))


@jax.custom_vjp
def strided_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """A 3x3 convolution of stride 2, from [N, H, W, C] to halves, rounded up.

  Its gradient by x is a convolution of an image that is three quarters zeros,
  with which XLA's CPU backend takes its time: there it comes from `_by_phases`.
  """
  return plain(x, kernel, stride=2)


def _strided_conv_backward(
  inputs: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
  x, kernel = inputs
  strided = functools.partial(plain, stride=2)
  gradient_by_x = lambda conv: jax.vjp(lambda x: conv(x, kernel), x)[1]
  (by_kernel,) = jax.vjp(lambda kernel: strided(x, kernel), kernel)[1](gradient)
  (by_x,) = jax.lax.platform_dependent(
    gradient, cpu=gradient_by_x(_by_phases), default=gradient_by_x(strided)
  )
  return by_x, by_kernel


strided_conv.defvjp(
  lambda x, kernel: (strided_conv(x, kernel), (x, kernel)),
  _strided_conv_backward,
)


def _by_phases(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """`strided_conv` as the sum of four small convolutions of stride 1.

  Each is of the pixels in every second row and column, with the part of the
  kernel that meets them.
  """
  # Output row i reads rows 2i to 2i + 2, of an odd height 2i - 1 to 2i + 1.
  _, height, width, _ = x.shape
  x = jnp.pad(x, ((0, 0), (height % 2, 0), (width % 2, 0), (0, 0)))
  parts = [
    plain(
      x[:, a::2, b::2],
      kernel[a::2, b::2],
      padding=((0, 1 - a), (0, 1 - b)),
    )
    for a in range(2)
    for b in range(2)
  ]
  return functools.reduce(jnp.add, parts)
