"""VGG feature networks: what the perceptual loss compares (section 2.2.1).

Simonyan and Zisserman 2015, configurations D (VGG16) and E (VGG19), up to the
last convolution; no classifier. phi_i,j of the paper is the j-th convolution
after its ReLU, before the i-th max-pool: layer `convi_j`.

Layout NHWC, kernels HWIO; images come in as RGB in [-1, 1], and the network's
own convention (channel order, range, mean, deviation) is stated by the file
that its weights are in (see `srgan_jax.weights.load_vgg`).
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import math
from typing import Any, Literal, cast, get_args

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from srgan_jax.models import convolutions, layers

ChannelOrder = Literal['rgb', 'bgr']

_CHANNELS = (64, 128, 256, 512, 512)
_CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}

# The names of a network's convolutions in their order, by depth.
LAYERS = {
  depth: tuple(
    f'conv{i}_{j}'
    for i, count in enumerate(counts, start=1)
    for j in range(1, count + 1)
  )
  for depth, counts in _CONVOLUTIONS.items()
}


def content_layer(content: Literal['vgg22', 'vgg54'], depth: int) -> str:
  """The layer that a content loss of the paper compares.

  'vgg22' is the 2nd convolution before the 2nd max-pool, 'vgg54' the last one
  before the 5th: the 4th of VGG19, the 3rd of VGG16.
  """
  return 'conv2_2' if content == 'vgg22' else LAYERS[depth][-1]


def layers_up_to(depth: int, layer: str) -> tuple[str, ...]:
  """The convolutions that the features of `layer` need, itself the last.

  Raises:
    ValueError: for a layer that the depth, 16 or 19, lacks.
  """
  names = LAYERS[depth]
  if layer not in names:
    raise ValueError(
      f'VGG{depth} has no layer {layer!r}; it has {", ".join(names)}'
    )
  return names[: names.index(layer) + 1]


class VGG(nn.Module):
  """VGG16 or VGG19 up to one layer.

  Attributes:
    depth: 16 or 19.
    layer: the convolution whose features are returned, e.g. 'conv5_4'.
    dtype: what it computes in.
    every: which images have a gradient: the first and each so many after it.
      The parameters have none.
    conv: what convolves: on a CPU `convolutions.plain` takes a third longer,
      but a third of the time to compile.
  """

  depth: int
  layer: str
  dtype: jax.typing.DTypeLike = jnp.float32
  every: int = 1
  conv: convolutions.Conv = convolutions.conv

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Features of preprocessed images, after the layer's ReLU.

    Args:
      x: [N, H, W, 3] in the channel order and range of the weights.

    Returns:
      `dtype` [N, H/2^(i-1), W/2^(i-1), C], rounded down, for layer `convi_j`.
    """
    for name in layers_up_to(self.depth, self.layer):
      block, index = map(int, name.removeprefix('conv').split('_'))
      if block > 1 and index == 1:
        x = _pool(self.every, x)
      how = self.dtype, self.every, self.conv
      x = _Layer(_CHANNELS[block - 1], *how, name=name)(x)
    return x


class _Layer(nn.Module):
  """A 3x3 convolution, its bias and ReLU; see `VGG`."""

  features: int
  dtype: jax.typing.DTypeLike
  every: int
  conv: convolutions.Conv

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    shape = (3, 3, x.shape[-1], self.features)
    kernel = self.param('kernel', layers.kernel_init, shape)
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    parts = (part.astype(self.dtype) for part in (x, kernel, bias))
    return _convolve(self.every, self.conv, *parts)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _convolve(
  every: int,
  conv: convolutions.Conv,
  x: jax.Array,
  kernel: jax.Array,
  bias: jax.Array,
) -> jax.Array:
  # Of one type, and with a gradient that needs the result alone: so it is one
  # kernel of cuDNN's.
  del every
  return jnp.maximum(conv(x, kernel) + bias, 0)


def _convolve_forward(
  every: int,
  conv: convolutions.Conv,
  x: jax.Array,
  kernel: jax.Array,
  bias: jax.Array,
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
  y = _convolve(every, conv, x, kernel, bias)
  return y, (x, kernel, y)


def _convolve_backward(
  every: int,
  conv: convolutions.Conv,
  kept: tuple[jax.Array, ...],
  gradient: jax.Array,
) -> tuple[jax.Array | None, ...]:
  x, kernel, y = kept
  inner = jnp.where(_varied(every, y) > 0, _varied(every, gradient), 0)
  by_x = lambda x: conv(x, kernel)
  return *_spread(every, by_x, x, inner), None, None


_convolve.defvjp(_convolve_forward, _convolve_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pool(every: int, x: jax.Array) -> jax.Array:
  del every
  return layers.max_pool(x)


_pool.defvjp(
  lambda every, x: (_pool(every, x), x),
  lambda every, x, gradient: _spread(
    every, layers.max_pool, x, _varied(every, gradient)
  ),
)


def _varied(every: int, x: jax.Array) -> jax.Array:
  """The images that have a gradient, [N/every, H, W, C]."""
  return x.reshape(-1, every, *x.shape[1:])[:, 0]


def _spread(
  every: int,
  function: Callable[[jax.Array], jax.Array],
  x: jax.Array,
  gradient: jax.Array,
) -> tuple[jax.Array]:
  """The gradient by x of a function of it, zero for the other images."""
  (by_x,) = jax.vjp(function, _varied(every, x))[1](gradient)
  others = [jnp.zeros_like(by_x)] * (every - 1)
  return (jnp.stack([by_x, *others], axis=1).reshape(x.shape),)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
  """What a network's weights were trained to take; recorded in their file.

  Attributes:
    channel_order: 'rgb' (torchvision) or 'bgr' (Caffe, Keras).
    value_range: what black and white become before `mean` is subtracted:
      (0, 1) for torchvision, (0, 255) for Caffe and Keras.
    mean: subtracted, in `value_range`'s unit and `channel_order`'s order.
    std: what the difference is divided by, likewise.
  """

  channel_order: ChannelOrder
  value_range: tuple[float, float]
  mean: tuple[float, float, float]
  std: tuple[float, float, float]

  def __post_init__(self) -> None:
    if self.channel_order not in get_args(ChannelOrder):
      raise ValueError(
        f"channel_order must be 'rgb' or 'bgr', not {self.channel_order!r}"
      )
    for field, length in (('value_range', 2), ('mean', 3), ('std', 3)):
      try:
        values = tuple(float(value) for value in getattr(self, field))
      except (TypeError, ValueError):
        values = ()
      if len(values) != length or not all(map(math.isfinite, values)):
        raise ValueError(
          f'{field} must be {length} numbers, not {getattr(self, field)!r}'
        )
      # Tuples of floats, whatever came (JSON has lists): hashable and equal.
      object.__setattr__(self, field, values)
    if not self.value_range[0] < self.value_range[1]:
      raise ValueError(f'value_range must rise, not be {self.value_range}')
    if min(self.std) <= 0:
      raise ValueError(f'std must be positive, not {self.std}')

  def __call__(self, images: jax.Array) -> jax.Array:
    """From RGB in [-1, 1] to what the network takes; float [N, H, W, 3]."""
    low, high = self.value_range
    pixels = (images + 1) * ((high - low) / 2) + low
    if self.channel_order == 'bgr':
      pixels = pixels[..., ::-1]
    mean, std = (np.array(v, np.float32) for v in (self.mean, self.std))
    return (pixels - mean) / std


# Of torchvision's networks, by ImageNet's mean and deviation.
TORCHVISION = Preprocessing(
  channel_order='rgb',
  value_range=(0, 1),
  mean=(0.485, 0.456, 0.406),
  std=(0.229, 0.224, 0.225),
)


@struct.dataclass
class PerceptualNetwork:
  """A VGG with its weights and the convention that they were trained in.

  A pytree whose leaves are the parameters alone, so it can be an argument of a
  jitted function: hand it in, never differentiate with respect to it.

  Attributes:
    params: {'conv1_1': {'kernel': HWIO, 'bias': [C]}, ...}, float32, from
      conv1_1 up to some layer.
    depth: 16 or 19.
    preprocessing: see `Preprocessing`.
    feature_scale: (layer, factor) pairs: what `features` multiplies a layer's
      features by, 1/12.75 in the paper (section 3.2).
    source: where the weights come from, for logs.
  """

  params: Any
  depth: int = struct.field(pytree_node=False)
  preprocessing: Preprocessing = struct.field(pytree_node=False)
  feature_scale: tuple[tuple[str, float], ...] = struct.field(pytree_node=False)
  source: str = struct.field(pytree_node=False, default='')


def features(
  network: PerceptualNetwork,
  images: jax.Array,
  layer: str,
  *,
  dtype: jax.typing.DTypeLike = jnp.float32,
  every: int = 1,
) -> jax.Array:
  """The rescaled features phi_ij that equation 5 compares.

  Args:
    network: the weights and their convention.
    images: [N, H, W, 3], RGB in [-1, 1]; values outside are not clipped, so
      that their gradient lives.
    layer: 'conv2_2', 'conv5_4', ...
    dtype: what the convolutions compute in; the preprocessing before them is
      float32.
    every: see `VGG`.

  Returns:
    float32 [N, h, w, C]: the layer's features after its ReLU, times its scale.

  Raises:
    ValueError: for a layer that the depth lacks, or that the network has no
      parameters or no scale for.
  """
  needed = layers_up_to(network.depth, layer)
  missing = [name for name in needed if name not in network.params]
  if missing:
    raise ValueError(
      f'features of {layer} need the parameters of {", ".join(missing)}, '
      f'which this VGG{network.depth} lacks'
    )
  scales: Mapping[str, float] = dict(network.feature_scale)
  if layer not in scales:
    raise ValueError(
      f'this VGG{network.depth} has no feature scale for {layer}; it has '
      f'one for {", ".join(scales)}'
    )
  x = network.preprocessing(images.astype(jnp.float32)).astype(dtype)
  params = {name: network.params[name] for name in needed}
  module = VGG(network.depth, layer, dtype, every)
  y = cast(jax.Array, module.apply({'params': params}, x))
  return y.astype(jnp.float32) * scales[layer]


def features_of_both(
  network: PerceptualNetwork,
  sr: jax.Array,
  hr: jax.Array,
  layer: str,
  *,
  dtype: jnp.dtype = jnp.float32,
) -> tuple[jax.Array, jax.Array]:
  """`features` of SR and HR in one pass; there is no gradient by HR."""
  # In turns: devices that share a batch have SR and HR of their own images.
  images = jnp.stack([sr, hr], axis=1).reshape(-1, *sr.shape[1:])
  both = features(network, images, layer, dtype=dtype, every=2)
  both = both.reshape(-1, 2, *both.shape[1:])
  return both[:, 0], jax.lax.stop_gradient(both[:, 1])
