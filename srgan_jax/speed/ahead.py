"""Compiles a config's step for accelerators that are only described.

XLA's compilers for TPUs and GPUs need neither: `speed.tpu` and `speed.gpu` say
what they make of the step.
"""

from collections.abc import Sequence
import dataclasses
import pathlib
import tempfile
import time
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np

from srgan_jax import sharding
from srgan_jax.data import draw, opening, resident
from srgan_jax.data.loader import Cut, come_cut
from srgan_jax.speed import stand_ins
from srgan_jax.training import stages
from srgan_jax.training.config_files import ConfigDict
from srgan_jax.training.setup import Setup

LOADERS = ('synthetic', 'resident')


@dataclasses.dataclass(frozen=True)
class Program:
  """A compiled program.

  Attributes:
    text: XLA's, optimised.
    launches: XLA's text of what a GPU launches; '' for other devices.
    steps: training steps in a call.
    compile_s: seconds.
    memory: what `jax.stages.Compiled.memory_analysis` gives, of a device.
    cost: what XLA counts ('flops', 'bytes accessed'), if it does.
  """

  text: str
  launches: str
  steps: int
  compile_s: float
  memory: Any
  cost: dict[str, float]


def describe(name: str, hint: str, platform: str, **options: Any) -> list[Any]:
  """The devices of a topology, which nobody needs to have.

  Raises:
    ValueError: one line with the name and the hint, where the platform's plugin
      does not know it or is not installed.
  """
  try:
    return list(
      topologies.get_topology_desc(platform=platform, **options).devices
    )
  except Exception as error:  # the plugin's, of any kind
    text = (str(error) or type(error).__name__).splitlines()[0]
    raise ValueError(f'{name}: {text} ({hint})') from error


def compile_stage(
  config: ConfigDict,
  devices: Sequence[Any],
  *,
  batch_per_device: int,
  stage_name: str | None,
  loader: str = 'synthetic',
  steps: int = 1,
) -> tuple[Setup, stages.Stage, Program]:
  """Compiles a call of a stage's program, of some steps, for described devices.

  Without a name it is the config's last stage. With the loader 'synthetic'
  crops come cut; with 'resident' the program cuts them from as many pictures as
  the config's source has, or the package. The config is changed: its batch, and
  its precision, which is bfloat16 where it was 'auto'.

  Raises:
    ValueError: one line: a wrong config, or no such stage.
  """
  config.batch_size = batch_per_device * len(devices)
  if config.precision == 'auto':
    config.precision = 'bfloat16'
  setup = Setup(config, stand_ins.random_vgg(config))
  stage = setup.stage(stage_name) if stage_name else setup.stages[-1]
  mesh = Mesh(np.asarray(devices), (sharding.AXIS,))
  everywhere = PartitionSpec()

  def place(x: Any, spec: PartitionSpec = everywhere) -> Any:
    placed = NamedSharding(mesh, spec)
    return jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=placed)

  state = jax.eval_shape(lambda: setup.create_state(stage, setup.initial))
  specs = jax.tree.map(lambda x: everywhere, state)
  batch_norm = setup.config.batch_norm
  if batch_norm == 'per_device':
    specs = sharding.state_specs(state)
    state = jax.eval_shape(lambda x: sharding.spread(x, mesh.size), state)
  rows, pictures, cut = _abstract_input(setup.config, loader, steps)
  step = stand_ins.make_update(setup, stage, mesh, batch_norm, cut)
  split = PartitionSpec(None, sharding.AXIS)
  lowered = step.lower(
    jax.tree.map(place, state, specs),
    jax.tree.map(lambda x: place(x, split), rows),
    place(np.zeros(steps, np.float32)),
    *jax.tree.map(place, (pictures, stage.content.perceptual)),
  )
  start = time.perf_counter()
  compiled, launches = _compile(lowered, mesh.devices.flat[0].platform)
  program = Program(
    text=compiled.as_text(),
    launches=launches,
    steps=steps,
    compile_s=time.perf_counter() - start,
    memory=compiled.memory_analysis(),
    cost=compiled.cost_analysis() or {},
  )
  return setup, stage, program


def _compile(lowered: Any, platform: str) -> tuple[Any, str]:
  """The program, and XLA's text of its launches, which only GPUs have."""
  if platform != 'gpu':
    return lowered.compile(), ''
  with tempfile.TemporaryDirectory() as folder:
    options = {'xla_dump_to': folder, 'xla_dump_hlo_as_text': True}
    compiled = lowered.compile(compiler_options=options)
    files = pathlib.Path(folder).glob('*thunk_sequence_after_thunk_passes.txt')
    return compiled, ''.join(file.read_text() for file in files)


def peak_bytes(memory: Any) -> int:
  """The most that a program takes of a device, by its `memory_analysis`."""
  return int(
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    + memory.temp_size_in_bytes
    - memory.alias_size_in_bytes
  )


def _abstract_input(
  config: ConfigDict, loader: str, steps: int
) -> tuple[Any, Any, Cut]:
  """The shapes of rows and of pictures, and what cuts crops from them."""
  if loader == 'synthetic':
    crops = stand_ins.abstract_crops(config, steps)
    return crops, None, come_cut
  stand_ins.use_photos(config)
  source = opening.open_source(config.data.source, min_size=config.crop_size)

  def cut(pictures: Any, rows: Any) -> dict[str, Any]:
    crop = resident.cut(pictures, rows, crop_size=config.crop_size)
    return {'crop': crop, 'symmetry': rows.symmetry}

  field: Any = jax.ShapeDtypeStruct((steps, config.batch_size), np.int32)
  rows = draw.Draw(field, field, field, field)
  return rows, resident.abstract_pictures(source.sizes), cut
