"""DISTS: how far apart two images look, where textures need not match.

Ding et al. 2020, 'Image Quality Assessment: Unifying Structure and Texture
Similarity', by VGG16: of the image and of the features of five layers, means
and covariances are compared channel by channel and summed with learned weights.
The network pools by the root of a weighted mean of squares. 0 for equal images;
smaller is closer. The whole image counts, at its own size.

Images are uint8 [H, W, 3], RGB. Layout NHWC, kernels HWIO. The weights come
from a file that `convert.metrics` writes.
"""

from collections.abc import Iterator, Mapping
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from srgan_jax import files, weights
from srgan_jax.evaluation import metrics
from srgan_jax.imaging import color
from srgan_jax.models import convolutions, vgg
from srgan_jax.weights import architecture

_LEAST = 16  # the smallest side that leaves every layer a pixel
_CHANNELS = 3 + 64 + 128 + 256 + 512 + 512
_STABLE = 1e-6  # added to both parts of the fractions


@dataclasses.dataclass(frozen=True)
class Dists:
  """VGG16 and the learned weights, called on a pair of images.

  It computes in float32 with the highest precision, and compiles once a size.

  Attributes:
    variables: {'params': {layer: {'kernel', 'bias'}}, 'alpha': [1475], 'beta':
      [1475]}: of means and of covariances, of the image's channels first.
  """

  variables: Any
  name = 'dists'

  def __call__(self, sr: np.ndarray, hr: np.ndarray) -> float:
    """The distance of two images, uint8 [H, W, 3], of at least 16 pixels.

    Raises:
      ValueError: for another dtype or shape, or images of different shapes.
    """
    metrics.check_pair(sr, hr, self.name, _LEAST)
    with jax.default_matmul_precision('highest'):
      distance = _distance(self.variables, np.stack([sr, hr]))
    return max(0.0, float(distance))


def load(path: files.Path) -> Dists:
  """Reads a file that `convert.metrics` wrote.

  Raises:
    ValueError: one line naming the file, where it is no such file.
  """
  variables, _ = weights.load(path, 'dists', _find_fault)
  return Dists(jax.device_put(variables))


def _find_fault(shapes: Mapping[str, Any], _: dict[str, Any]) -> str | None:
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  expected = architecture.shapes(vgg.VGG(16, 'conv5_3').init, image)
  flat = jax.ShapeDtypeStruct((_CHANNELS,), jnp.float32)
  return architecture.compare(shapes, {**expected, 'alpha': flat, 'beta': flat})


@jax.jit
def _distance(variables: Any, pair: jax.Array) -> jax.Array:
  alpha, beta = variables['alpha'], variables['beta']
  similarity, start = jnp.float32(0), 0
  for features in _features(variables['params'], color.uint8_to_unit(pair)):
    mean = features.mean((1, 2), keepdims=True)
    away = features - mean
    variances = jnp.square(away).mean((1, 2)).sum(0)
    covariance = (away[0] * away[1]).mean((0, 1))
    x, y = mean[:, 0, 0]
    texture = (2 * x * y + _STABLE) / (x * x + y * y + _STABLE)
    structure = (2 * covariance + _STABLE) / (variances + _STABLE)
    part = slice(start, start + len(x))
    similarity += alpha[part] @ texture + beta[part] @ structure
    start = part.stop
  return 1 - similarity / (alpha.sum() + beta.sum())


def _features(params: Any, images: jax.Array) -> Iterator[jax.Array]:
  """The images in [0, 1], [N, H, W, 3], and what five blocks make of them."""
  yield images
  x = vgg.TORCHVISION(2 * images - 1)
  for layer in vgg.LAYERS[16]:
    if layer.endswith('_1') and layer != 'conv1_1':
      yield x
      x = _pool(x)
    x = convolutions.plain(x, params[layer]['kernel'])
    x = jax.nn.relu(x + params[layer]['bias'])
  yield x


def _pool(x: jax.Array) -> jax.Array:
  """To half the size: the root of the squares' mean, weighted (1, 2, 1)."""
  x = jnp.square(x)
  for axis in (1, 2):
    padded = jnp.pad(x, [(int(i == axis),) * 2 for i in range(4)])
    end = x.shape[axis] + x.shape[axis] % 2 - 1
    a, b, c = (
      jax.lax.slice_in_dim(padded, i, i + end, 2, axis) for i in range(3)
    )
    x = (a + 2 * b + c) / 4
  return jnp.sqrt(x + 1e-12)
