"""LPIPS v0.1: how far apart two images look, by what a network sees in them.

Zhang et al. 2018, 'The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric', with AlexNet or VGG16. The features of five layers are
scaled to unit length along their channels; per layer, the squared differences
are summed over the channels with learned weights (none negative) and averaged
over the pixels, and the five means are summed. 0 for equal images; smaller is
closer. The whole image counts: no border is removed.

Images are uint8 [H, W, 3], RGB; the networks take them in [-1, 1], shifted and
scaled. Layout NHWC, kernels HWIO. The weights come from a file that
`convert.lpips` writes.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import functools
from typing import Any, Literal, get_args

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from srgan_jax import files, weights
from srgan_jax.evaluation import metrics
from srgan_jax.imaging import color
from srgan_jax.models import convolutions, vgg
from srgan_jax.weights import architecture, container

Network = Literal['alex', 'vgg16']

VERSION = '0.1'
# LPIPS's scaling layer: a shift and a scale of images in [-1, 1].
PREPROCESSING = vgg.Preprocessing(
  channel_order='rgb',
  value_range=(-1, 1),
  mean=(-0.030, -0.088, -0.188),
  std=(0.458, 0.448, 0.450),
)

_EPSILON = 1e-10  # added to the length that features are divided by

# AlexNet's convolutions: channels, kernel size, stride, padding.
_ALEXNET = {
  'conv1': (64, 11, 4, 2),
  'conv2': (192, 5, 1, 2),
  'conv3': (384, 3, 1, 1),
  'conv4': (256, 3, 1, 1),
  'conv5': (256, 3, 1, 1),
}

# A larger image goes through the networks in strips of rows, each with a halo
# that is cut off again: the same figure, and bounded memory (VGG16 on CPU: 3.7
# GB for 2000x3000 pixels). The features of a row see at most 96 pixels above
# and below it, in both networks; strips start where a row of every layer does,
# at multiples of 16 pixels.
_MAX_PIXELS = 1_800_000
_HALO = 96
_GRID = 16


class AlexNet(nn.Module):
  """The five convolutions of torchvision's AlexNet (Krizhevsky 2014)."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Features of preprocessed images [N, H, W, 3], after the last ReLU."""
    for name, (channels, size, stride, padding) in _ALEXNET.items():
      if name in ('conv2', 'conv3'):
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding='VALID')
      x = nn.Conv(
        channels, (size, size), strides=stride, padding=padding, name=name
      )(x)
      x = nn.relu(x)
    return x


@dataclasses.dataclass(frozen=True)
class _Design:
  """What LPIPS compares of a network.

  Attributes:
    module: the network.
    strides: by layer whose features, after the ReLU, are compared, the pixels
      of the image between two of their rows.
    least: the smallest side of an image that leaves every layer a pixel.
  """

  module: nn.Module
  strides: dict[str, int]
  least: int


_DESIGNS = {
  'alex': _Design(
    AlexNet(),
    {'conv1': 4, 'conv2': 8, 'conv3': 16, 'conv4': 16, 'conv5': 16},
    least=31,
  ),
  'vgg16': _Design(
    # Each size of image is a program of its own, which runs a few times.
    vgg.VGG(16, 'conv5_3', conv=convolutions.plain),
    {'conv1_2': 1, 'conv2_2': 2, 'conv3_3': 4, 'conv4_3': 8, 'conv5_3': 16},
    least=16,
  ),
}


@dataclasses.dataclass(frozen=True)
class Lpips:
  """A network with its weights, called on a pair of images.

  It computes in float32 with the highest precision, and compiles once a size.

  Attributes:
    network: 'alex' or 'vgg16'.
    variables: {'params': {layer: {'kernel', 'bias'}}, 'linear': {layer: [C]}}.
    source: where the weights come from, for logs.
  """

  network: Network
  variables: Any
  source: str = ''

  @property
  def name(self) -> str:
    """What its figures are called: 'lpips_alex' or 'lpips_vgg16'."""
    return f'lpips_{self.network}'

  def __call__(self, sr: np.ndarray, hr: np.ndarray) -> float:
    """The distance of two images, uint8 [H, W, 3].

    A side has at least 31 pixels for 'alex', 16 for 'vgg16'.

    Raises:
      ValueError: for another dtype or shape, or images of different shapes.
    """
    design = _DESIGNS[self.network]
    metrics.check_pair(sr, hr, self.name, design.least)
    pair = np.stack([sr, hr])
    height, width = sr.shape[:2]
    means: dict[str, list[np.ndarray]] = {layer: [] for layer in design.strides}
    for top, bottom in _strips(height, width):
      start, end = max(0, top - _HALO), min(bottom + _HALO, height)
      rows = _row_means(self.network, self.variables, pair[:, start:end])
      for layer, stride in design.strides.items():
        last = (bottom - start) // stride if bottom < height else None
        means[layer].append(
          np.asarray(rows[layer])[(top - start) // stride : last]
        )
    # In float64: a float32 sum over a large image's pixels loses digits.
    return float(
      sum(np.concatenate(m).mean(dtype=np.float64) for m in means.values())
    )


def load(path: files.Path) -> Lpips:
  """Reads a file that `convert.lpips` wrote.

  Raises:
    ValueError: one line naming the file and what to run, where it is no such
      file, or its tensors are not those of its network.
  """
  variables, metadata = weights.load(path, 'lpips', _find_fault)
  network = metadata['architecture']['network']
  for layer in layer_names(network):
    if np.min(variables['linear'][layer]) < 0:
      fault = f'linear/{layer} has negative weights'
      raise container.fault_error(path, 'lpips', fault)
  variables = jax.device_put(variables)
  return Lpips(network, variables, str(metadata.get('source')))


def save(
  path: files.Path,
  metric: Lpips,
  *,
  source_sha256: str,
  converter_version: str,
) -> None:
  """Writes what `load` reads, and by which tool it was read from which file."""
  weights.save(
    path,
    'lpips',
    metric.variables,
    {
      'architecture': {'network': metric.network},
      'lpips_version': VERSION,
      'preprocessing': dataclasses.asdict(PREPROCESSING),
      'source': metric.source,
      'source_sha256': source_sha256,
      'converter_version': converter_version,
    },
  )


def layer_names(network: Network) -> tuple[str, ...]:
  """The layers that LPIPS compares, in order."""
  return tuple(_DESIGNS[network].strides)


def _find_fault(
  shapes: Mapping[str, Any], metadata: dict[str, Any]
) -> str | None:
  if (version := metadata.get('lpips_version')) != VERSION:
    return f'is of LPIPS version {version!r}, not {VERSION!r}'
  network = metadata['architecture'].get('network')
  if network not in get_args(Network):
    return f"is LPIPS with the network {network!r}, not 'alex' or 'vgg16'"
  design = _DESIGNS[network]
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  expected = architecture.shapes(design.module.init, image)
  for layer in design.strides:
    expected[f'linear/{layer}'] = expected[f'params/{layer}/bias']
  return architecture.compare(shapes, expected)


@functools.partial(jax.jit, static_argnums=0)
def _row_means(
  network: Network, variables: Any, pair: jax.Array
) -> dict[str, jax.Array]:
  """Each layer's distances, averaged along the rows of its features.

  Of a pair of images, uint8 [2, H, W, 3], float32 [h] by layer.
  """
  design = _DESIGNS[network]
  with jax.default_matmul_precision('highest'):
    _, state = design.module.apply(
      {'params': variables['params']},
      PREPROCESSING(color.uint8_to_signed(pair)),
      capture_intermediates=lambda module, _: module.name in design.strides,
      mutable=['intermediates'],
    )
  rows = {}
  for layer in design.strides:
    x = nn.relu(state['intermediates'][layer]['__call__'][0])
    length = jnp.sqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True))
    sr, hr = x / (length + _EPSILON)
    distances = jnp.sum(
      variables['linear'][layer] * jnp.square(sr - hr), axis=-1
    )
    rows[layer] = jnp.mean(distances, axis=-1)
  return rows


def _strips(height: int, width: int) -> Iterator[tuple[int, int]]:
  """The first row and the one after the last of each strip of an image."""
  rows = height
  if height * width > _MAX_PIXELS:
    rows = (_MAX_PIXELS // width - 2 * _HALO) // _GRID * _GRID
    rows = max(rows, _GRID)
  for top in range(0, height, rows):
    yield top, min(top + rows, height)
