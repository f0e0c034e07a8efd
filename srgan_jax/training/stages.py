"""The two stages of the recipe (paper section 3.2) as the loop sees them."""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from srgan_jax.models import vgg
from srgan_jax.training import optimizers
from srgan_jax.training import step as step_lib
from srgan_jax.training.teacher import Teacher

PRETRAIN, GAN = NAMES = ('pretrain', 'gan')  # in their order

GanContent = Literal['mse', 'vgg22', 'vgg54']
ContentName = Literal[GanContent, 'consistent']


@dataclasses.dataclass(frozen=True)
class Content:
  """A content loss: where its features come from, and what it is called.

  Attributes:
    name: 'mse', 'vgg22', 'vgg54' or 'consistent'; with VGG16, e.g.
      'vgg16-conv5_3'.
    layer: the VGG layer compared, None for the MSE.
    perceptual: the VGG network, None for the MSE.
    teacher: what is learnt in place of the HR, by the MSE; None: the HR.
  """

  name: str
  layer: str | None = None
  perceptual: vgg.PerceptualNetwork | None = None
  teacher: Teacher | None = None


@dataclasses.dataclass(frozen=True)
class Stage:
  """What tells one stage from the other.

  Attributes:
    name: 'pretrain' or 'gan'.
    steps: its length in updates.
    schedule: the learning rate by step.
    step: `step.pretrain_step` or `gan_step`.
  """

  name: str
  steps: int
  schedule: optax.Schedule
  step: Callable
  objective: step_lib.Objective
  content: Content

  @property
  def method(self) -> str:
    """The paper's name of the generator that the stage trains, or its own."""
    if self.content.teacher:
      return self.content.teacher.label
    return 'SRResNet' if self.name == PRETRAIN else 'SRGAN'

  @property
  def label(self) -> str:
    """The variant, e.g. 'srgan-vgg54' or 'srgan-vgg16-conv5_3'."""
    if self.content.teacher:
      return self.method
    label = f'{self.method.lower()}-{self.content.name}'
    has_pixels = self.content.layer and self.objective.pixel_weight
    return f'{label}-mse' if has_pixels else label

  @property
  def file_name(self) -> str:
    """What the stage's generator is exported as."""
    is_pretrain = self.name == PRETRAIN
    return f'generator{"_pretrain" if is_pretrain else ""}.safetensors'

  @property
  def best_file_name(self) -> str:
    """What the generator that validated best is kept as."""
    return self.file_name.replace('.', '_best.')


def from_config(
  config: Any,
  load_perceptual: Callable[[], vgg.PerceptualNetwork],
  dtype: jnp.dtype,
  teacher: Teacher | None = None,
) -> list[Stage]:
  """The stages that a checked configuration trains, in their order.

  The VGG network is loaded where a stage needs it; the teacher is that of the
  content 'consistent'.

  Raises:
    ValueError: where that fails, or the network lacks the layer.
  """
  result = []
  own = config.stages.pretrain
  if own.steps and not config.init_generator:
    step = step_lib.pretrain_step
    if own.content == 'consistent':
      content = Content(own.content, teacher=teacher)
      step = functools.partial(step, teacher=teacher)
    else:
      content = _content(config, own.content, load_perceptual)
    schedule = optimizers.pretrain_schedule(
      own.schedule, own.learning_rate, own.steps, own.warmup
    )
    objective = _objective(
      config,
      content,
      dtype,
      tv_weight=config.loss.tv_weight,
      freeze_batch_norm=content.teacher is not None,
    )
    result.append(
      Stage(PRETRAIN, own.steps, schedule, step, objective, content)
    )
  own = config.stages.gan
  if own.steps:
    content = _content(config, own.content, load_perceptual)
    schedule = optimizers.gan_schedule(
      own.learning_rate, own.boundaries, own.warmup
    )
    objective = _objective(
      config,
      content,
      dtype,
      adversarial_weight=config.loss.adversarial_weight,
      freeze_batch_norm=own.freeze_batch_norm,
    )
    result.append(
      Stage(GAN, own.steps, schedule, step_lib.gan_step, objective, content)
    )
  return result


def _content(
  config: Any,
  name: GanContent,
  load_perceptual: Callable[[], vgg.PerceptualNetwork],
) -> Content:
  """A content loss by the paper's name, whose VGG network is known to fit."""
  if name == 'mse':
    return Content(name)
  network = load_perceptual()
  layer = config.perceptual.layer or vgg.content_layer(name, network.depth)
  crops = jax.ShapeDtypeStruct(
    (1, config.crop_size, config.crop_size, 3), jnp.float32
  )
  jax.eval_shape(functools.partial(vgg.features, network, layer=layer), crops)
  is_papers = network.depth == 19 and layer == vgg.content_layer(name, 19)
  return Content(
    name if is_papers else f'vgg{network.depth}-{layer}', layer, network
  )


def _objective(
  config: Any, content: Content, dtype: jnp.dtype, **own: Any
) -> step_lib.Objective:
  """What both stages share, and a stage's own weights."""
  return step_lib.Objective(
    content_layer=content.layer,
    content_reduction=config.loss.content_reduction,
    pixel_weight=config.loss.pixel_weight,
    ema_decay=config.ema_decay,
    dtype=dtype,
    **own,
  )
