"""The paper's five variants: each one's config, stage and column of table 1."""

import dataclasses

from srgan_jax.training import stages

RESNET = 'srresnet-mse'  # what the others start from


@dataclasses.dataclass(frozen=True)
class Variant:
  """A column of table 1: its config file, its stage and its name there."""

  config: str
  stage: str
  column: str


VARIANTS = {
  RESNET: Variant('srresnet_mse', stages.PRETRAIN, 'SRResNet-MSE'),
  'srgan': Variant('vgg54', stages.GAN, 'SRGAN-VGG54'),
  'srgan-vgg22': Variant('vgg22', stages.GAN, 'SRGAN-VGG22'),
  'srgan-mse': Variant('mse', stages.GAN, 'SRGAN-MSE'),
  'srresnet-vgg22': Variant(
    'srresnet_vgg22', stages.PRETRAIN, 'SRResNet-VGG22'
  ),
}
