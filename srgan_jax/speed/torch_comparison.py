"""Times our training step and the same one in PyTorch, in turns.

  python tools/benchmark_torch.py --config=configs/vgg54.py
    [--stage=pretrain,gan] [--variants=eager,channels_last,compile,graphs]
    [--rounds=5] [--updates=20] [--json=FILE] [--config.FIELD=VALUE ...]

The same networks, weights, batch, losses and optimizers on both sides, and the
batch on the device from the beginning. In every round each side makes its
updates, one side after the other, so that a machine that slows down slows all
of them; ours makes --config.steps_per_call updates a call, as it trains. First
the two are compared, in float32 from the same weights: the losses of the first
update must be the same, those of the second are reported.

  eager          PyTorch as it is written, NCHW
  channels_last  the same with its memory NHWC
  compile        channels_last under torch.compile
  graphs         the whole update of that as one CUDA graph

On a GPU all variants compute in bfloat16 by autocast where ours does, else in
float32 without TF32; cuDNN tries its algorithms out, as XLA does, and Adam is
the fused one. PyTorch is not among this package's dependencies.
"""

from collections.abc import Sequence
import sys
import time
from typing import Any

import jax
import numpy as np
import torch

from srgan_jax import files
from srgan_jax.speed import stand_ins
from srgan_jax.speed.timed_calls import Synthetic, TimedCalls
from srgan_jax.speed.torch_sides import Trainer
from srgan_jax.training import stages
from srgan_jax.training.config_files import ConfigDict
from srgan_jax.training.setup import Setup

VARIANTS = ('eager', 'channels_last', 'compile', 'graphs')
# The largest relative difference of two losses: sums run in another order.
_TOLERANCE = 2e-3


def shared_device(variants: Sequence[str]) -> str:
  """The device of both sides, as PyTorch calls it: 'cuda' or 'cpu'.

  Raises:
    ValueError: one line, where they would not run on the same one, or it has no
      CUDA graphs and `variants` have.
  """
  backend = jax.default_backend()
  if backend == 'cpu':
    if 'graphs' in variants:
      raise ValueError('--variants=graphs takes an NVIDIA GPU')
    return 'cpu'
  if backend != 'gpu' or not torch.cuda.is_available():
    raise ValueError(
      f'JAX runs on a {backend} and this PyTorch does not; '
      'JAX_PLATFORMS=cpu compares them on the CPU'
    )
  if (count := jax.device_count()) > 1:
    raise ValueError(
      f'ours would take {count} GPUs and PyTorch one; '
      'CUDA_VISIBLE_DEVICES=0 gives both one'
    )
  return 'cuda'


def compare(ours: Any, theirs: Any) -> list[dict[str, float]]:
  """The relative differences of the losses in each of two updates.

  The second update's have no bound: Adam's first one is the sign of every
  gradient, also of one that is nearly 0. On CPU, with the paper's networks and
  4 crops of 64x64, the first differ by 3e-5 at most, the second by 6e-3.

  Raises:
    ValueError: where the first update's are more than rounding.
  """
  differences = []
  for _ in range(2):
    metrics, losses = ours.step(), theirs.step()
    each = {}
    for name, value in losses.items():
      mine, other = float(metrics[name][0]), float(value)
      each[name] = abs(mine - other) / (abs(other) or 1.0)
    differences.append(each)
  if not all(value <= _TOLERANCE for value in differences[0].values()):
    raise ValueError(f'the two sides differ: {differences[0]}')
  return differences


def warm_up(side: Any) -> None:
  """Compiles, and lets cuDNN choose."""
  for _ in range(3):
    side.step()
  side.synchronize()


def time_in_turns(
  sides: dict[str, Any], rounds: int, updates: int
) -> dict[str, list[float]]:
  """Milliseconds an update of each side, a figure a round."""
  result: dict[str, list[float]] = {name: [] for name in sides}
  for _ in range(rounds):
    for name, side in sides.items():
      calls = -(-updates // side.updates)
      start = time.perf_counter()
      for _ in range(calls):
        side.step()
      side.synchronize()
      seconds = time.perf_counter() - start
      result[name].append(1e3 * seconds / (calls * side.updates))
  return result


def time_stage(
  setup: Setup,
  stage: stages.Stage,
  loader: Synthetic,
  *,
  device: str,
  variants: Sequence[str],
  rounds: int,
  updates: int,
) -> dict[str, Any]:
  """Times both sides of a stage, in turns: an entry of `results`.

  A line to stderr names each variant that does not run.

  Raises:
    ValueError: one line: no variant of PyTorch runs.
  """
  sides: dict[str, Any] = {'ours': TimedCalls(setup, stage, loader)}
  warm_up(sides['ours'])
  for variant in variants:
    try:
      side = Trainer(setup, stage, loader.rows, variant=variant, device=device)
      warm_up(side)
    except Exception as error:  # of PyTorch, its compiler or CUDA: any
      reason = str(error).strip().partition('\n')[0]
      print(
        f'benchmark_torch: {stage.name} without {variant}: '
        f'{type(error).__name__}: {reason}',
        file=sys.stderr,
      )
    else:
      sides[variant] = side
  if len(sides) == 1:
    raise ValueError(f'{stage.name}: no variant of PyTorch is left')
  times = time_in_turns(sides, rounds, updates)
  medians = {name: float(np.median(value)) for name, value in times.items()}
  best = min(value for name, value in medians.items() if name != 'ours')
  return {
    'stage': stage.name,
    'precision': setup.dtype.name,
    'median_ms': medians,
    'rounds_ms': times,
    'speedup_over_best': best / medians['ours'],
  }


def _row(record: dict[str, Any]) -> str:
  first, second = (max(each.values()) for each in record['differences'])
  return (
    f'{record["stage"]}, {record["precision"]}: '
    + ', '.join(f'{key} {ms:.2f} ms' for key, ms in record['median_ms'].items())
    + f'; ours {record["speedup_over_best"]:.2f} times the best PyTorch; '
    f'losses differ by {first:.1e}, in the second update by {second:.1e}'
  )


def report(
  config: ConfigDict,
  *,
  stage_names: Sequence[str] = stages.NAMES,
  variants: Sequence[str] = ('eager', 'channels_last'),
  rounds: int = 5,
  updates: int = 20,
  json_file: str | None = None,
) -> None:
  """Compares and times every stage asked for; writes the figures after each.

  The config is the run's, and changed; the rest is the command's.

  Raises:
    ValueError: one line; see `shared_device`, `compare` and `time_stage`.
    OSError: where the figures cannot be written.
  """
  device = shared_device(variants)
  torch.backends.cudnn.allow_tf32 = False
  torch.backends.cudnn.benchmark = True
  perceptual = stand_ins.random_vgg(config)
  setup = Setup(config, perceptual)
  facts = stand_ins.facts(config) | {
    'precision': setup.dtype.name,
    'torch': torch.__version__,
    'cudnn': torch.backends.cudnn.version(),
    'cudnn_benchmark': torch.backends.cudnn.benchmark,
    'cudnn_tf32': torch.backends.cudnn.allow_tf32,
    'threads': torch.get_num_threads(),
  }
  print(', '.join(f'{name} {value}' for name, value in facts.items()))
  config.precision, config.steps_per_call = 'float32', 1
  exact = Setup(config, perceptual)
  loader = Synthetic(config)
  results = []
  for stage in exact.stages:
    if stage.name not in stage_names:
      continue
    differences = compare(
      TimedCalls(exact, stage, loader),
      Trainer(
        exact, stage, loader.rows, variant='eager', device=device, exact=True
      ),
    )
    record = time_stage(
      setup,
      setup.stage(stage.name),
      loader,
      device=device,
      variants=variants,
      rounds=rounds,
      updates=updates,
    )
    record['differences'] = differences
    print(_row(record), flush=True)
    results.append(record)
    if json_file:  # now: the next one may fail
      files.write_json(json_file, {**facts, 'results': results})
  if not results:
    raise ValueError(f'the config has no {" or ".join(stage_names)} stage')
