"""The paper's losses (section 2.2). Pure functions, float32 scalars.

Images are [N, H, W, 3] in [-1, 1]; logits [N], positive where the
discriminator D takes an image for real.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import optax

ContentReduction = Literal['mean', 'sum_channels']


def mse_loss(sr: jax.Array, hr: jax.Array) -> jax.Array:
  """l_MSE, equation 4: the mean squared error over pixels and channels."""
  return jnp.mean(jnp.square(sr - hr))


def feature_loss(
  sr_features: jax.Array,
  hr_features: jax.Array,
  reduction: ContentReduction = 'mean',
) -> jax.Array:
  """l_VGG, equation 5: the squared distance of (rescaled) VGG features.

  Args:
    sr_features: phi_ij(G(LR)), float32 [N, H, W, C].
    hr_features: phi_ij(HR), the same shape.
    reduction: 'mean' over everything, as most code does, or 'sum_channels',
      which divides by W*H alone, as equation 5 is written: C times larger.

  Raises:
    ValueError: for another reduction.
  """
  loss = jnp.mean(jnp.square(sr_features - hr_features))
  if reduction == 'mean':
    return loss
  if reduction == 'sum_channels':
    return sr_features.shape[-1] * loss
  raise ValueError(
    "loss.content_reduction must be 'mean' or 'sum_channels', "
    f'not {reduction!r}'
  )


def adversarial_loss(fake_logits: jax.Array) -> jax.Array:
  """l_Gen, equation 6: -log D(G(LR)), here the mean over the batch."""
  return _cross_entropy(fake_logits, 1.0)


def discriminator_loss(
  real_logits: jax.Array, fake_logits: jax.Array
) -> jax.Array:
  """Equation 2, negated: -log D(HR) - log(1 - D(G(LR))), batch means."""
  return _cross_entropy(real_logits, 1.0) + _cross_entropy(fake_logits, 0.0)


def _cross_entropy(logits: jax.Array, label: float) -> jax.Array:
  """The batch mean, where all images are real (1) or none is (0)."""
  labels = jnp.full_like(logits, label)
  return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, labels))


def total_variation(images: jax.Array) -> jax.Array:
  """Anisotropic L1 total variation: summed over an image, batch mean.

  The paper's SRResNet-VGG22 alone adds it, with weight 2e-8 (section 3.4).
  """
  vertical = jnp.sum(jnp.abs(images[:, 1:] - images[:, :-1]))
  horizontal = jnp.sum(jnp.abs(images[:, :, 1:] - images[:, :, :-1]))
  return (vertical + horizontal) / images.shape[0]
