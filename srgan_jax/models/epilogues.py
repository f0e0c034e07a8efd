"""What follows a convolution: normalisation, bias and activation. NHWC.

A step's time on a GPU is the number of its kernels, so each of these reads its
input once forwards and once backwards: all sums over pixels that one direction
takes are one reduction. They compute in float32 and take and give float32;
docs/performance.md says what that brings.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

EPSILON = 1e-5  # added to a variance

# XLA's GPU backend adds up to 31 rows in a loop, which it fuses with what makes
# their terms; a reduction of more has shared memory for two sums alone.
_ROWS = 31
# So many partial sums are one kernel's.
_PARTS = 1024


def sums(*terms: jax.Array) -> tuple[jax.Array, ...]:
  """The terms' sums over all axes but the last, in one pass on GPUs.

  Args:
    terms: float32 [N, H, W, C], all of one shape.

  Returns:
    float32 [C] each.
  """
  return jax.lax.platform_dependent(
    *terms, cuda=_sums_together, rocm=_sums_together, default=_sums_apart
  )


def _sums_apart(*terms: jax.Array) -> tuple[jax.Array, ...]:
  return tuple(term.sum(axis=(0, 1, 2)) for term in terms)


def _sums_together(*terms: jax.Array) -> tuple[jax.Array, ...]:
  n, height, width, channels = terms[0].shape
  rows = height * width  # of one image, lest devices that share a batch talk
  while True:
    size = max(d for d in range(1, _ROWS + 1) if rows % d == 0)
    rows //= size
    terms = _add(*(x.reshape(n, rows, size, channels) for x in terms), axes=[2])
    if n * rows <= _PARTS or size == 1:
      return _add(*terms, axes=[0, 1])


def _add(*terms: jax.Array, axes: list[int]) -> tuple[jax.Array, ...]:
  zeros = (jnp.zeros((), jnp.float32),) * len(terms)
  plus = lambda a, b: tuple(x + y for x, y in zip(a, b, strict=True))
  return tuple(jax.lax.reduce(terms, zeros, plus, axes))


def normalize_batch(
  x: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
  slope: jax.Array | float = 1.0,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """`normalize` by the batch's own statistics.

  Returns the result, and the mean and variance over all axes of x but the last,
  float32 [C], which pass no gradient on.
  """
  fixed = jax.lax.stop_gradient(x)
  totals = sums(fixed, jnp.square(fixed))
  count = x.size // x.shape[-1]
  y = _normalize(*_leak(slope), count, x, *totals, scale, bias)
  return y, *_statistics(count, *totals)


def normalize(
  x: jax.Array,
  mean: jax.Array,
  variance: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
  slope: jax.Array | float = 1.0,
) -> jax.Array:
  """(x - mean) / sqrt(variance) * scale + bias; what is negative, times slope.

  Args:
    x: float32 [N, H, W, C].
    mean: float32 [C], as are those that follow; it has no gradient.
    variance: `EPSILON` is added to it; it has no gradient.
    scale: see above.
    bias: see above.
    slope: has no gradient where it is a number; 1: no activation.
  """
  return _normalize(*_leak(slope), None, x, mean, variance, scale, bias)


def _statistics(
  count: int | None, first: jax.Array, second: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Mean and variance, given or of the sums of `count` values and squares."""
  if count is None:
    return first, second
  mean = first / count
  return mean, jnp.maximum(second / count - jnp.square(mean), 0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 2))
def _normalize(
  leak: float | None,
  slopes: jax.Array | None,
  count: int | None,
  *arguments: jax.Array,
) -> jax.Array:
  return _normalize_forward(leak, slopes, count, *arguments)[0]


def _normalized(
  count: int | None,
  x: jax.Array,
  first: jax.Array,
  second: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
) -> jax.Array:
  mean, variance = _statistics(count, first, second)
  return (x - mean) * (scale * jax.lax.rsqrt(variance + EPSILON)) + bias


def _normalize_forward(
  leak: float | None,
  slopes: jax.Array | None,
  count: int | None,
  *arguments: jax.Array,
) -> tuple[jax.Array, tuple]:
  y = _normalized(count, *arguments)
  is_positive = None if leak == 1 else y >= 0
  y = _activate(leak, slopes, is_positive, y)
  return y, (slopes, is_positive, *arguments)


def _anew(*sums: jax.Array) -> tuple[jax.Array, ...]:
  """The same; on GPUs, what follows is computed in the kernels that take it.

  Not on TPUs, whose compiler fails on the barrier (libtpu's of JAX 0.11).
  """
  barrier = lambda *x: jax.lax.optimization_barrier(x)
  return jax.lax.platform_dependent(
    *sums, cuda=barrier, rocm=barrier, default=lambda *x: x
  )


def _normalize_backward(
  leak: float | None, count: int | None, kept: tuple, gradient: jax.Array
) -> tuple[jax.Array | None, ...]:
  slopes, is_positive, x, first, second, scale, bias = kept
  if count is not None:
    first, second = _anew(first, second)
  mean, variance = _statistics(count, first, second)
  factor = scale * jax.lax.rsqrt(variance + EPSILON)
  centered = x - mean
  if leak == 1:
    by_bias, by_factor = sums(gradient, gradient * centered)
    by_slopes = None
  else:
    above = jnp.where(is_positive, gradient, 0)
    below = jnp.where(is_positive, 0, gradient)
    up, up_factor, down, down_factor = sums(
      above, above * centered, below, below * centered
    )
    by_slopes = None if leak else factor * down_factor + bias * down
    slope = leak or slopes
    by_bias = up + slope * down
    by_factor = up_factor + slope * down_factor
  inner = _activate(leak, slopes, is_positive, gradient)
  if count is not None:
    part = by_factor / (variance + EPSILON)
    inner = inner - by_bias / count - centered * (part / count)
  by_scale = by_factor * jax.lax.rsqrt(variance + EPSILON)
  return by_slopes, inner * factor, None, None, by_scale, by_bias


_normalize.defvjp(_normalize_forward, _normalize_backward)


def add_bias(
  x: jax.Array, bias: jax.Array, slope: jax.Array | float = 1.0
) -> jax.Array:
  """X + bias; what is negative, times slope.

  Args:
    x: float32 [N, H, W, C].
    bias: float32 [C].
    slope: float32 [C], or a number, which has no gradient.
  """
  return _add_bias(*_leak(slope), x, bias)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _add_bias(
  leak: float | None,
  slopes: jax.Array | None,
  x: jax.Array,
  bias: jax.Array,
) -> jax.Array:
  y = x + bias
  return _activate(leak, slopes, y >= 0, y)


def _add_bias_forward(
  leak: float | None, *arguments: Any
) -> tuple[jax.Array, tuple]:
  return _add_bias(leak, *arguments), arguments


def _add_bias_backward(
  leak: float | None, kept: tuple, gradient: jax.Array
) -> tuple[jax.Array | None, ...]:
  slopes, x, bias = kept
  y = x + bias
  inner = _activate(leak, slopes, y >= 0, gradient)
  # Unlike normalisation's, this gradient by x does not wait for the sums: XLA
  # makes them where it is made.
  by_bias = inner.sum(axis=(0, 1, 2))
  if leak:
    return None, inner, by_bias
  by_slopes = (gradient * jnp.minimum(y, 0)).sum(axis=(0, 1, 2))
  return by_slopes, inner, by_bias


_add_bias.defvjp(_add_bias_forward, _add_bias_backward)


def _leak(
  slope: jax.Array | float,
) -> tuple[float | None, jax.Array | None]:
  """A slope that is a number, and one that has a gradient: one of the two."""
  return (None, slope) if isinstance(slope, jax.Array) else (slope, None)


def _activate(
  leak: float | None,
  slopes: jax.Array | None,
  is_positive: Any,
  x: jax.Array,
) -> jax.Array:
  """x, times the slope where it is not positive; None for no activation."""
  if leak == 1:
    return x
  slope: Any = slopes if leak is None else leak
  return jnp.where(is_positive, x, slope * x)
