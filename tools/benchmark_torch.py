"""Times our training step beside the same one in PyTorch, in turns.

  python tools/benchmark_torch.py --config=configs/vgg54.py
    [--stage=pretrain,gan] [--variants=eager,channels_last,compile,graphs]
    [--rounds=5] [--calls=10] [--json=FILE] [--config.FIELD=VALUE ...]

The same networks, weights, batch, losses and optimizers on both sides, and the
batch on the device from the beginning. In every round each side runs its calls,
one after the other, so that a machine that slows down slows all of them. First
the two are compared: two updates from the same weights in float32 must give the
same losses.

  eager          PyTorch as it is written, NCHW
  channels_last  the same with its memory NHWC
  compile        channels_last under torch.compile
  graphs         torch.compile with CUDA graphs (mode reduce-overhead)

On a GPU all variants compute in bfloat16 by autocast where ours does; Adam is
the fused one. PyTorch is not among this package's dependencies.
"""

from collections.abc import Callable, Sequence
import json
import os
import pathlib
import tempfile
import time
from typing import Any

# Both share the device's memory.
os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')

from absl import app, flags  # noqa: E402
import jax  # noqa: E402
from ml_collections import config_flags  # noqa: E402
import numpy as np  # noqa: E402
import stand_ins  # noqa: E402
import torch  # noqa: E402
from torch.nn import functional as F  # noqa: E402
import torch_networks  # noqa: E402

from srgan_jax import files, sharding, stages, train, update  # noqa: E402
from srgan_jax.data.batch import Batch, make_batch  # noqa: E402

_CONFIG = config_flags.DEFINE_config_file('config', None, 'A config file.')
_STAGES = flags.DEFINE_list('stage', ['pretrain', 'gan'], 'Of pretrain, gan.')
_VARIANTS = flags.DEFINE_list(
  'variants', ['eager', 'channels_last'], 'Of PyTorch; see above.'
)
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Turns of each side.', 1)
_CALLS = flags.DEFINE_integer('calls', 10, 'Updates in a turn.', 1)
_JSON = flags.DEFINE_string('json', None, 'A file for the figures.')
flags.mark_flag_as_required('config')

# Of the losses after one and two updates, relative. Sums run in another order;
# Adam's first update is the sign of the gradient, also of one that is nearly 0.
_TOLERANCE = 2e-3


class Trainer:
  """One side: the stage's update in PyTorch."""

  def __init__(
    self,
    run: train.Run,
    stage: stages.Stage,
    state: Any,
    batch: Batch,
    *,
    variant: str,
    device: str,
    exact: bool = False,
  ):
    self.objective, self.device = stage.objective, device
    self.is_gan = stage.name == stages.GAN
    self.autocast = torch.autocast(
      device, torch.bfloat16, enabled=run.dtype.name == 'bfloat16'
    )
    nchw = lambda x: torch_networks.tensor(np.moveaxis(np.asarray(x), 3, 1)).to(
      device
    )
    self.lr, self.hr = nchw(batch.lr), nchw(batch.hr)
    self.generator = torch_networks.Generator(
      run.generator.blocks, run.generator.channels
    )
    torch_networks.load_generator(self.generator, state.generator.variables)
    networks = [self.generator]
    self.discriminator = self.features = None
    if self.is_gan:
      self.discriminator = torch_networks.Discriminator(
        run.discriminator.channels, run.config.crop_size, exact
      )
      torch_networks.load_discriminator(
        self.discriminator, state.discriminator.variables
      )
      networks.append(self.discriminator)
    if stage.content.perceptual is not None:
      self.features = torch_networks.Features(
        stage.content.perceptual, stage.content.layer
      )
      networks.append(self.features)
    for network in networks:
      network.to(device)
      if variant != 'eager':
        network.to(memory_format=torch.channels_last)
    if variant != 'eager':
      self.lr, self.hr = (
        x.to(memory_format=torch.channels_last) for x in (self.lr, self.hr)
      )
    rate = float(stage.schedule(0))
    self.adams = [
      torch.optim.Adam(n.parameters(), rate, fused=device == 'cuda')
      for n in networks
      if n is not self.features
    ]
    self.step: Callable[[], dict[str, torch.Tensor]] = (
      self._gan_step if self.is_gan else self._pretrain_step
    )
    if variant in ('compile', 'graphs'):
      mode = 'reduce-overhead' if variant == 'graphs' else None
      self.generator.compile(mode=mode)
      for network in (self.discriminator, self.features):
        if network is not None:
          network.compile(mode=mode)

  def synchronize(self) -> None:
    """Waits for the device."""
    if self.device == 'cuda':
      torch.cuda.synchronize()

  def _content(self, sr: torch.Tensor) -> torch.Tensor:
    if self.features is None:
      return F.mse_loss(sr, self.hr)
    with torch.no_grad():
      target = self.features(self.hr)
    squares = (self.features(sr) - target).square()
    if self.objective.content_reduction == 'mean':
      content = squares.mean()
    else:
      content = squares.sum(1).mean()
    if self.objective.pixel_weight:
      content = content + self.objective.pixel_weight * F.mse_loss(sr, self.hr)
    return content

  def _tv(self, sr: torch.Tensor) -> torch.Tensor:
    rows = (sr[:, :, 1:] - sr[:, :, :-1]).abs().sum((1, 2, 3))
    columns = (sr[:, :, :, 1:] - sr[:, :, :, :-1]).abs().sum((1, 2, 3))
    return (rows + columns).mean()

  def _pretrain_step(self) -> dict[str, torch.Tensor]:
    with self.autocast:
      sr = self.generator(self.lr).float()
      loss = content = self._content(sr)
    if self.objective.tv_weight:
      loss = content + self.objective.tv_weight * self._tv(sr)
    self.adams[0].zero_grad(set_to_none=True)
    loss.backward()
    self.adams[0].step()
    return {'loss': loss.detach(), 'content': content.detach()}

  def _gan_step(self) -> dict[str, torch.Tensor]:
    with self.autocast:
      sr = self.generator(self.lr).float()
      self.discriminator.requires_grad_(True)
      real = self.discriminator(self.hr)
      fake = self.discriminator(sr.detach())
    d_loss = (F.softplus(-real) + F.softplus(fake)).mean()
    self.adams[1].zero_grad(set_to_none=True)
    d_loss.backward()
    self.adams[1].step()
    self.discriminator.requires_grad_(False)
    with self.autocast:
      logits = self.discriminator(sr)
      content = self._content(sr)
    adversarial = F.softplus(-logits).mean()
    loss = content + self.objective.adversarial_weight * adversarial
    self.adams[0].zero_grad(set_to_none=True)
    loss.backward()
    self.adams[0].step()
    return {
      'loss': loss.detach(),
      'content': content.detach(),
      'adversarial': adversarial.detach(),
      'discriminator_loss': d_loss.detach(),
    }


class Ours:
  """The other side: the compiled update of a training run."""

  def __init__(
    self, run: train.Run, stage: stages.Stage, state: Any, rows: Any
  ):
    self._update = update.make_update(
      stage,
      lambda pictures, rows: rows,
      run.mesh,
      scale=run.config.scale,
      precision=run.precision,
    )
    self._state = run.placement.place(jax.device_get(state))
    self._rows = sharding.shard_batches([rows], run.mesh)
    self._perceptual = stage.content.perceptual
    if self._perceptual is not None:
      self._perceptual = sharding.replicate(self._perceptual, run.mesh)
    self._metrics = None

  def step(self) -> dict[str, float]:
    self._state, self._metrics = self._update(
      self._state, self._rows, None, self._perceptual
    )
    return self._metrics

  def synchronize(self) -> None:
    """Waits for the device."""
    jax.block_until_ready(self._metrics)


def compare(ours: Ours, theirs: Trainer) -> dict[str, float]:
  """The largest relative difference of each loss over two updates.

  Raises:
    ValueError: where it is more than rounding.
  """
  differences: dict[str, float] = {}
  for _ in range(2):
    metrics, losses = ours.step(), theirs.step()
    for name, value in losses.items():
      mine, other = float(metrics[name][0]), float(value)
      difference = abs(mine - other) / abs(other)
      differences[name] = max(differences.get(name, 0.0), difference)
  if max(differences.values()) > _TOLERANCE:
    raise ValueError(f'the two sides differ: {differences}')
  return differences


def time_in_turns(
  sides: dict[str, Any], rounds: int, calls: int
) -> dict[str, list[float]]:
  """Milliseconds an update of each side, a figure a round."""
  for side in sides.values():  # compiles and warms up
    for _ in range(3):
      side.step()
    side.synchronize()
  result: dict[str, list[float]] = {name: [] for name in sides}
  for _ in range(rounds):
    for name, side in sides.items():
      start = time.perf_counter()
      for _ in range(calls):
        side.step()
      side.synchronize()
      result[name].append(1e3 * (time.perf_counter() - start) / calls)
  return result


def main(arguments: Sequence[str]) -> None:
  """The command."""
  del arguments
  config = _CONFIG.value
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  stand_ins.use_photos(config)
  rng = np.random.default_rng(0)
  side = config.crop_size + 16  # with the context
  rows = {
    'crop': rng.integers(0, 256, (config.batch_size, side, side, 3), np.uint8),
    'symmetry': np.zeros(config.batch_size, np.int32),
  }
  batch = jax.device_get(
    make_batch(rows['crop'], rows['symmetry'], config.scale)
  )
  facts = {
    'device': jax.devices()[0].device_kind,
    'jax': jax.__version__,
    'torch': torch.__version__,
    'threads': torch.get_num_threads(),
    'batch_size': config.batch_size,
  }
  print(', '.join(f'{name} {value}' for name, value in facts.items()))
  results = []
  with tempfile.TemporaryDirectory() as scratch:
    folder = pathlib.Path(scratch)
    stand_ins.use_random_vgg(config, folder)
    precision = config.precision
    for name in _STAGES.value:
      config.precision = 'float32'
      exact = train.Run(config, folder / f'{name}_exact')
      stage = next((s for s in exact.stages if s.name == name), None)
      if stage is None:
        continue
      state = exact.create_state(stage, exact.initial)
      reference = Trainer(
        exact, stage, state, batch, variant='eager', device=device, exact=True
      )
      differences = compare(Ours(exact, stage, state, rows), reference)
      config.precision = precision
      run = train.Run(config, folder / name)
      stage = next(s for s in run.stages if s.name == name)
      sides = {'ours': Ours(run, stage, state, rows)} | {
        variant: Trainer(
          run, stage, state, batch, variant=variant, device=device
        )
        for variant in _VARIANTS.value
      }
      times = time_in_turns(sides, _ROUNDS.value, _CALLS.value)
      medians = {key: float(np.median(value)) for key, value in times.items()}
      best = min(value for key, value in medians.items() if key != 'ours')
      results.append(
        {
          'stage': name,
          'precision': run.dtype.name,
          'differences': differences,
          'median_ms': medians,
          'rounds_ms': times,
          'speedup_over_best': best / medians['ours'],
        }
      )
      print(
        f'{name}, {run.dtype.name}: '
        + ', '.join(f'{key} {value:.2f} ms' for key, value in medians.items())
        + f'; ours {best / medians["ours"]:.2f} times the best PyTorch; '
        f'losses differ by {max(differences.values()):.1e}',
        flush=True,
      )
  if _JSON.value:
    text = json.dumps({**facts, 'results': results}, indent=2) + '\n'
    files.write_text(_JSON.value, text)


if __name__ == '__main__':
  app.run(main)
