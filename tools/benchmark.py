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
  flops_per_step       as XLA counts the program before it is optimised
  fraction_of_peak     of what the devices' maker promises at that precision
  input_wait_fraction  of the time, the part spent waiting for the loader
  peak_memory_bytes    of one device; on CPU what the compiled program plans
"""

from collections.abc import Iterator, Sequence
import contextlib
import itertools
import json
import pathlib
import tempfile
import time
from typing import Any

from absl import app, flags
import jax
from ml_collections import config_flags
import numpy as np
import stand_ins

from srgan_jax import files, sharding, stages, train, update

# Dense FLOP/s of one device, from the makers' data sheets: bfloat16, and what
# float32 of the highest precision runs at. Matched in this order.
_PEAKS = {
  'H200': (989e12, 67e12),
  'H100': (989e12, 67e12),
  'A100': (312e12, 19.5e12),
  'L4': (121e12, 30e12),
  'V100': (None, 15.7e12),
  'TPU v6': (918e12, None),
  'TPU v5p': (459e12, None),
  'TPU v5': (197e12, None),
  'TPU v4': (275e12, None),
}
_CONFIG = config_flags.DEFINE_config_file('config', None, 'A config file.')
_STAGES = flags.DEFINE_list('stage', ['pretrain', 'gan'], 'Of pretrain, gan.')
_INPUTS = flags.DEFINE_list(
  'input', ['synthetic'], 'Of synthetic, resident, tfdata.'
)
_PRECISIONS = flags.DEFINE_list(
  'precision', None, "Of float32, bfloat16; the config's by default."
)
_CALLS = flags.DEFINE_integer('calls', 20, 'Calls that are timed.', 1)
_JSON = flags.DEFINE_string('json', None, 'A file for the figures.')
_PROFILE = flags.DEFINE_string(
  'profile',
  None,
  'A folder for a trace of a few calls (TensorBoard, Perfetto).',
)
flags.mark_flag_as_required('config')


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
  run: train.Run,
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
    profile: a folder for a trace of the last calls.

  Returns:
    The figures that the module's docstring names.
  """
  config, mesh = run.config, run.mesh
  step = update.make_update(
    stage,
    loader.crops,
    mesh,
    scale=config.scale,
    precision=run.precision,
    batch_norm=config.batch_norm,
  )
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

  one = step.lower(state, take(1), loader.pictures, perceptual)
  flops = one.cost_analysis().get('flops')
  rows = take(count)
  start = time.perf_counter()
  compiled = step.lower(state, rows, loader.pictures, perceptual).compile()
  compile_s = time.perf_counter() - start

  ends = []
  previous = None
  with contextlib.ExitStack() as stack:
    for call in range(calls + 2):
      if call == 2:
        waited = 0.0
      if profile and call == max(2, calls - 3):
        profile.mkdir(parents=True, exist_ok=True)
        stack.enter_context(jax.profiler.trace(str(profile)))
      if not is_synthetic and call:
        rows = take(count)
      state, metrics = compiled(state, rows, loader.pictures, perceptual)
      # One call runs while the next is prepared, as in training.
      if previous is not None:
        jax.block_until_ready(previous)
        ends.append(time.perf_counter())
      previous = metrics
    jax.block_until_ready(previous)
    ends.append(time.perf_counter())

  seconds = np.diff(ends) / count
  total = ends[-1] - ends[0]
  peak = _peak(run)
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
    'peak_memory_bytes': _peak_memory(compiled),
  }


def _peak(run: train.Run) -> float | None:
  """FLOP/s that all devices together promise, where that is known."""
  device = run.mesh.devices.flat[0]
  for name, (bfloat16, float32) in _PEAKS.items():
    if name.lower() in device.device_kind.lower():
      one = float32 if run.precision == 'highest' else bfloat16
      return one * run.mesh.size if one else None
  return None


def _peak_memory(compiled: jax.stages.Compiled) -> int | None:
  stats = jax.local_devices()[0].memory_stats() or {}
  if 'peak_bytes_in_use' in stats:
    return int(stats['peak_bytes_in_use'])
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


def main(arguments: Sequence[str]) -> None:
  """The command."""
  del arguments
  config = _CONFIG.value
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
  results = []
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
    wanted = itertools.product(
      _PRECISIONS.value or [config.precision], _STAGES.value, _INPUTS.value
    )
    for i, (precision, name, kind) in enumerate(wanted):
      config.precision = precision
      config.data.loader = 'resident' if kind == 'resident' else 'tfdata'
      run = train.Run(config, folder / str(i))
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
          calls=_CALLS.value,
          profile=_PROFILE.value
          and pathlib.Path(_PROFILE.value, f'{name}_{i}'),
        ),
      }
      results.append(record)
      print(_row(record), flush=True)
  if _JSON.value:
    # The config's last stage stands for it, with the first input asked for.
    last = [r for r in results if r['stage'] == results[-1]['stage']]
    facts |= {**last[0]['figures'], 'results': results}
    files.write_text(_JSON.value, json.dumps(facts, indent=2) + '\n')


if __name__ == '__main__':
  app.run(main)
