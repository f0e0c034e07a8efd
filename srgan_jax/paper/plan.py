"""What the recipe trains, and how long: updates, or minutes."""

import argparse
import dataclasses
import re

from srgan_jax.training import stages

RESNET = 'srresnet-mse'  # what the others start from
PLAN = 'srresnet-mse=10m,srgan=8m,srgan-vgg22=2m,srgan-mse=1m,srresnet-vgg22=2m'


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


@dataclasses.dataclass(frozen=True)
class Budget:
  """Updates; 0: as many as fit into the minutes."""

  steps: int = 0
  minutes: float = float('inf')


def parse_plan(text: str) -> dict[str, Budget]:
  """'srresnet-mse=20000,srgan=8m' as budgets by variant, in this order.

  Raises:
    argparse.ArgumentTypeError: for another form, or no such variant.
  """
  plan: dict[str, Budget] = {}
  for part in ''.join(text.split()).split(','):
    name, _, budget = part.partition('=')
    match = re.fullmatch(r'(\d+)|(\d+(?:\.\d+)?)m', budget)
    if name not in VARIANTS or name in plan or not match:
      raise argparse.ArgumentTypeError(
        f'{part!r} is not like srgan=20000 or srgan=8m; the variants are '
        f'{", ".join(VARIANTS)}, each once'
      )
    if not float(budget.rstrip('m')):
      raise argparse.ArgumentTypeError(f'{part!r} is no time at all')
    steps, minutes = match.groups()
    plan[name] = (
      Budget(steps=int(steps)) if steps else Budget(minutes=float(minutes))
    )
  return plan
