"""The layers that both networks are made of (paper figure 4). NHWC."""

import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

# He et al. 2015, fan-in.
kernel_init = nn.initializers.variance_scaling(2.0, 'fan_in', 'normal')

Conv = functools.partial(nn.Conv, padding='SAME', kernel_init=kernel_init)
BatchNorm = functools.partial(nn.BatchNorm, momentum=0.9, epsilon=1e-5)


class PReLU(nn.Module):
  """Parametric ReLU with one slope a channel, initially 0.25 (He et al. 2015).

  Flax's own `nn.PReLU` has a single slope for all channels, initially 0.01.
  """

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    slope = self.param(
      'slope', nn.initializers.constant(0.25), (x.shape[-1],), jnp.float32
    )
    return jnp.where(x >= 0, x, slope.astype(x.dtype) * x)


def pixel_shuffle(x: jax.Array, factor: int) -> jax.Array:
  """Rearranges [N, H, W, C*r*r] into [N, r*H, r*W, C] (Shi et al. 2016, eq. 4).

  Channel c*r*r + i*r + j goes to channel c of the pixel at row i and column j
  of its r by r block: PyTorch's order (TensorFlow's depth_to_space has c last).

  Args:
    x: any dtype, [N, H, W, C*r*r].
    factor: r.

  Raises:
    ValueError: where r*r does not divide the number of channels.
  """
  n, height, width, channels = x.shape
  if channels % factor**2:
    raise ValueError(
      f'pixel_shuffle by {factor} takes a multiple of {factor**2} channels, '
      f'not {channels}'
    )
  x = x.reshape(n, height, width, channels // factor**2, factor, factor)
  x = x.transpose(0, 1, 4, 2, 5, 3)
  return x.reshape(n, height * factor, width * factor, -1)


def parameter_count(params: Any) -> int:
  """The number of trainable values in a tree of parameters."""
  return sum(leaf.size for leaf in jax.tree.leaves(params))
