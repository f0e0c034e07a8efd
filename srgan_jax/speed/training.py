"""Times the training step.

  python tools/benchmark.py --config=configs/vgg54.py [--json=FILE]
    [--stage=pretrain,gan] [--input=synthetic,resident,tfdata]
    [--precision=float32,bfloat16] [--calls=50] [--profile=DIR]
    [--config.FIELD=VALUE ...]

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

from collections.abc import Iterator, Sequence
import itertools
import json
import math
import os
import pathlib
import re
import tempfile
import time
from typing import Any, cast

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict
import numpy as np

from srgan_jax import files, sharding
from srgan_jax.data import tfdata
from srgan_jax.speed import stand_ins
from srgan_jax.training import optimizers, program, stages
from srgan_jax.training import run as run_lib

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
_TRACED = 4  # calls in a trace

STAGES = ('pretrain', 'gan')
INPUTS = ('synthetic', 'resident', 'tfdata')
PRECISIONS = ('float32', 'bfloat16')


class Synthetic:
  """A loader whose batch lies on the device."""

  pictures = None

  def __init__(self, config: Any):
    side = config.crop_size + 16  # with the context
    rng = np.random.default_rng(0)
    count = config.batch_size // jax.process_count()
    self._rows = {
      'crop': rng.integers(0, 256, (count, side, side, 3), np.uint8),
      'symmetry': rng.integers(0, 8, count, np.int32),
    }

  def batches(self, start_step: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """The same batch again and again."""
    del start_step
    return itertools.repeat(self._rows)

  def crops(self, pictures: None, rows: dict[str, Any]) -> dict[str, Any]:
    """The crops come cut."""
    del pictures
    return rows


def measure(
  run: run_lib.Run,
  stage: stages.Stage,
  loader: Any,
  *,
  calls: int,
  profile: pathlib.Path | None = None,
) -> dict[str, Any]:
  """Times one stage with one loader.

  Args:
    run: the networks, the mesh and the config.
    stage: what is timed.
    loader: where its batches come from.
    calls: how many are timed, after two that are not.
    profile: a folder for a trace of a few calls after those.

  Returns:
    The figures that the module's docstring names.
  """
  config, mesh = run.config, run.mesh
  update = program.make_update(
    stage,
    loader.crops,
    mesh,
    scale=config.scale,
    precision=run.precision,
    batch_norm=config.batch_norm,
  )
  step = cast(jax.stages.Wrapped, update)
  state = run.create_state(stage, run.initial)
  state = run.placement.place(jax.device_get(state))
  perceptual = stage.content.perceptual
  if perceptual is not None:
    perceptual = sharding.replicate(perceptual, mesh)
  batches = loader.batches()
  count = config.steps_per_call
  is_synthetic = isinstance(loader, Synthetic)

  waited = 0.0

  def take(how_many: int) -> Any:
    nonlocal waited
    start = time.perf_counter()
    taken = list(itertools.islice(batches, how_many))
    waited += time.perf_counter() - start
    return sharding.shard_batches(taken, mesh)

  rows = take(count)
  rates = optimizers.rates(stage.schedule, count)
  start = time.perf_counter()
  compiled = step.lower(
    state, rows, rates, loader.pictures, perceptual
  ).compile()
  compile_s = time.perf_counter() - start

  def make_calls(how_many: int) -> list[float]:
    """When each ended; one runs while the next is prepared, as in training."""
    nonlocal state, rows
    ends = []
    previous = None
    for _ in range(how_many):
      if not is_synthetic:
        rows = take(count)
      state, metrics = compiled(state, rows, rates, loader.pictures, perceptual)
      if previous is not None:
        jax.block_until_ready(previous)
        ends.append(time.perf_counter())
      previous = metrics
    jax.block_until_ready(previous)
    return [*ends, time.perf_counter()]

  make_calls(1 + _calls_read_ahead(loader, config))
  waited = 0.0
  ends = make_calls(calls + 1)
  if profile:
    profile.mkdir(parents=True, exist_ok=True)
    with jax.profiler.trace(str(profile)):
      make_calls(_TRACED)

  seconds = np.diff(ends) / count
  total = ends[-1] - ends[0]
  flops, peak = flops_per_step(run, stage), _peak(run)
  rate = flops / float(np.median(seconds)) if flops else None
  return {
    'compile_s': compile_s,
    'step_ms': {
      'median': 1e3 * float(np.median(seconds)),
      'p95': 1e3 * float(np.percentile(seconds, 95)),
    },
    'images_per_s': config.batch_size / float(np.mean(seconds)),
    'flops_per_step': flops,
    'fraction_of_peak': rate / peak if rate and peak else None,
    'input_wait_fraction': min(1.0, waited / total),
    'peak_memory_bytes': _planned_memory(compiled),
  }


def _calls_read_ahead(loader: Any, config: Any) -> int:
  """How many calls a loader may have ready when it is first asked."""
  if not isinstance(loader, tfdata.TfDataLoader):
    return 0
  rows = config.batch_size // jax.process_count()
  steps = tfdata.PREFETCH + 2 * (os.cpu_count() or 1) / rows
  return math.ceil(steps / config.steps_per_call)


def flops_per_step(run: run_lib.Run, stage: stages.Stage) -> float | None:
  """What a step of the whole batch computes, of whatever devices.

  Counted by one CPU device, as the plugins of accelerators cannot be asked for
  programs that they have not compiled, but of the program for accelerators: a
  CPU's has fewer products (`convolutions.conv`). None where JAX was told to
  leave CPUs out.
  """
  try:
    mesh = Mesh(jax.local_devices(backend='cpu')[:1], (sharding.AXIS,))
  except RuntimeError:
    return None
  whole = lambda x: jax.ShapeDtypeStruct(
    np.shape(x), x.dtype, sharding=sharding.replicated(mesh)
  )
  state = jax.eval_shape(lambda: run.create_state(stage, run.initial))
  rows = stand_ins.abstract_crops(run.config)
  step = stand_ins.make_update(run, stage, mesh)
  traced = step.trace(
    *jax.tree.map(
      whole,
      (state, rows, np.zeros(1, np.float32), None, stage.content.perceptual),
    )
  )
  lowered = traced.lower(lowering_platforms=('tpu',))
  return (lowered.cost_analysis() or {}).get('flops')


def peak_flops(kind: str, precision: str) -> float | None:
  """FLOP/s that a device promises, by JAX's name of it, where that is known."""
  for name, (bfloat16, float32) in _PEAKS.items():
    if re.search(rf'\b{name}\b', kind, re.IGNORECASE):
      return float32 if precision == 'highest' else bfloat16
  return None


def _peak(run: run_lib.Run) -> float | None:
  one = peak_flops(run.mesh.devices.flat[0].device_kind, run.precision)
  return one * run.mesh.size if one else None


def _planned_memory(compiled: jax.stages.Compiled) -> int | None:
  plan = compiled.memory_analysis()
  if plan is None:
    return None
  return int(
    plan.argument_size_in_bytes
    + plan.output_size_in_bytes
    + plan.temp_size_in_bytes
    - plan.alias_size_in_bytes
  )


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


def time_all(
  config: ConfigDict,
  folder: pathlib.Path,
  *,
  stage_names: Sequence[str],
  inputs: Sequence[str],
  precisions: Sequence[str] | None,
  calls: int,
  profile: str | None,
) -> Iterator[dict]:
  """Measures every combination asked for, and prints its row.

  Args:
    config: its precision and loader are changed.
    folder: for the runs' folders.
    stage_names: of `STAGES`.
    inputs: of `INPUTS`.
    precisions: of `PRECISIONS`; None for the config's.
    calls: see `measure`.
    profile: a folder for the traces' folders, or None for no traces.

  Yields:
    An entry of `results`.
  """
  wanted = itertools.product(
    precisions or [config.precision], stage_names, inputs
  )
  for i, (precision, name, kind) in enumerate(wanted):
    config.precision = precision
    config.data.loader = 'tfdata' if kind == 'tfdata' else 'resident'
    run = None  # and its pictures, before the next one's
    run = run_lib.Run(config, folder / str(i), opens_loader=kind != 'synthetic')
    stage = next((s for s in run.stages if s.name == name), None)
    if stage is None:
      continue  # a config with one stage
    record = {
      'stage': name,
      'input': kind,
      'precision': run.dtype.name,
      'figures': measure(
        run,
        stage,
        Synthetic(config) if kind == 'synthetic' else run.loader,
        calls=calls,
        profile=pathlib.Path(profile, f'{name}_{i}') if profile else None,
      ),
    }
    print(_row(record), flush=True)
    yield record


def report(
  config: ConfigDict,
  *,
  stage_names: Sequence[str] = STAGES,
  inputs: Sequence[str] = ('synthetic',),
  precisions: Sequence[str] | None = None,
  calls: int = 20,
  profile: str | None = None,
  json_file: str | None = None,
) -> None:
  """Prints the figures of every combination, and keeps them in a file.

  Args:
    config: of the run; changed.
    stage_names: see `time_all`, as are the next four.
    inputs: likewise.
    precisions: likewise.
    calls: likewise.
    profile: likewise.
    json_file: for the figures, or None.

  Raises:
    ValueError: one line: a wrong value, or no stage of those names.
    OSError: where a file cannot be read or written.
    ImportError: where an input takes a package that is not installed.
  """
  stand_ins.use_photos(config)
  device = jax.devices()[0]
  facts = {
    'device': device.device_kind,
    'devices': jax.device_count(),
    'platform': device.platform,
    'jax': jax.__version__,
    'batch_size': config.batch_size,
    'crop_size': config.crop_size,
    'steps_per_call': config.steps_per_call,
    'perceptual': config.perceptual.weights,
  }
  results: list[dict] = []
  with tempfile.TemporaryDirectory() as scratch:
    folder = pathlib.Path(scratch)
    if stand_ins.use_random_vgg(config, folder):
      facts['perceptual'] = 'VGG19, random'
    print(', '.join(f'{name} {value}' for name, value in facts.items()))
    print(
      f'{"stage":8} {"input":9} {"type":8} {"compile s":>9} {"median ms":>10} '
      f'{"p95 ms":>10} {"images/s":>10} {"GFLOP":>10} {"peak":>7} {"wait":>7} '
      f'{"MiB":>8}'
    )
    for record in time_all(
      config,
      folder,
      stage_names=stage_names,
      inputs=inputs,
      precisions=precisions,
      calls=calls,
      profile=profile,
    ):
      results.append(record)
      if json_file:  # now, lest a later one fails
        _write(facts, results, json_file)
  if not results:
    raise ValueError(f'the config has no {" or ".join(stage_names)} stage')


def _write(facts: dict, results: Sequence[dict], path: str) -> None:
  # The config's last stage stands for it, with the first input asked for.
  last = [r for r in results if r['stage'] == results[-1]['stage']]
  whole = facts | {**last[0]['figures'], 'results': results}
  files.write_text(path, json.dumps(whole, indent=2) + '\n')
