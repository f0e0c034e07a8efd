"""Times the training step.

  python tools/benchmark.py --config=configs/vgg54.py [--json=FILE]
    [--stage=pretrain,gan] [--input=synthetic,resident,tfdata]
    [--precision=float32,bfloat16] [--calls=50] [--config.FIELD=VALUE ...]

Every combination is compiled and run: a line each, and in JSON an entry of
`results` each. The figures of the last stage with the first input and precision
also stand at the top.
Synthetic input is one batch that lies on the device already; the other inputs
are the loaders of a training run, on the photos that the package ships unless
--config.data.source names others. Where --config.perceptual.weights is no
file, a VGG19 with random weights takes as long. --config.steps_per_call puts
several steps into one call of the program.

  step_ms              time of a step: the median and the 95th percentile over
                       the calls, each the time between two calls' ends
  images_per_s         HR crops a second, over all devices
  flops_per_step       of all devices, as XLA counts the accelerators' program
                       before it is optimised, whatever a CPU saves of them
  fraction_of_peak     of what the devices' maker promises at that precision
  input_wait_fraction  of the time, the part spent waiting for the loader
  peak_memory_bytes    of one device, as the compiled program plans it, with
                       the state and resident pictures
"""

from collections.abc import Sequence
import itertools
import re
import time
from typing import Any

import jax
from jax.sharding import Mesh
import numpy as np

from srgan_jax import files, sharding
from srgan_jax.data.loader import Loader
from srgan_jax.speed import ahead, stand_ins
from srgan_jax.speed.timed_calls import Synthetic, TimedCalls
from srgan_jax.training import stages
from srgan_jax.training.config_files import ConfigDict
from srgan_jax.training.inputs import Inputs
from srgan_jax.training.setup import Setup

# Dense FLOP/s of one device, from the makers' data sheets: bfloat16, and what
# float32 of the highest precision runs at. Whole words of a device's kind,
# matched in this order.
_PEAKS = {
  'H200 NVL': (835e12, 60e12),
  'H200': (989e12, 67e12),
  'H100 NVL': (835e12, 60e12),
  'H100 PCIe': (756e12, 51e12),
  'H100': (989e12, 67e12),
  'GH200': (989e12, 67e12),
  'A100': (312e12, 19.5e12),
  'L40S': (362e12, 91.6e12),
  'L40': (181e12, 90.5e12),
  'L4': (121e12, 30e12),
  'V100': (None, 15.7e12),
  'TPU v6 lite': (918e12, None),
  'TPU v5 lite': (197e12, None),
  'TPU v5': (459e12, None),  # v5p
  'TPU v4': (275e12, None),
}

INPUTS = ('synthetic', 'resident', 'tfdata')
PRECISIONS = ('float32', 'bfloat16')


def measure(
  setup: Setup,
  stage: stages.Stage,
  loader: Loader,
  *,
  calls: int,
) -> dict[str, Any]:
  """Times one stage with one loader: the figures that the module names."""
  timed = TimedCalls(setup, stage, loader)
  start = time.perf_counter()
  compiled = timed.compile()
  compile_s = time.perf_counter() - start
  timed.warm_up()
  ends = timed.make(calls + 1)
  waited = timed.waited
  plan = compiled.memory_analysis()
  seconds = np.diff(ends) / timed.updates
  flops = flops_per_step(setup, stage)
  peak = peak_flops(setup.mesh.devices.flat[0].device_kind, setup.precision)
  fraction = None
  if flops and peak:
    fraction = flops / float(np.median(seconds)) / (peak * setup.mesh.size)
  return {
    'compile_s': compile_s,
    'step_ms': {
      'median': 1e3 * float(np.median(seconds)),
      'p95': 1e3 * float(np.percentile(seconds, 95)),
    },
    'images_per_s': setup.config.batch_size / float(np.mean(seconds)),
    'flops_per_step': flops,
    'fraction_of_peak': fraction,
    'input_wait_fraction': min(1.0, waited / (ends[-1] - ends[0])),
    'peak_memory_bytes': plan and ahead.peak_bytes(plan),
  }


def flops_per_step(setup: Setup, stage: stages.Stage) -> float | None:
  """What a step of the whole batch computes, on any devices.

  Of the program for accelerators, as a CPU's has fewer products
  (`convolutions.conv`), but counted for one CPU device: plugins of accelerators
  count only what they have compiled. None where JAX was told to leave CPUs out.
  """
  try:
    mesh = Mesh(jax.local_devices(backend='cpu')[:1], (sharding.AXIS,))
  except RuntimeError:
    return None
  state = jax.eval_shape(lambda: setup.create_state(stage, setup.initial))
  rows = stand_ins.abstract_crops(setup.config)
  arguments = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      np.shape(x), x.dtype, sharding=sharding.replicated(mesh)
    ),
    (state, rows, np.zeros(1, np.float32), None, stage.content.perceptual),
  )
  traced = stand_ins.make_update(setup, stage, mesh).trace(*arguments)
  lowered = traced.lower(lowering_platforms=('tpu',))
  return (lowered.cost_analysis() or {}).get('flops')


def peak_flops(kind: str, precision: str) -> float | None:
  """FLOP/s that a device promises, by JAX's name of it, where that is known."""
  for name, (bfloat16, float32) in _PEAKS.items():
    if re.search(rf'\b{name}\b', kind, re.IGNORECASE):
      return float32 if precision == 'highest' else bfloat16
  return None


def _row(record: dict[str, Any]) -> str:
  figures = record['figures']
  fraction = figures['fraction_of_peak']
  memory = figures['peak_memory_bytes']
  flops = figures['flops_per_step']
  return (
    f'{record["stage"]:8} {record["input"]:9} {record["precision"]:8} '
    f'{figures["compile_s"]:9.1f} {figures["step_ms"]["median"]:10.3f} '
    f'{figures["step_ms"]["p95"]:10.3f} {figures["images_per_s"]:10.1f} '
    f'{flops / 1e9 if flops else float("nan"):10.1f} '
    f'{f"{fraction:.1%}" if fraction else "-":>7} '
    f'{figures["input_wait_fraction"]:7.1%} '
    f'{memory / 2**20 if memory else float("nan"):8.0f}'
  )


def _open_loader(setup: Setup, kind: str) -> Loader:
  if kind == 'synthetic':
    return Synthetic(setup.config)
  config = setup.config.copy_and_resolve_references()
  config.data.loader = kind
  return Inputs(config, setup.mesh).loader


def report(
  config: ConfigDict,
  *,
  stage_names: Sequence[str] = stages.NAMES,
  inputs: Sequence[str] = ('synthetic',),
  precisions: Sequence[str] | None = None,
  calls: int = 20,
  json_file: str | None = None,
) -> None:
  """Times every combination; prints its figures and keeps them in a file.

  The config is changed; where no precisions are given it is the config's.

  Raises:
    ValueError: one line: a wrong value, or no stage of those names.
    OSError: where a file cannot be read or written.
    ImportError: where an input takes a package that is not installed.
  """
  stand_ins.use_photos(config)
  perceptual = stand_ins.random_vgg(config)
  weights = config.perceptual.weights if perceptual is None else 'VGG19, random'
  facts = stand_ins.facts(config) | {'perceptual': weights}
  print(', '.join(f'{name} {value}' for name, value in facts.items()))
  print(
    f'{"stage":8} {"input":9} {"type":8} {"compile s":>9} {"median ms":>10} '
    f'{"p95 ms":>10} {"images/s":>10} {"GFLOP":>10} {"peak":>7} {"wait":>7} '
    f'{"MiB":>8}'
  )
  results: list[dict[str, Any]] = []
  for precision, name, kind in itertools.product(
    precisions or [config.precision], stage_names, inputs
  ):
    config.precision = precision
    setup = loader = None  # frees the pictures before the next are placed
    setup = Setup(config, perceptual)
    if name not in (stage.name for stage in setup.stages):
      continue  # a config with one stage
    stage, loader = setup.stage(name), _open_loader(setup, kind)
    figures = measure(setup, stage, loader, calls=calls)
    record = {'stage': name, 'input': kind, 'precision': setup.dtype.name}
    results.append(record | {'figures': figures})
    print(_row(results[-1]), flush=True)
    if json_file:  # now: a later one may fail
      # The last stage stands for the config, with the first input asked for.
      first = next(each for each in results if each['stage'] == name)
      whole = {**facts, **first['figures'], 'results': results}
      files.write_json(json_file, whole)
  if not results:
    raise ValueError(f'the config has no {" or ".join(stage_names)} stage')
