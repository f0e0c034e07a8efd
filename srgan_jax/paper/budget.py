"""How long each variant is trained: a number of updates, or minutes."""

import argparse
import dataclasses
import re

from srgan_jax.paper.variants import VARIANTS

PLAN = 'srresnet-mse=10m,srgan=8m,srgan-vgg22=2m,srgan-mse=1m,srresnet-vgg22=2m'


@dataclasses.dataclass(frozen=True)
class Budget:
  """Updates, or minutes to find them by."""

  steps: int | None = None
  minutes: float | None = None

  @property
  def seconds(self) -> float:
    return float('inf') if self.minutes is None else 60 * self.minutes


def parse_plan(text: str) -> dict[str, Budget]:
  """'srresnet-mse=20000,srgan=8m' as budgets by variant, in this order.

  Raises:
    argparse.ArgumentTypeError: for another form, or no such variant.
  """
  plan = {}
  for part in ''.join(text.split()).split(','):
    name, _, budget = part.partition('=')
    match = re.fullmatch(r'(\d+)|(\d+(?:\.\d+)?)m', budget)
    if name not in VARIANTS or name in plan or not match:
      raise argparse.ArgumentTypeError(
        f'{part!r} is not like srgan=20000 or srgan=8m; the variants are '
        f'{", ".join(VARIANTS)}, each once'
      )
    steps, minutes = match.groups()
    plan[name] = Budget(
      int(steps) if steps else None, float(minutes) if minutes else None
    )
    if not (plan[name].steps or plan[name].minutes):
      raise argparse.ArgumentTypeError(f'{part!r} is no time at all')
  return plan
