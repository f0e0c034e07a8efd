"""The two training steps (paper sections 2.2 and 3.2): pure functions.

`pretrain_step` trains the generator G alone (SRResNet); `gan_step` updates the
discriminator D, then G, once each. Both take a state and a batch and return the
new state and a dict of float32 scalars. Images are NHWC, LR in [0, 1], HR and
SR in [-1, 1].
"""

import dataclasses
import functools
from typing import Any, Self

from flax import linen as nn
from flax import struct
from flax.training import train_state
import jax
import jax.numpy as jnp
import optax

from srgan_jax import losses
from srgan_jax.data.batch import Batch
from srgan_jax.models import vgg
from srgan_jax.training import flat
from srgan_jax.training.teacher import Teacher

Metrics = dict[str, jax.Array]

# Of metrics that are not finite, the first in this order is the cause: D sees
# the images before G is scored by the D just updated.
CAUSES = (
  'd_real',
  'd_fake',
  'discriminator_loss',
  'discriminator_gradient_norm',
  'content',
  'tv',
  'adversarial',
  'adversarial_to_content',
  'loss',
  'generator_gradient_norm',
)
Variables = dict[str, Any]


class NetworkState(train_state.TrainState):
  """A network's parameters, Adam's moments and count, and BN statistics."""

  batch_stats: Any

  @property
  def variables(self) -> Variables:
    return {'params': self.params, 'batch_stats': self.batch_stats}

  def apply_gradients(self, *, grads: Any, **changes: Any) -> Self:
    """The state behind an update; `changes` are fields of it."""
    updates, opt_state = self.tx.update(grads, self.opt_state, self.params)
    return self.replace(
      step=self.step + 1,
      params=optax.apply_updates(self.params, updates),
      opt_state=opt_state,
      **changes,
    )

  def with_learning_rate(self, rate: jax.Array) -> Self:
    """The same state, whose next update has this learning rate."""
    hyperparams = self.opt_state.hyperparams | {'learning_rate': rate}
    opt_state = self.opt_state._replace(hyperparams=hyperparams)
    return self.replace(opt_state=opt_state)


@struct.dataclass
class PretrainState:
  """What the SRResNet stage updates.

  Attributes:
    generator: G.
    ema: the exponential moving average of G's variables, or None.
  """

  generator: NetworkState
  ema: Variables | None

  @property
  def exported(self) -> Variables:
    """What is evaluated and exported: the average, where there is one."""
    return self.generator.variables if self.ema is None else self.ema

  def with_learning_rate(self, rate: jax.Array) -> Self:
    """The same state, whose next update has this learning rate."""
    return dataclasses.replace(
      self, generator=self.generator.with_learning_rate(rate)
    )


@struct.dataclass
class GanState(PretrainState):
  """What the GAN stage updates: G, its average, and D."""

  discriminator: NetworkState

  def with_learning_rate(self, rate: jax.Array) -> Self:
    state = super().with_learning_rate(rate)
    return dataclasses.replace(
      state, discriminator=state.discriminator.with_learning_rate(rate)
    )


@dataclasses.dataclass(frozen=True)
class Objective:
  """The weights of l_SR (equation 3), and which content loss l_X is.

  Attributes:
    content_layer: the VGG layer compared, e.g. 'conv5_4', or None for l_MSE.
    content_reduction: see `losses.feature_loss`.
    pixel_weight: of l_MSE beside a VGG content loss; 0 in the paper. Without it
      such a loss buys likeness with contrast, until a run is long.
    adversarial_weight: of l_Gen; 1e-3 in the paper. Unused in pre-training.
    tv_weight: of the total variation; 2e-8 for SRResNet-VGG22, else 0.
    freeze_batch_norm: whether G is normalised by its stored statistics, which
      stay as they are, as it will be used; else by each batch's own, as the
      paper. D's are always each batch's own.
    ema_decay: of the moving average of G, where the state has one.
    dtype: what the VGG network computes in; the loss is float32.
    axis: the mesh axis over whose devices gradients and metrics are averaged,
      where each device normalises its own part of the batch (`jax.shard_map`);
      None where the step sees the global batch.
  """

  content_layer: str | None = None
  content_reduction: losses.ContentReduction = 'mean'
  pixel_weight: float = 0.0
  adversarial_weight: float = 1e-3
  tv_weight: float = 0.0
  freeze_batch_norm: bool = False
  ema_decay: float = 0.0
  dtype: jnp.dtype = jnp.dtype('float32')
  axis: str | None = None


def create_network(
  network: nn.Module,
  variables: Variables,
  optimizer: optax.GradientTransformation,
) -> NetworkState:
  """A network's state before its first update."""
  return NetworkState.create(
    apply_fn=network.apply,
    params=variables['params'],
    batch_stats=variables['batch_stats'],
    tx=optimizer,
  )


def pretrain_step(
  state: PretrainState,
  batch: Batch,
  perceptual: vgg.PerceptualNetwork | None,
  objective: Objective,
  teacher: Teacher | None = None,
) -> tuple[PretrainState, Metrics]:
  """One update of G on its content loss alone.

  Args:
    state: the state before.
    batch: LR and HR crops.
    perceptual: the VGG network, or None for the MSE.
    objective: the loss.
    teacher: what G learns from; None: from the HR.

  Returns:
    The state after, and `loss, content, tv, generator_gradient_norm`.
  """
  generator = state.generator
  hr = batch.hr if teacher is None else teacher(batch.lr)

  def loss_fn(params: Any) -> tuple[jax.Array, Any]:
    sr, statistics = _generate(generator, batch.lr, objective, params)
    sr = sr if teacher is None else teacher.inside(sr)
    content, tv = _content_terms(sr, hr, perceptual, objective)
    loss = content + objective.tv_weight * tv
    return loss, (content, tv, statistics)

  (loss, (content, tv, statistics)), gradients = jax.value_and_grad(
    loss_fn, has_aux=True
  )(generator.params)
  gradients = _mean_over_devices(gradients, objective)
  generator = generator.apply_gradients(grads=gradients, batch_stats=statistics)
  metrics = _mean_over_devices(
    {'loss': loss, 'content': content, 'tv': tv}, objective
  )
  return PretrainState(
    generator=generator, ema=_average(state.ema, generator, objective)
  ), metrics | {'generator_gradient_norm': optax.tree.norm(gradients)}


def gan_step(
  state: GanState,
  batch: Batch,
  perceptual: vgg.PerceptualNetwork | None,
  objective: Objective,
) -> tuple[GanState, Metrics]:
  """One alternating update (k = 1): D on real and fake, then G against it.

  Args:
    state: the state before.
    batch: LR and HR crops.
    perceptual: the VGG network, or None for the MSE.
    objective: the weights of l_SR.

  Returns:
    The state after, and `loss` (l_SR), `content`, `adversarial`, `tv`,
    `adversarial_to_content` (the ratio of the two weighted terms),
    `discriminator_loss`, `d_real`, `d_fake` (D's mean scores in 0..1 before
    its update) and the gradient norms of both networks.
  """
  # 1. G's forward pass, once: `pull_back` takes a gradient by SR to one by
  #    G's parameters.
  sr, pull_back, statistics = jax.vjp(
    functools.partial(_generate, state.generator, batch.lr, objective),
    state.generator.params,
    has_aux=True,
  )
  # 2. D's update (equation 2) by its parameters alone: SR is a constant here.
  (_, (terms, d_statistics)), gradients = jax.value_and_grad(
    functools.partial(_discriminator_loss, state.discriminator, batch.hr, sr),
    has_aux=True,
  )(state.discriminator.params)
  d_gradients = _mean_over_devices(gradients, objective)
  discriminator = state.discriminator.apply_gradients(
    grads=d_gradients, batch_stats=d_statistics
  )
  # 3. G's update (equation 3) against the D just updated, a constant here.
  (_, more_terms), sr_gradient = jax.value_and_grad(
    functools.partial(
      _perceptual_loss, discriminator, batch.hr, perceptual, objective
    ),
    has_aux=True,
  )(sr)
  gradients = _mean_over_devices(pull_back(sr_gradient)[0], objective)
  generator = state.generator.apply_gradients(
    grads=gradients, batch_stats=statistics
  )

  metrics = _mean_over_devices(terms | more_terms, objective)
  return GanState(
    generator=generator,
    ema=_average(state.ema, generator, objective),
    discriminator=discriminator,
  ), metrics | {
    'adversarial_to_content': (
      objective.adversarial_weight * metrics['adversarial'] / metrics['content']
    ),
    'generator_gradient_norm': optax.tree.norm(gradients),
    'discriminator_gradient_norm': optax.tree.norm(d_gradients),
  }


def _generate(
  generator: NetworkState, lr: jax.Array, objective: Objective, params: Any
) -> tuple[jax.Array, Any]:
  """SR by G with these parameters, and G's new statistics."""
  if not objective.freeze_batch_norm:
    return _apply(generator, params, lr)
  sr = generator.apply_fn(_layers(generator, params), lr, train=False)
  return sr, generator.batch_stats


def _discriminator_loss(
  discriminator: NetworkState, hr: jax.Array, sr: jax.Array, params: Any
) -> tuple[jax.Array, tuple[Metrics, Any]]:
  """Equation 2, negated; also D's metrics and new statistics.

  Real and fake go through D in one pass and in turns, but each normalised by
  its own statistics, of which the real ones count first.
  """
  images = jnp.stack([hr, sr], axis=1).reshape(-1, *hr.shape[1:])
  logits, statistics = _apply(discriminator, params, images, groups=2)
  real, fake = logits[::2], logits[1::2]
  loss = losses.discriminator_loss(real, fake)
  terms = {
    'discriminator_loss': loss,
    'd_real': jnp.mean(nn.sigmoid(real)),
    'd_fake': jnp.mean(nn.sigmoid(fake)),
  }
  return loss, (terms, statistics)


def _perceptual_loss(
  discriminator: NetworkState,
  hr: jax.Array,
  perceptual: vgg.PerceptualNetwork | None,
  objective: Objective,
  sr: jax.Array,
) -> tuple[jax.Array, Metrics]:
  """Equation 3, l_SR, and its terms; D's new statistics are dropped."""
  logits, _ = _apply(discriminator, discriminator.params, sr)
  content, tv = _content_terms(sr, hr, perceptual, objective)
  adversarial = losses.adversarial_loss(logits)
  loss = (
    content
    + objective.adversarial_weight * adversarial
    + objective.tv_weight * tv
  )
  terms = {'content': content, 'adversarial': adversarial, 'tv': tv}
  return loss, terms | {'loss': loss}


def _mean_over_devices(tree: Any, objective: Objective) -> Any:
  """The mean over the objective's axis; XLA makes a tree one all-reduce."""
  if objective.axis is None:
    return tree
  return jax.lax.pmean(tree, objective.axis)


def _apply(
  network: NetworkState, params: Any, images: jax.Array, **options: Any
) -> tuple[jax.Array, Any]:
  """A forward pass in training mode: the output and the new BN statistics."""
  output, updated = network.apply_fn(
    _layers(network, params),
    images,
    train=True,
    mutable=['batch_stats'],
    **options,
  )
  return output, flat.like(network.batch_stats, updated['batch_stats'])


def _layers(network: NetworkState, params: Any) -> Variables:
  """What `apply` takes with these parameters, whether packed or not."""
  return {
    'params': flat.layers(params),
    'batch_stats': flat.layers(network.batch_stats),
  }


def _content_terms(
  sr: jax.Array,
  hr: jax.Array,
  perceptual: vgg.PerceptualNetwork | None,
  objective: Objective,
) -> tuple[jax.Array, jax.Array]:
  """l_X by the objective, and the total variation where it has a weight."""
  if objective.content_layer is None or perceptual is None:
    content = losses.mse_loss(sr, hr)
  else:
    features = vgg.features_of_both(
      perceptual, sr, hr, objective.content_layer, dtype=objective.dtype
    )
    content = losses.feature_loss(*features, objective.content_reduction)
    if objective.pixel_weight:
      content += objective.pixel_weight * losses.mse_loss(sr, hr)
  if objective.tv_weight:
    return content, losses.total_variation(sr)
  return content, jnp.zeros(())


def _average(
  ema: Variables | None, generator: NetworkState, objective: Objective
) -> Variables | None:
  """The moving average, warmed up so that it forgets the initial weights."""
  if ema is None:
    return None
  step = jnp.asarray(generator.step, jnp.float32)
  decay = jnp.minimum(objective.ema_decay, (1 + step) / (10 + step))
  return jax.tree.map(
    lambda old, new: decay * old + (1 - decay) * new, ema, generator.variables
  )
