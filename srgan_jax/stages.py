"""The two stages of the recipe (paper section 3.2) as the loop sees them."""

from collections.abc import Callable, Sequence
import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax

from srgan_jax import optimizers, train_step
from srgan_jax.models import vgg

PRETRAIN, GAN = 'pretrain', 'gan'


@dataclasses.dataclass(frozen=True)
class Content:
  """A content loss: where its features come from, and what it is called.

  Attributes:
    name: 'mse', 'vgg22' or 'vgg54'; with VGG16, e.g. 'vgg16-conv5_3'.
    layer: the VGG layer compared, None for the MSE.
    perceptual: the VGG network, None for the MSE.
  """

  name: str
  layer: str | None = None
  perceptual: vgg.PerceptualNetwork | None = None


@dataclasses.dataclass(frozen=True)
class Stage:
  """What tells one stage from the other.

  Attributes:
    name: 'pretrain' or 'gan'.
    steps: its length in updates.
    schedule: the learning rate by step.
    step: `train_step.pretrain_step` or `gan_step`.
    objective: the loss.
    content: the content loss in it.
  """

  name: str
  steps: int
  schedule: optax.Schedule
  step: Callable
  objective: train_step.Objective
  content: Content

  @property
  def method(self) -> str:
    """The paper's name of the generator that the stage trains."""
    return 'SRResNet' if self.name == PRETRAIN else 'SRGAN'

  @property
  def label(self) -> str:
    """The variant, e.g. 'srgan-vgg54' or 'srgan-vgg16-conv5_3'."""
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


def make_content(
  name: str,
  load_perceptual: Callable[[], vgg.PerceptualNetwork],
  *,
  layer: str = '',
  crop_size: int,
) -> Content:
  """Resolves a content loss by its name and checks that its VGG fits.

  Args:
    name: 'mse', 'vgg22' or 'vgg54'.
    load_perceptual: gives the VGG network; called for the latter two alone.
    layer: a layer in place of the paper's.
    crop_size: side of the HR crops in pixels.

  Raises:
    ValueError: where the network lacks the layer, or as it is loaded.
  """
  if name == 'mse':
    return Content(name)
  network = load_perceptual()
  layer = layer or vgg.content_layer(name, network.depth)
  crops = jax.ShapeDtypeStruct((1, crop_size, crop_size, 3), jnp.float32)
  jax.eval_shape(functools.partial(network.features, layer=layer), crops)
  is_papers = network.depth == 19 and layer == vgg.content_layer(name, 19)
  return Content(
    name if is_papers else f'vgg{network.depth}-{layer}', layer, network
  )


def pretrain_stage(
  content: Content,
  objective: train_step.Objective,
  *,
  steps: int,
  learning_rate: float,
  schedule: optimizers.ScheduleName,
  warmup: int,
) -> Stage:
  """The SRResNet stage; see `optimizers.pretrain_schedule`."""
  return Stage(
    name=PRETRAIN,
    steps=steps,
    schedule=optimizers.pretrain_schedule(
      schedule, learning_rate, steps, warmup
    ),
    step=train_step.pretrain_step,
    objective=dataclasses.replace(objective, content_layer=content.layer),
    content=content,
  )


def gan_stage(
  content: Content,
  objective: train_step.Objective,
  *,
  steps: int,
  learning_rate: float,
  boundaries: Sequence[int],
  warmup: int,
) -> Stage:
  """The GAN stage; see `optimizers.gan_schedule`."""
  return Stage(
    name=GAN,
    steps=steps,
    schedule=optimizers.gan_schedule(learning_rate, boundaries, warmup),
    step=train_step.gan_step,
    objective=dataclasses.replace(objective, content_layer=content.layer),
    content=content,
  )
