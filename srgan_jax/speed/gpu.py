"""Compiles the real training program for an NVIDIA GPU, without one.

  pip install 'srgan_jax[train,cuda]'    # Linux; no driver is needed
  python tools/compile_gpu.py --config=configs/vgg54.py --target=h100 \
    [--stage=gan] [--batch_per_device=16] [--loader=resident] [--json=FILE] \
    [--table=docs/performance.md] [--config.FIELD=VALUE ...]

XLA's own GPU compiler says which kernels it makes of the step; nothing is run.
The program is the one that trains: --config.steps_per_call steps in a loop (20
where the config says 1), and with --loader=resident it cuts the crops.

  kernels           launched a step, a loop's as often as it runs; what comes
                    once a call counts by its share
  by_kind           the same by what they do, and by_layer by what made them
  in_graphs         of the kernels, those in CUDA graphs, and graphs how many
                    these are; XLA leaves convolutions out of them, unless
                    --xla_gpu_enable_command_buffer=+CONVOLUTION
  bytes             that a step's kernels read and write
  flops             of its convolutions and matrix products
  argument_bytes    what goes into the program: state, pictures, VGG
  temporary_bytes   what lies in between, at its peak
  conditionals      branches left for the device to choose: none is expected
  roofline_ms       the least time of a step: of each kernel, arithmetic or
                    memory, whichever is longer, and a launch
  launch_ms         the launches' part of it
  convolutions      cuDNN's, with types, shapes and layouts
  moves             transposes and copies, by the layer that asks for them

cuDNN and cuBLAS choose their algorithms where they run; one of theirs may be
several kernels there. The roofline takes the maker's figures and a launch of
2 us, what a kernel in a CUDA graph takes at least (docs/performance.md says how
it compares with what was measured).
"""

from collections.abc import Sequence
import pathlib
import re
from typing import Any

import jax

from srgan_jax import cli, files
from srgan_jax.speed import ahead, hlo
from srgan_jax.speed import training as training_speed
from srgan_jax.training.config_files import ConfigDict

# Names, bytes/s and bytes of memory, from the maker's data sheets.
TARGETS = {
  'h100': ('NVIDIA H100 80GB HBM3', 3.35e12, 85e9),
  'h200': ('NVIDIA H200', 4.8e12, 151e9),
}
LAUNCH_S = 2e-6
STEPS = 20  # in a call, where the config says 1
_TABLE = ('<!-- compile_gpu -->', '<!-- end -->')

# What XLA's compiler asks of a GPU of compute capability 9.0 with 132
# multiprocessors, whose registers and caches are the same in both.
_DESCRIPTION = """
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth:.0f}
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: {memory:.0f}
  shared_memory_per_block_optin: 232448
  cuda_compute_capability {{ major: 9 }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  driver_version: "13.0.0"
  runtime_version: "13.0.0"
  compile_time_toolkit_version: "13.0.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 12 }}
runtime_version {{ major: 13 }}
device_description_str: "{name}"
"""


def describe(target: str) -> list[Any]:
  """The one device of a kind, of `TARGETS`.

  Raises:
    ValueError: one line, where JAX has no CUDA plugin.
  """
  name, bandwidth, memory = TARGETS[target]
  description = _DESCRIPTION.format(
    name=name, bandwidth=bandwidth, memory=memory
  )
  return ahead.describe(
    target,
    cli.install('cuda'),
    'cuda',
    topology_name='',
    target_config=description,
    topology='1x1x1',
  )


def figures_of(
  program: ahead.Program, target: str, precision: str
) -> dict[str, Any]:
  """The figures that the module's docstring names.

  The program was compiled for the target, in the precision 'highest' (float32)
  or 'default'.
  """
  kernels = hlo.kernels(program.text, program.steps)
  launches = sum(kernel.count for kernel in kernels)
  in_graphs, graphs = hlo.in_graphs(program.launches, program.steps)
  name, bandwidth, _ = TARGETS[target]
  peak = training_speed.peak_flops(name, precision)
  assert peak is not None  # `TARGETS` are among them
  busy_s = sum(
    kernel.count * max(kernel.flops / peak, kernel.bytes / bandwidth)
    for kernel in kernels
  )
  return {
    'kernels': launches,
    'by_kind': hlo.tally(kernels, lambda kernel: kernel.kind),
    'by_layer': hlo.tally(kernels, lambda kernel: kernel.layer),
    'in_graphs': in_graphs,
    'graphs': graphs,
    'bytes': sum(kernel.count * kernel.bytes for kernel in kernels),
    'flops': sum(kernel.count * kernel.flops for kernel in kernels),
    'argument_bytes': program.memory.argument_size_in_bytes,
    'temporary_bytes': program.memory.temp_size_in_bytes,
    'conditionals': hlo.conditionals(program.text),
    'roofline_ms': 1e3 * (launches * LAUNCH_S + busy_s),
    'launch_ms': 1e3 * launches * LAUNCH_S,
    'convolutions': _list(kernels, ('convolution',)),
    'moves': _list(kernels, ('transpose', 'copy')),
  }


def _list(
  kernels: Sequence[hlo.Kernel], kinds: Sequence[str]
) -> list[dict[str, Any]]:
  """Kernels of some kinds; those of one layer, shape and layout together."""
  chosen = (kernel for kernel in kernels if kernel.kind in kinds)
  counts = hlo.tally(
    chosen,
    lambda kernel: (
      kernel.layer,
      kernel.target or kernel.kind,
      f'{", ".join(kernel.operands)} -> {kernel.result}',
    ),
  )
  return [
    {'count': count, 'layer': layer, 'what': what, 'shapes': shapes}
    for (layer, what, shapes), count in counts.items()
  ]


def report(
  config: ConfigDict,
  target: str,
  *,
  stage_name: str | None = None,
  batch_per_device: int = 16,
  loader: str = 'synthetic',
  json_file: str | None = None,
  table_file: str | None = None,
) -> None:
  """Compiles the program for a GPU and prints its figures.

  The config is the run's, and changed; the rest is the command's.

  Raises:
    ValueError: one line: no such target, no such stage, no plugin, or no table
      in the file.
  """
  if json_file and table_file:
    files.require_place(json_file, table_file)
  jax.config.update('jax_platforms', 'cpu')  # nothing asks for a driver
  devices = describe(target)
  if config.steps_per_call == 1:
    config.steps_per_call = STEPS
  setup, stage, program = ahead.compile_stage(
    config,
    devices,
    batch_per_device=batch_per_device,
    stage_name=stage_name,
    loader=loader,
    steps=config.steps_per_call,
  )
  figures = {
    'target': target,
    'device': devices[0].device_kind,
    'stage': stage.name,
    'label': stage.label,
    'batch_size': batch_per_device,
    'precision': setup.dtype.name,
    'steps_per_call': program.steps,
    'loader': loader,
    'compile_s': program.compile_s,
    **figures_of(program, target, setup.precision),
  }
  for line in lines(figures):
    print(line)
  if json_file:
    files.write_json(json_file, figures)
  if table_file:
    path = pathlib.Path(table_file)
    files.write_text(table_file, with_row(path.read_text(), figures))


def with_row(text: str, figures: dict[str, Any]) -> str:
  """A document in whose table the row of a program is these figures.

  The table lies between two comments; a row's first cells tell it apart.

  Raises:
    ValueError: where the document has no such table.
  """
  found = re.search(
    rf'(?<={_TABLE[0]}\n\n).*?(?=\n\n{_TABLE[1]})', text, re.DOTALL
  )
  if not found:
    raise ValueError(f'there is no table between {" and ".join(_TABLE)}')
  key = (
    f'| {figures["target"]} | {figures["label"]} | {figures["batch_size"]} '
    f'| {figures["loader"]}, {figures["steps_per_call"]} steps |'
  )
  kinds = figures['by_kind']
  memory = f'{figures["argument_bytes"] / 1e6:.0f} '
  memory += f'+ {figures["temporary_bytes"] / 1e6:.0f} MB'
  row = (
    f'{key} {figures["kernels"]:.0f} | {kinds.get("convolution", 0):.0f} '
    f'| {figures["in_graphs"]:.0f} '
    f'| {figures["bytes"] / 1e9:.2f} GB | {memory} '
    f'| {figures["roofline_ms"]:.2f} ms | {figures["launch_ms"]:.2f} ms |'
  )
  head, rule, *rows = found[0].splitlines()
  rows = sorted([*(r for r in rows if not r.startswith(key)), row])
  table = '\n'.join([head, rule, *rows])
  return text[: found.start()] + table + text[found.end() :]


def lines(figures: dict[str, Any]) -> list[str]:
  """The figures as they are printed."""
  text = []
  for name, value in figures.items():
    if isinstance(value, dict):
      text.append(f'{name}:')
      text += [f'{count:9.2f} {key}' for key, count in value.items()]
    elif isinstance(value, list):
      text.append(f'{name}:')
      text += [
        f'{row["count"]:9.2f} {row["layer"]}: {row["what"]} {row["shapes"]}'
        for row in value
      ]
    else:
      text.append(f'{name:16} {value}')
  return text
