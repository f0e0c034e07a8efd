"""What follows a convolution: normalisation, bias and activation. NHWC.

A step's time on a GPU is the number of its kernels, so each of these reads its
input once forwards and once backwards: all sums over pixels that one direction
takes are one reduction. They compute in float32; docs/performance.md says what
that brings.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

EPSILON = 1e-5  # added to a variance

# XLA's GPU backend adds up to 31 rows in a loop, which it fuses with what makes
# their terms; a reduction of more has shared memory for two sums alone.
_LOOP = 31
# So many partial sums are one kernel's.
_PARTS = 2048
# Rows that one block of threads adds.
_TILE = 192


def sums(*terms: jax.Array) -> tuple[jax.Array, ...]:
  """The terms' sums over images and pixels, in one pass on GPUs.

  From float32 [N, H, W, C] to [C], from [N, groups, H, W, C] to
  [groups, 1, 1, C].
  """
  return _on_gpus(_sums_by_loops, _sums_apart, *terms)


def sums_beside(*terms: jax.Array) -> tuple[jax.Array, ...]:
  """`sums` of one or two terms that are made, on GPUs, where they are added.

  So the pass can write them, too.
  """
  return _on_gpus(_sums_of_tiles, _sums_apart, *terms)


def _on_gpus(gpus: Any, default: Any, *arrays: jax.Array) -> Any:
  return jax.lax.platform_dependent(
    *arrays, cuda=gpus, rocm=gpus, default=default
  )


def _sums_apart(*terms: jax.Array) -> tuple[jax.Array, ...]:
  axes = (0, -3, -2)
  if terms[0].ndim == 4:
    return tuple(x.sum(axis=axes) for x in terms)
  return tuple(x.sum(axis=axes)[:, None, None] for x in terms)


def _sums_by_loops(*terms: jax.Array) -> tuple[jax.Array, ...]:
  n, *groups, height, width, channels = terms[0].shape
  if groups:
    each = _sums_by_loops(*(x[:, i] for x in terms for i in range(*groups)))
    shape = (len(terms), *groups, 1, 1, channels)
    return tuple(jnp.stack(each).reshape(shape))
  rows = height * width  # of one image, lest devices that share a batch talk
  while True:
    size = max(d for d in range(1, _LOOP + 1) if rows % d == 0)
    rows //= size
    terms = _add(*(x.reshape(-1, size, channels) for x in terms), axis=1)
    if n * rows <= _PARTS or size == 1:
      return _add(*terms, axis=0)


def _sums_of_tiles(*terms: jax.Array) -> tuple[jax.Array, ...]:
  _, height, width, channels = terms[0].shape
  size = max(d for d in range(1, _TILE + 1) if height * width % d == 0)
  parts = [x.reshape(-1, size, channels).sum(axis=1) for x in terms]
  return _add(*parts, axis=0)


def _add(*terms: jax.Array, axis: int) -> tuple[jax.Array, ...]:
  zeros = (jnp.zeros((), jnp.float32),) * len(terms)
  plus = lambda a, b: tuple(x + y for x, y in zip(a, b, strict=True))
  return tuple(jax.lax.reduce(terms, zeros, plus, [axis]))


def _over_groups(total: jax.Array) -> jax.Array:
  """A sum of `sums` over all groups: float32 [C]."""
  return total if total.ndim == 1 else total.sum(axis=(0, 1, 2))


def normalize_batch(
  x: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
  slope: jax.Array | float = 1.0,
  groups: int = 1,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """`normalize` by the batch's own statistics.

  Returns the result, and the means and variances of the groups, float32
  [groups, C], which pass no gradient on. Image i is of the group i % groups.
  """
  shape = x.shape
  if groups > 1:
    x = x.reshape(-1, groups, *shape[1:])
  fixed = jax.lax.stop_gradient(x)
  totals = sums(fixed, jnp.square(fixed))
  count = x.size // totals[0].size
  y = _normalize(*_leak(slope), count, x, *totals, scale, bias)
  statistics = [
    _statistics(count, *(x.reshape(groups, -1)[i] for x in totals))
    for i in range(groups)
  ]
  means, variances = map(jnp.stack, zip(*statistics, strict=True))
  return y.reshape(shape), means, variances


def normalize(
  x: jax.Array,
  mean: jax.Array,
  variance: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
  slope: jax.Array | float = 1.0,
) -> jax.Array:
  """(x - mean) / sqrt(variance) * scale + bias; what is negative, times slope.

  x is float32 [N, H, W, C], the others float32 [C]; `EPSILON` is added to the
  variance. Mean, variance and a slope that is a number have no gradient.
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


def _normalize_forward(
  leak: float | None,
  slopes: jax.Array | None,
  count: int | None,
  x: jax.Array,
  first: jax.Array,
  second: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
) -> tuple[jax.Array, tuple]:
  mean, variance = _statistics(count, first, second)
  y = (x - mean) * (scale * jax.lax.rsqrt(variance + EPSILON)) + bias
  is_positive = None if leak == 1 else y >= 0
  kept = slopes, is_positive, x, first, second, scale, bias
  return _activate(leak, slopes, is_positive, y), kept


def _anew(*arrays: jax.Array) -> tuple[jax.Array, ...]:
  """The same; on GPUs, what follows is computed in the kernels that take it.

  What the forward pass computed likewise would else be written for them.

  Not on TPUs, whose compiler fails on the barrier (libtpu's of JAX 0.11).
  """
  barrier = lambda *x: jax.lax.optimization_barrier(x)
  return _on_gpus(barrier, lambda *x: x, *arrays)


def _normalize_backward(
  leak: float | None, count: int | None, kept: tuple, gradient: jax.Array
) -> tuple[jax.Array | None, ...]:
  slopes, is_positive, x, first, second, scale, bias = kept
  if count is not None:
    first, second = _anew(first, second)
  mean, variance = _statistics(count, first, second)
  factor = scale * jax.lax.rsqrt(variance + EPSILON)
  centered = x - mean
  inner = _activate(leak, slopes, is_positive, gradient)
  by_slopes = None
  if leak is not None:
    add = sums_beside if leak == 1 and x.ndim == 4 else sums
    by_bias, by_factor = add(inner, inner * centered)
  else:
    above = jnp.where(is_positive, gradient, 0)
    below = jnp.where(is_positive, 0, gradient)
    up, up_factor, down, down_factor = sums(
      above, above * centered, below, below * centered
    )
    by_slopes = _over_groups(factor * down_factor + bias * down)
    by_bias = up + slopes * down
    by_factor = up_factor + slopes * down_factor
  by_scale = by_factor * jax.lax.rsqrt(variance + EPSILON)
  if count is not None:
    part = by_factor / (variance + EPSILON)
    inner = inner - by_bias / count - centered * (part / count)
  return (
    by_slopes,
    inner * factor,
    None,
    None,
    _over_groups(by_scale),
    _over_groups(by_bias),
  )


_normalize.defvjp(_normalize_forward, _normalize_backward)


def add_bias(
  x: jax.Array, bias: jax.Array, slope: jax.Array | float = 1.0
) -> jax.Array:
  """X + bias in x's type; what is negative, times slope.

  x is float [N, H, W, C], the bias float32 [C], the slope float32 [C] or a
  number, which has no gradient.
  """
  return _add_bias(*_leak(slope), x, bias)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _add_bias(
  leak: float | None,
  slopes: jax.Array | None,
  x: jax.Array,
  bias: jax.Array,
) -> jax.Array:
  y = x.astype(jnp.float32) + bias
  return _activate(leak, slopes, y >= 0, y).astype(x.dtype)


def _add_bias_backward(
  leak: float | None, kept: tuple, gradient: jax.Array
) -> tuple[jax.Array | None, ...]:
  slopes, x, bias = kept
  gradient = gradient.astype(jnp.float32)
  y = _anew(x)[0].astype(jnp.float32) + bias
  inner = _activate(leak, slopes, y >= 0, gradient)
  by_x = inner.astype(x.dtype)
  if leak is not None:
    return None, by_x, *sums_beside(inner)
  by_bias, by_slopes = sums_beside(inner, gradient * jnp.minimum(y, 0))
  return by_slopes, by_x, by_bias


_add_bias.defvjp(
  lambda leak, *arguments: (_add_bias(leak, *arguments), arguments),
  _add_bias_backward,
)


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
