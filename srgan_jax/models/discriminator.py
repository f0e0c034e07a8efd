"""The discriminator (paper section 2.1.1, figure 4 below). NHWC."""

from collections.abc import Callable
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from srgan_jax.models import layers

# (multiple of the base channels, stride) of the convolutions after the first.
_CONVOLUTIONS = ((1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2))
_LEAK = 0.2
_HIDDEN_PER_CHANNEL = 16  # dense 1024 for 64 channels


class Discriminator(nn.Module):
  """A VGG-like network of eight convolutions and two dense layers.

  The dense layer fixes the image size at initialisation, 96x96 in the paper.

  Attributes:
    channels: feature maps of the first convolution, 64 in the paper; the
      following layers and the dense layer of 1024 scale with it.
    dtype: what the layers compute in; parameters, batch statistics and logits
      are float32.
  """

  channels: int = 64
  dtype: jax.typing.DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, images: jax.Array, *, train: bool, groups: int = 1
  ) -> jax.Array:
    """Images [N, H, W, 3] in [-1, 1] to float32 logits [N] (positive: real).

    With `train`, BN normalises by the batch's own statistics and updates the
    running ones, so `batch_stats` must be mutable: image i with those alone
    whose i, modulo `groups`, is the same, as if they came in turn.
    """
    x = layers.Conv(self.channels, (3, 3), dtype=self.dtype, name='conv_0')(
      images, _LEAK
    )
    for i, (multiple, stride) in enumerate(_CONVOLUTIONS, start=1):
      conv: Callable[..., nn.Module] = layers.StridedConv
      if stride == 1:
        conv = functools.partial(
          layers.Conv, kernel_size=(3, 3), use_bias=False
        )
      x = conv(multiple * self.channels, dtype=self.dtype, name=f'conv_{i}')(x)
      x = layers.BatchNorm(
        use_running_average=not train, dtype=self.dtype, name=f'norm_{i}'
      )(x, _LEAK, groups)
    x = x.reshape(x.shape[0], -1)
    dense = lambda features, name: nn.Dense(
      features, kernel_init=layers.kernel_init, dtype=self.dtype, name=name
    )
    hidden = _HIDDEN_PER_CHANNEL * self.channels
    x = nn.leaky_relu(dense(hidden, 'dense_0')(x), _LEAK)
    return dense(1, 'dense_1')(x)[:, 0].astype(jnp.float32)
