"""Times our training step beside the same one in PyTorch, in turns.

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

from collections.abc import Callable, Sequence
import sys
import time
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np
import torch

from srgan_jax import files
from srgan_jax.data.batch import make_batch
from srgan_jax.speed import stand_ins, torch_sides
from srgan_jax.speed.timed_calls import Synthetic
from srgan_jax.training.setup import Setup

VARIANTS = ('eager', 'channels_last', 'compile', 'graphs')


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


def build(
  variants: Sequence[str],
  make: Callable[[str], torch_sides.Trainer],
  stage: str,
) -> dict[str, torch_sides.Trainer]:
  """The variants that run; of the others a line each goes to stderr."""
  result = {}
  for variant in variants:
    try:
      side = make(variant)
      warm_up(side)
    except Exception as error:  # of PyTorch, its compiler or CUDA: any
      reason = str(error).strip().partition('\n')[0]
      print(
        f'benchmark_torch: {stage} without {variant}: '
        f'{type(error).__name__}: {reason}',
        file=sys.stderr,
      )
    else:
      result[variant] = side
  return result


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
  exact: Setup,
  setup: Setup,
  index: int,
  rows: dict[str, Any],
  *,
  device: str,
  variants: Sequence[str],
  rounds: int,
  updates: int,
) -> dict[str, Any]:
  """Compares the two sides, then times them: an entry of `results`.

  Args, beside the command's:
    exact: the setup in float32, for the comparison.
    setup: what is timed.
    index: of the stage among theirs.
    rows: crops and symmetries, as `make_batch` takes them.

  Raises:
    ValueError: one line: the sides differ, or no variant of PyTorch runs.
  """
  batch = jax.device_get(make_batch(**rows))
  stage = exact.stages[index]
  state = exact.create_state(stage, exact.initial)
  differences = torch_sides.compare(
    torch_sides.Ours(exact, stage, rows),
    torch_sides.Trainer(
      exact, stage, state, batch, variant='eager', device=device, exact=True
    ),
  )
  stage = setup.stages[index]
  ours = torch_sides.Ours(setup, stage, rows)
  warm_up(ours)
  theirs = build(
    variants,
    lambda variant: torch_sides.Trainer(
      setup, stage, state, batch, variant=variant, device=device
    ),
    stage.name,
  )
  if not theirs:
    raise ValueError(f'{stage.name}: no variant of PyTorch is left')
  times = time_in_turns({'ours': ours, **theirs}, rounds, updates)
  medians = {name: float(np.median(value)) for name, value in times.items()}
  return {
    'stage': stage.name,
    'precision': setup.dtype.name,
    'differences': differences,
    'median_ms': medians,
    'rounds_ms': times,
    'speedup_over_best': min(medians[n] for n in theirs) / medians['ours'],
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
  stage_names: Sequence[str] = ('pretrain', 'gan'),
  variants: Sequence[str] = ('eager', 'channels_last'),
  rounds: int = 5,
  updates: int = 20,
  json_file: str | None = None,
) -> None:
  """Times every stage asked for; writes the figures after each.

  The config is the run's, and changed; the rest is the command's.

  Raises:
    ValueError: one line; see `time_stage`.
    OSError: likewise.
  """
  device = shared_device(variants)
  torch.backends.cudnn.allow_tf32 = False
  torch.backends.cudnn.benchmark = True
  perceptual = stand_ins.random_vgg(config)
  setup = Setup(config, perceptual)
  config.precision, config.steps_per_call = 'float32', 1
  exact = Setup(config, perceptual)
  facts = _facts(setup)
  print(', '.join(f'{name} {value}' for name, value in facts.items()))
  rows = next(Synthetic(config).batches())
  results = []
  for index, stage in enumerate(setup.stages):
    if stage.name not in stage_names:
      continue
    record = time_stage(
      exact,
      setup,
      index,
      rows,
      device=device,
      variants=variants,
      rounds=rounds,
      updates=updates,
    )
    print(_row(record), flush=True)
    results.append(record)
    if json_file:  # now, lest the next one fails
      files.write_json(json_file, {**facts, 'results': results})
  if not results:
    raise ValueError(f'the config has no {" or ".join(stage_names)} stage')


def _facts(setup: Setup) -> dict[str, Any]:
  return {
    'device': jax.devices()[0].device_kind,
    'devices': jax.device_count(),
    'precision': setup.dtype.name,
    'jax': jax.__version__,
    'torch': torch.__version__,
    'cudnn': torch.backends.cudnn.version(),
    'cudnn_benchmark': torch.backends.cudnn.benchmark,
    'cudnn_tf32': torch.backends.cudnn.allow_tf32,
    'threads': torch.get_num_threads(),
    'batch_size': setup.config.batch_size,
    'steps_per_call': setup.config.steps_per_call,
    'crop_size': setup.config.crop_size,
  }
