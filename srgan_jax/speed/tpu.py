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
estimates; only the compiler's output is measured.
"""

import os
import re
from typing import Any

import jax

from srgan_jax import files
from srgan_jax.speed import ahead, hlo
from srgan_jax.training.config_files import ConfigDict

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
  return ahead.describe(
    topology, 'pip install libtpu', 'tpu', topology_name=topology, **extra
  )


def roofline(figures: dict[str, Any]) -> dict[str, float | None]:
  """The least time of a step on such chips, in ms, and its efficiency."""
  if figures['device'] not in _CHIPS:
    return {'roofline_ms': None, 'efficiency': None}
  flops, memory, links = _CHIPS[figures['device']]
  alone = max(figures['flops'] / flops, figures['bytes'] / memory)
  chips = figures['chips']
  # A ring passes all but each chip's own part round twice.
  talk = 2 * (chips - 1) / chips * figures['all_reduce_bytes'] / links
  return {
    'roofline_ms': 1e3 * (alone + talk),
    'efficiency': alone / (alone + talk),
  }


def all_reduce_bytes(text: str) -> list[int]:
  """The size of what each all-reduce of a compiled program carries."""
  pattern = r'= (.*?) all-reduce(?:-start)?\('
  return [hlo.size_of(carried) for carried in re.findall(pattern, text)]


def report(
  config: ConfigDict,
  topology: str,
  *,
  stage_name: str | None = None,
  batch_per_chip: int = 16,
  json_file: str | None = None,
) -> None:
  """Compiles the step for a slice and prints the figures.

  The config is the run's, and changed; the rest is the command's.

  Raises:
    ValueError: one line: no such slice, or no such stage.
  """
  # No TPU is asked for its description, and none is used.
  os.environ['TPU_SKIP_MDS_QUERY'] = '1'
  jax.config.update('jax_platforms', 'cpu')
  devices = describe(topology)
  setup, stage, program = ahead.compile_stage(
    config, devices, batch_per_device=batch_per_chip, stage_name=stage_name
  )
  sizes = all_reduce_bytes(program.text)
  figures = {
    'topology': topology,
    'stage': stage.name,
    'chips': len(devices),
    'device': devices[0].device_kind,
    'batch_size': setup.config.batch_size,
    'batch_norm': setup.config.batch_norm,
    'compile_s': program.compile_s,
    'flops': program.cost['flops'],
    'bytes': program.cost['bytes accessed'],
    'per_chip_memory_bytes': ahead.peak_bytes(program.memory),
    'all_reduces': len(sizes),
    'all_reduce_bytes': sum(sizes),
  }
  figures |= roofline(figures)
  for name, value in figures.items():
    print(f'{name:22} {value}')
  if json_file:
    files.write_json(json_file, figures)
