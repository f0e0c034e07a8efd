"""The generator, SRResNet (paper section 2.1.1, figure 4 above).

Layout NHWC; input LR in [0, 1], output HR in [-1, 1], not clipped.
"""

import functools
from typing import Literal

from flax import linen as nn
import jax
import jax.numpy as jnp

from srgan_jax.models import layers

Init = Literal['small', 'he', 'icnr']
Middle = Literal['norm', 'prelu']
Output = Literal['linear', 'tanh']

_SHUFFLE = 2  # two sub-pixel layers of x2 each

# A sixth of He's variance: PyTorch's default, and so most reproductions'.
_small_init = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')


class ResidualBlock(nn.Module):
  """conv k3, BN, PReLU, conv k3, BN and, with `skip`, the elementwise sum."""

  channels: int
  kernel_init: nn.initializers.Initializer
  dtype: jax.typing.DTypeLike = jnp.float32
  skip: bool = True

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    conv = lambda name: layers.Conv(
      self.channels,
      (3, 3),
      use_bias=False,
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name=name,
    )
    norm = lambda name: layers.BatchNorm(
      use_running_average=not train, dtype=self.dtype, name=name
    )
    slope = layers.PReLU(name='prelu').slope(self.channels)
    y = norm('norm_0')(conv('conv_0')(x), slope)
    y = norm('norm_1')(conv('conv_1')(y))
    return x + y if self.skip else y


class UpsampleBlock(nn.Module):
  """conv k3 to 4 times the channels and PReLU, for a pixel shuffle x2.

  The shuffle is the caller's: PReLU gives the same before it.
  """

  channels: int
  kernel_init: nn.initializers.Initializer
  dtype: jax.typing.DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    channels = self.channels * _SHUFFLE**2
    slope = layers.PReLU(_SHUFFLE**2, name='prelu').slope(channels)
    return layers.Conv(
      channels,
      (3, 3),
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name='conv',
    )(x, slope)


class Generator(nn.Module):
  """SRResNet: `blocks` residual blocks of `channels` feature maps, then x4.

  Attributes:
    blocks: B, 16 in the paper.
    channels: feature maps, 64 in the paper.
    dtype: what the convolutions compute in; parameters, batch statistics and
      the output are float32.
    init_scheme: 'he', He-normal kernels, or 'small': PyTorch's smaller ones and
      a residual trunk whose last BN starts at 0, so that the network begins as
      its own shallow path. The paper is silent; early on 'small' learns faster.
      'icnr' is 'small' with sub-pixel layers that begin without a checkerboard
      (`layers.icnr`).
    middle: what follows the convolution behind the residual blocks: 'norm', BN
      as in the paper, or 'prelu'.
    output: 'linear' as in the paper, or 'tanh'.
    input_mean: RGB, subtracted from the input; seen at the borders, where the
      first convolution pads with zeros: with the mean instead of black.
    skip_connections: the sums of the residual blocks and over all of them.
      Without, the same convolutions are a plain chain, which the paper compares
      in figure 7; no BN starts at 0 then.

  `middle`, `output` and `input_mean` are for generators of others;
  `convert.generator` folds into the parameters whatever else they do
  differently.
  """

  blocks: int = 16
  channels: int = 64
  dtype: jax.typing.DTypeLike = jnp.float32
  init_scheme: Init = 'small'
  middle: Middle = 'norm'
  output: Output = 'linear'
  input_mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
  skip_connections: bool = True

  @nn.compact
  def __call__(self, lr: jax.Array, *, train: bool) -> jax.Array:
    """Upscales LR [N, H, W, 3] in [0, 1] to float32 [N, 4H, 4W, 3] in [-1, 1].

    With `train`, BN normalises by the batch's own statistics and updates the
    running ones, so `batch_stats` must be mutable.
    """
    is_small = self.init_scheme != 'he'
    kernel_init = _small_init if is_small else layers.kernel_init
    conv = functools.partial(
      layers.Conv, kernel_init=kernel_init, dtype=self.dtype
    )
    if any(self.input_mean):
      lr = lr - jnp.array(self.input_mean, lr.dtype)
    slope = layers.PReLU(name='prelu_in').slope(self.channels)
    x = first = conv(self.channels, (9, 9), name='conv_in')(lr, slope)
    for i in range(self.blocks):
      x = ResidualBlock(
        self.channels,
        kernel_init,
        self.dtype,
        self.skip_connections,
        name=f'block_{i}',
      )(x, train=train)
    is_normed = self.middle == 'norm'
    x = conv(self.channels, (3, 3), use_bias=not is_normed, name='conv_mid')(x)
    if is_normed:
      starts_at_0 = is_small and self.skip_connections
      x = layers.BatchNorm(
        use_running_average=not train,
        scale_init=nn.initializers.constant(0.0 if starts_at_0 else 1.0),
        dtype=self.dtype,
        name='norm_mid',
      )(x)
    else:
      x = layers.PReLU(name='prelu_mid')(x)
    if self.skip_connections:
      x = first + x
    is_icnr = self.init_scheme == 'icnr'
    upsample = functools.partial(
      UpsampleBlock,
      self.channels,
      layers.icnr(kernel_init, _SHUFFLE) if is_icnr else kernel_init,
      self.dtype,
    )
    x = layers.pixel_shuffle(upsample(name='upsample_0')(x), _SHUFFLE)
    x = upsample(name='upsample_1')(x)
    x = layers.ShuffledConv(3, kernel_init, self.dtype, name='conv_out')(x)
    x = x.astype(jnp.float32)
    return jnp.tanh(x) if self.output == 'tanh' else x
