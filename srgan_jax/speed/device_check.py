"""Compares what this machine's accelerator computes with its CPU.

  python -m srgan_jax.speed.device_check [--config.FIELD=VALUE ...]

Before a long run, or after a new driver or JAX: a line a check, and exit status
1 where one fails. The networks are those of configs/vgg54.py with random
weights, the photos those that the package ships; nothing is downloaded.

  LR crops        made on the device, and their HR: exactly the CPU's
  resident crops  cut on the device: exactly the host's
  STAGE float32   one update's losses and gradients, both sides in float32
  STAGE bfloat16  G's or D's loss, where the device computes in bfloat16
  upscaling NAME  a photo by a shipped generator, in levels of 255

Losses and gradients (Adam's first moments) are compared by the length of the
difference over the length, exact things by how many values differ.
"""

from collections.abc import Iterator, Sequence
import sys
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh
import numpy as np

import srgan_jax
from srgan_jax import cli, files, sharding
from srgan_jax.data import batch, draw, loader
from srgan_jax.imaging import reading
from srgan_jax.speed import stand_ins
from srgan_jax.training import config_files, optimizers, stages
from srgan_jax.training.config_files import ConfigDict
from srgan_jax.training.inputs import Inputs
from srgan_jax.training.setup import Setup

# In float32: sums run in another order. D's update comes before G's loss, and
# Adam's first is the sign of a gradient, also of one that is nearly 0.
_LIMITS = {stages.PRETRAIN: 1e-3, stages.GAN: 1e-2}
_LOSSES = ('loss', 'content', 'adversarial', 'discriminator_loss')
# In bfloat16 one loss. In random networks the gradients by real and fake images
# nearly cancel, and so do their features in a random VGG.
_STABLE = {stages.PRETRAIN: 'loss', stages.GAN: 'discriminator_loss'}
_LIMIT_BFLOAT16 = 0.05
_GENERATORS = ('srresnet', 'srgan')
_PHOTO = files.PHOTOS / 'validation' / 'bee.png'


class Check(NamedTuple):
  """What was compared, by how much it differs, and by how much it may."""

  name: str
  difference: float
  limit: float

  @property
  def is_passed(self) -> bool:
    return self.difference <= self.limit  # and not NaN


def compare(config: ConfigDict, cpu: jax.Device) -> Iterator[Check]:
  """Makes the checks, one after the other, against the CPU, which is right.

  The config's precision is changed.
  """
  reference = Mesh([cpu], (sharding.AXIS,))
  perceptual = stand_ins.random_vgg(config)
  config.precision = 'float32'
  exact = Setup(config, perceptual)
  config.precision = 'bfloat16'
  rounded = Setup(config, perceptual)
  inputs = Inputs(exact.config, exact.mesh)
  drawn = next(inputs.loader.batches())
  rows = loader.host_batch(inputs.source, drawn, crop_size=config.crop_size)
  yield from _compare_crops(exact.mesh, inputs.loader, drawn, rows, reference)
  for stage, rough in zip(exact.stages, rounded.stages, strict=True):
    name = stage.name
    expected = _update(exact, stage, rows, reference)
    found = _update(exact, stage, rows, exact.mesh)
    differences = [_distance(found[key], expected[key]) for key in expected]
    largest = float(np.max(differences))  # NaN, if one is
    yield Check(f'{name} float32', largest, _LIMITS[name])
    found = _update(rounded, rough, rows, rounded.mesh)
    difference = _distance(found[_STABLE[name]], expected[_STABLE[name]])
    yield Check(f'{name} bfloat16', difference, _LIMIT_BFLOAT16)
  photo = reading.read_rgb(_PHOTO, _PHOTO.name)
  for name in _GENERATORS:
    there = srgan_jax.load(name)(photo)
    with jax.default_device(cpu):
      here = srgan_jax.load(name)(photo)
    levels = np.abs(there.astype(int) - here.astype(int)).max()
    yield Check(f'upscaling {name}', float(levels), 1)


def _compare_crops(
  mesh: Mesh,
  resident: loader.Loader,
  drawn: draw.Draw,
  rows: dict[str, np.ndarray],
  reference: Mesh,
) -> Iterator[Check]:
  make = jax.jit(batch.make_batch)
  there, here = (
    jax.device_get(make(**sharding.shard_batch(rows, each)))
    for each in (mesh, reference)
  )
  yield Check('LR crops', _count_differing(there, here), 0)
  drawn = sharding.shard_batch(drawn, mesh)
  cut = jax.device_get(jax.jit(resident.crops)(resident.pictures, drawn))
  yield Check('resident crops', _count_differing(cut['crop'], rows['crop']), 0)


def _count_differing(ours: Any, theirs: Any) -> int:
  counts = jax.tree.map(lambda a, b: int((a != b).sum()), ours, theirs)
  return sum(jax.tree.leaves(counts))


def _update(
  setup: Setup,
  stage: stages.Stage,
  rows: dict[str, np.ndarray],
  mesh: Mesh,
) -> dict[str, Any]:
  """The losses of one update on a mesh, and its gradients by network."""
  step = stand_ins.make_update(setup, stage, mesh)
  perceptual = stage.content.perceptual
  if perceptual is not None:
    perceptual = sharding.replicate(perceptual, mesh)
  state = jax.device_get(setup.create_state(stage, setup.initial))
  new, metrics = jax.device_get(
    step(
      sharding.replicate(state, mesh),
      sharding.shard_batches([rows], mesh),
      optimizers.rates(stage.schedule, 1),
      None,
      perceptual,
    )
  )
  gradients = {'generator': new.generator.opt_state.inner_state[0].mu}
  if stage.name == stages.GAN:
    gradients['discriminator'] = new.discriminator.opt_state.inner_state[0].mu
  losses = {name: metrics[name] for name in _LOSSES if name in metrics}
  return losses | gradients


def _distance(ours: Any, theirs: Any) -> float:
  """The length of the difference over the length."""
  found, expected = (
    np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
    for tree in (ours, theirs)
  )
  return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = cli.parser(__doc__)
  _, overrides = parser.parse_known_args(arguments)
  with cli.failing_in_a_line('check_device', RuntimeError):
    cpu = jax.local_devices(backend='cpu')[0]
    config = config_files.load('vgg54')
    config_files.override(config, *overrides)
    if jax.devices() == [cpu]:
      raise ValueError(
        'JAX sees no GPU or TPU here, so there is nothing to compare with the '
        f'CPU; {cli.install("cuda")} or {cli.install("tpu")} brings its driver'
      )
    stand_ins.use_photos(config)
    config.data.loader = 'resident'
    print(f'{jax.device_count()} x {jax.devices()[0].device_kind}')
    checks = []
    for check in compare(config, cpu):
      checks.append(check)
      print(
        f'{"ok  " if check.is_passed else "FAIL"} {check.name:24} '
        f'{check.difference:10.3g}, at most {check.limit:g}',
        flush=True,
      )
  if not all(check.is_passed for check in checks):
    sys.exit('check_device: this device does not compute what the CPU does')


if __name__ == '__main__':
  cli.run(main)
