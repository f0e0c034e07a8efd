"""Compiles the real training step for a TPU slice, without a TPU.

  pip install libtpu
  python tools/compile_tpu.py --config=configs/vgg54.py --topology=v5e:2x4 \
    [--stage=gan] [--batch_per_chip=16] [--json=FILE] [--config.FIELD=VALUE ...]

XLA's own TPU compiler, which is in libtpu, says whether the step fits and what
it costs; nothing is run. The global batch is `batch_per_chip` times the chips.
The program is one step on crops that come cut: neither resident pictures nor
--config.steps_per_call are in it.

  flops                   of a step, as XLA counts the optimised program, a chip
  bytes                   that a step moves to and from a chip's memory
  per_chip_memory_bytes   arguments, results and temporaries at their peak
  all_reduces             a step, and all_reduce_bytes what they carry
  roofline_ms             the least time of a step: arithmetic or memory,
                          whichever is longer, and the all-reduces on top
  efficiency              of scaling: roofline_ms without the all-reduces, by
                          roofline_ms with them

The rooflines come from the makers' data sheets (docs/performance.md). They are
estimates: what is measured is the compiler's output.
"""

from collections.abc import Sequence
import json
import os
import re
import time
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict
import numpy as np

from srgan_jax import files, sharding
from srgan_jax.speed import stand_ins
from srgan_jax.training import stages
from srgan_jax.training.setup import Setup

# FLOP/s in bfloat16, bytes/s of memory, and bytes/s in and out of a chip over
# all its links, by the kind that libtpu names: cloud.google.com/tpu/docs.
_CHIPS = {
  'TPU v5 lite': (197e12, 819e9, 200e9),
  'TPU v5': (459e12, 2765e9, 600e9),
  'TPU v6 lite': (918e12, 1640e9, 448e9),
  'TPU v4': (137.5e12, 614e9, 150e9),  # one of a chip's two cores
}


def describe(topology: str) -> list[Any]:
  """The devices of a slice.

  Raises:
    ValueError: one line, where libtpu does not know it or is not installed.
  """
  extra = {}
  if topology.endswith(':1x1'):
    extra['chips_per_host_bounds'] = [1, 1, 1]
  try:
    return list(
      topologies.get_topology_desc(
        platform='tpu', topology_name=topology, **extra
      ).devices
    )
  except Exception as error:  # libtpu's, of any kind
    text = str(error).splitlines()[0]
    if 'not installed' in text:
      text = "the compiler is libtpu's: pip install libtpu"
    raise ValueError(f'{topology}: {text}') from error


def compile_step(
  setup: Setup, stage: stages.Stage, devices: Sequence[Any]
) -> dict[str, Any]:
  """Compiles a stage's step for devices that are only described.

  Args:
    setup: networks and config; its batch is the global one.
    stage: of the setup.
    devices: of a topology.

  Returns:
    The figures that the module's docstring names, and 'compile_s'.
  """
  config = setup.config
  mesh = Mesh(np.asarray(devices), (sharding.AXIS,))
  lowered = _lower(setup, stage, mesh)
  start = time.perf_counter()
  compiled: Any = lowered.compile()
  compile_s = time.perf_counter() - start
  cost, plan = compiled.cost_analysis(), compiled.memory_analysis()
  sizes = all_reduce_bytes(compiled.as_text())
  figures = {
    'stage': stage.name,
    'chips': mesh.size,
    'device': devices[0].device_kind,
    'batch_size': config.batch_size,
    'batch_norm': config.batch_norm,
    'compile_s': compile_s,
    'flops': cost['flops'],
    'bytes': cost['bytes accessed'],
    'per_chip_memory_bytes': (
      plan.argument_size_in_bytes
      + plan.output_size_in_bytes
      + plan.temp_size_in_bytes
      - plan.alias_size_in_bytes
    ),
    'all_reduces': len(sizes),
    'all_reduce_bytes': sum(sizes),
  }
  return figures | roofline(figures)


def _lower(setup: Setup, stage: stages.Stage, mesh: Mesh) -> jax.stages.Lowered:
  """The step on arguments of which only the shapes are known."""
  config = setup.config

  def place(x: Any, spec: PartitionSpec) -> Any:
    placed = NamedSharding(mesh, spec)
    return jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=placed)

  state = jax.eval_shape(lambda: setup.create_state(stage, setup.initial))
  specs = jax.tree.map(lambda x: PartitionSpec(), state)
  if config.batch_norm == 'per_device':
    specs = sharding.state_specs(state)
    state = jax.eval_shape(lambda x: sharding.spread(x, mesh.size), state)
  rows = jax.tree.map(
    lambda x: place(x, PartitionSpec(None, sharding.AXIS)),
    stand_ins.abstract_crops(config),
  )
  perceptual = jax.tree.map(
    lambda x: place(x, PartitionSpec()), stage.content.perceptual
  )
  step = stand_ins.make_update(setup, stage, mesh, config.batch_norm)
  return step.lower(
    jax.tree.map(place, state, specs),
    rows,
    place(np.zeros(1, np.float32), PartitionSpec()),
    None,
    perceptual,
  )


def roofline(figures: dict[str, Any]) -> dict[str, float | None]:
  """The least time of a step on such chips, in ms, and its efficiency."""
  if figures['device'] not in _CHIPS:
    return {'roofline_ms': None, 'efficiency': None}
  flops, memory, links = _CHIPS[figures['device']]
  alone = max(figures['flops'] / flops, figures['bytes'] / memory)
  chips = figures['chips']
  # A ring passes everything round twice, but for each chip's own part.
  talk = 2 * (chips - 1) / chips * figures['all_reduce_bytes'] / links
  return {
    'roofline_ms': 1e3 * (alone + talk),
    'efficiency': alone / (alone + talk),
  }


_BITS = {'f32': 32, 'bf16': 16, 'f16': 16, 's32': 32, 'u32': 32, 'u8': 8}


def all_reduce_bytes(text: str) -> list[int]:
  """The size of what each all-reduce of a compiled program carries."""
  sizes = []
  for line in text.splitlines():
    match = re.search(r'= (.*?) all-reduce(?:-start)?\(', line)
    if match:
      shapes = re.findall(r'(\w+)\[([\d,]*)\]', match[1])
      sizes.append(
        sum(
          _BITS.get(kind, 32)
          // 8
          * int(np.prod([int(n) for n in size.split(',') if n]))
          for kind, size in shapes
        )
      )
  return sizes


def report(
  config: ConfigDict,
  topology: str,
  *,
  stage_name: str | None = None,
  batch_per_chip: int = 16,
  json_file: str | None = None,
) -> None:
  """Compiles the step for a slice and prints the figures.

  Args:
    config: of the run; changed.
    topology: of the slice, e.g. 'v5e:2x4'.
    stage_name: 'pretrain' or 'gan'; None: the last stage.
    batch_per_chip: HR crops a chip.
    json_file: for the figures, or None.

  Raises:
    ValueError: one line: no such slice, or no such stage.
  """
  # No TPU is asked for its description, and none is used.
  os.environ['TPU_SKIP_MDS_QUERY'] = '1'
  jax.config.update('jax_platforms', 'cpu')
  devices = describe(topology)
  config.batch_size = batch_per_chip * len(devices)
  if config.precision == 'auto':
    config.precision = 'bfloat16'
  setup = Setup(config, stand_ins.random_vgg(config))
  stage = setup.stage(stage_name) if stage_name else setup.stages[-1]
  figures = compile_step(setup, stage, devices)
  figures = {'topology': topology, **figures}
  for name, value in figures.items():
    print(f'{name:22} {value}')
  if json_file:
    files.write_text(json_file, json.dumps(figures, indent=2) + '\n')
