"""The layers that both networks are made of (paper figure 4). NHWC.

Where they compute in bfloat16, biases and slopes still act in float32: their
gradients are sums over all pixels, which bfloat16 stops adding to.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from srgan_jax.models import convolutions, epilogues

# He et al. 2015, fan-in.
kernel_init = nn.initializers.variance_scaling(2.0, 'fan_in', 'normal')

MOMENTUM = 0.9  # of the running batch statistics, PyTorch's 0.1


class BatchNorm(nn.Module):
  """Batch normalisation, and the activation behind it.

  `nn.BatchNorm` with the same parameters and statistics.

  Attributes:
    use_running_average: whether to normalise by the stored statistics; else by
      the batch's, which then update the stored ones.
    scale_init: of the scale.
    dtype: of the output; the arithmetic is float32.
  """

  use_running_average: bool
  scale_init: nn.initializers.Initializer = nn.initializers.ones
  dtype: jax.typing.DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, slope: jax.Array | float = 1.0, groups: int = 1
  ) -> jax.Array:
    """[N, H, W, C] to the same; what is negative is multiplied by `slope`.

    Statistics are those of `epilogues.normalize_batch`'s groups, each of which
    updates the stored ones in its turn.
    """
    shape = x.shape[-1:]
    zeros, ones = nn.initializers.zeros, nn.initializers.ones
    stored = {
      name: self.variable('batch_stats', name, init, None, shape)
      for name, init in (('mean', zeros), ('var', ones))
    }
    scale = self.param('scale', self.scale_init, shape)
    bias = self.param('bias', zeros, shape)
    x = x.astype(jnp.float32)
    if self.use_running_average:
      mean, variance = stored['mean'].value, stored['var'].value
      y = epilogues.normalize(x, mean, variance, scale, bias, slope)
    else:
      y, means, variances = epilogues.normalize_batch(
        x, scale, bias, slope, groups
      )
      if not self.is_initializing():
        for name, news in (('mean', means), ('var', variances)):
          for new in news:
            stored[name].value = (
              MOMENTUM * stored[name].value + (1 - MOMENTUM) * new
            )
    return y.astype(self.dtype)


class Conv(nn.Module):
  """A convolution, zero-padded to keep the size, and what may follow it."""

  features: int
  kernel_size: tuple[int, int]
  use_bias: bool = True
  kernel_init: nn.initializers.Initializer = kernel_init
  dtype: jax.typing.DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, slope: jax.Array | float = 1.0) -> jax.Array:
    """[N, H, W, C] to [N, H, W, features].

    With a bias, what is then negative is multiplied by `slope`.
    """
    shape = (*self.kernel_size, x.shape[-1], self.features)
    kernel = self.param('kernel', self.kernel_init, shape)
    y = convolutions.conv(x.astype(self.dtype), kernel.astype(self.dtype))
    if not self.use_bias:
      return y
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    return epilogues.add_bias(y, bias, slope)


class PReLU(nn.Module):
  """Parametric ReLU with one slope a channel, initially 0.25 (He et al. 2015).

  Flax's own `nn.PReLU` has a single slope for all channels, initially 0.01.

  Attributes:
    shared: how many channels in a row share a slope: those that `pixel_shuffle`
      makes one of.
  """

  shared: int = 1

  @nn.compact
  def slope(self, channels: int) -> jax.Array:
    """The slopes, float32 [channels], for the layer before to act by."""
    slope = self.param(
      'slope', nn.initializers.constant(0.25), (channels // self.shared,)
    )
    return jnp.stack([slope] * self.shared, axis=-1).reshape(channels)

  def __call__(self, x: jax.Array) -> jax.Array:
    slope = self.slope(x.shape[-1])
    zeros = jnp.zeros_like(slope)
    return epilogues.add_bias(x, zeros, slope)


def pixel_shuffle(x: jax.Array, factor: int) -> jax.Array:
  """Rearranges [N, H, W, C*r*r] into [N, r*H, r*W, C] (Shi et al. 2016, eq. 4).

  Channel c*r*r + i*r + j goes to channel c of the pixel at row i and column j
  of its r by r block: PyTorch's order (TensorFlow's depth_to_space has c last).
  """
  n, height, width, channels = x.shape
  x = x.reshape(n, height, width, channels // factor**2, factor, factor)
  x = x.transpose(0, 1, 4, 2, 5, 3)
  return x.reshape(n, height * factor, width * factor, -1)


def icnr(
  kernel_init: nn.initializers.Initializer, factor: int
) -> nn.initializers.Initializer:
  """Initial kernels for a convolution before `pixel_shuffle`, r*r alike.

  The shuffled map begins as one upscaled by nearest neighbours, in which no
  pixel of a block differs from the others (Aitken et al. 2017, ICNR).
  `kernel_init` makes a kernel to the channels behind the shuffle.
  """

  def initialize(key: Any, shape: Any, *rest: Any) -> jax.Array:
    fewer = (*shape[:-1], shape[-1] // factor**2)
    return jnp.repeat(kernel_init(key, fewer, *rest), factor**2, axis=-1)

  return initialize


class ShuffledConv(nn.Module):
  """A 9x9 convolution, zero-padded, of an input that is yet to be shuffled x2.

  `Conv(features, (9, 9))(pixel_shuffle(x, 2))` with the same parameters, but
  computed on the grid half as fine (`coarser`): the largest feature map of the
  generator is never shuffled, and its few outputs are four times as many, for
  which processors are made.
  """

  features: int
  kernel_init: nn.initializers.Initializer = kernel_init
  dtype: jax.typing.DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[N, H, W, 4C] to [N, 2H, 2W, features]."""
    shape = (9, 9, x.shape[-1] // 4, self.features)
    kernel = self.param('kernel', self.kernel_init, shape)
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    y = convolutions.conv_to_few(
      x.astype(self.dtype),
      coarser(kernel.astype(jnp.float32)).astype(self.dtype),
    )
    return epilogues.add_bias(pixel_shuffle(y, 2), bias)


def coarser(kernel: Any) -> Any:
  """A 9x9 kernel as a 5x5 one between images that `pixel_shuffle` will double.

  Output pixel 2i + a reads the inputs 2i + a - 4 to 2i + a + 4, which are
  pixels i - 2 to i + 2 of the grid half as fine, for a in 0 and 1. From [9, 9,
  C, K] to [5, 5, 4C, 4K], the channels ordered as `pixel_shuffle`'s; of NumPy
  or of JAX, as the kernel is.
  """
  _, _, inputs, outputs = kernel.shape
  xp = kernel.__array_namespace__()
  shifted = xp.stack(
    [
      xp.pad(kernel, ((a, 1 - a), (b, 1 - b), (0, 0), (0, 0)))
      for a in range(2)
      for b in range(2)
    ],
    axis=-1,
  )
  split = shifted.reshape(5, 2, 5, 2, inputs, outputs, 4)
  return split.transpose(0, 2, 4, 1, 3, 5, 6).reshape(
    5, 5, 4 * inputs, 4 * outputs
  )


class StridedConv(nn.Module):
  """A 3x3 convolution of stride 2 without a bias."""

  features: int
  dtype: jax.typing.DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[N, H, W, C] to [N, H/2, W/2, features] (rounded up)."""
    shape = (3, 3, x.shape[-1], self.features)
    kernel = self.param('kernel', kernel_init, shape)
    return convolutions.strided_conv(
      x.astype(self.dtype), kernel.astype(self.dtype)
    )


def max_pool(x: jax.Array) -> jax.Array:
  """The maxima of 2x2 blocks, [N, H, W, C] to [N, H/2, W/2, C] (rounded down).

  From slices, whose gradient is a few comparisons; the usual one's is a
  scatter, which takes ten times as long on CPU and is faster on TPUs alone.
  """
  return jax.lax.platform_dependent(
    x,
    cpu=_max_pool_by_slices,
    cuda=_max_pool_by_slices,
    rocm=_max_pool_by_slices,
    default=lambda x: nn.max_pool(x, (2, 2), strides=(2, 2), padding='VALID'),
  )


def _max_pool_by_slices(x: jax.Array) -> jax.Array:
  """The same; equal values share the gradient of their maximum."""
  _, height, width, _ = x.shape
  x = x[:, : height // 2 * 2, : width // 2 * 2]
  x = jnp.maximum(x[:, ::2], x[:, 1::2])
  return jnp.maximum(x[:, :, ::2], x[:, :, 1::2])


def parameter_count(params: Any) -> int:
  """The number of trainable values in a tree of parameters."""
  return sum(leaf.size for leaf in jax.tree.leaves(params))
