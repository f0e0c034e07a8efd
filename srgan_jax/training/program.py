"""The compiled program of a run: from a call's rows of data to a new state.

Crops, low resolution, both networks' updates and metrics are one XLA program;
nothing goes to the host in between.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
import numpy as np

from srgan_jax import sharding
from srgan_jax.data.batch import Batch, as_floats, make_pictures
from srgan_jax.data.loader import Cut
from srgan_jax.models import vgg
from srgan_jax.training import flat, stages
from srgan_jax.training import step as step_lib

# A state after some updates, and their metrics.
Advanced = tuple[step_lib.PretrainState, step_lib.Metrics]
Update = Callable[
  [
    step_lib.PretrainState,
    Any,
    np.ndarray,
    Any,
    vgg.PerceptualNetwork | None,
  ],
  Advanced,
]

# YNNPACK, XLA's default on CPU, makes reductions several times faster, but
# Eigen's convolutions are faster at this step's (docs/performance.md).
_COMPILER_OPTIONS = {
  'cpu': {'xla_cpu_experimental_ynn_fusion_type': 'LIBRARY_FUSION_TYPE_REDUCE'}
}


def make_update(
  stage: stages.Stage,
  cut: Cut,
  mesh: Mesh,
  *,
  precision: str,
  batch_norm: sharding.BatchNorm = 'global',
  degradation_seed: int | None = None,
  is_flat: bool | None = None,
) -> Update:
  """Compiles, when it is first called, one or several updates of a stage.

  A batch comes split over the devices; the state is whole on each and stays
  so (but for batch statistics per device, see `sharding`), and its memory is
  reused for the new one.

  Args:
    stage: the step and its objective.
    cut: a loader's `crops`.
    mesh: the devices.
    precision: of matrix products: 'highest' for float32, for which
      accelerators would use TF32 or bfloat16; else 'default'.
    batch_norm: 'global', or 'per_device': each device normalises its own part
      of the batch, as the paper's one device did its 16 images, and only
      gradients and metrics are averaged: three all-reduces an update.
    degradation_seed: with the step decides the degradation 'photo' of the LR;
      None: the LR is the exact bicubic one.
    is_flat: whether several updates see parameters, moments and averages as a
      few long arrays (`flat`); None: on GPUs alone.

  Returns:
    A function of the state, K steps' rows stacked (of the loader's `batches`,
    by `sharding.shard_batches`), their learning rates [K], the loader's
    `pictures` and the VGG network: the state after K updates, metrics [K].
  """
  advance: Callable = stage.step
  if batch_norm == 'per_device':
    advance = functools.partial(_advance_per_device, stage.step, mesh)

  make = functools.partial(_make_batch, cut, degradation_seed)
  step = functools.partial(_step, advance, precision, stage.objective)
  if is_flat is None:
    is_flat = mesh.devices.flat[0].platform == 'gpu'
  loop = _loop
  if is_flat:
    loop = functools.partial(
      _loop_of_few_kernels,
      dtype=stage.objective.dtype,
      packs_statistics=batch_norm == 'global',
      makes_all_first=degradation_seed is None,
    )
  return _compile_several(make, step, loop, mesh, batch_norm)


def _make_batch(
  cut: Cut,
  degradation_seed: int | None,
  pictures: Any,
  rows: Any,
  number: jax.Array,
) -> Batch:
  """The uint8 batch of the step of that number."""
  crops, key = cut(pictures, rows), None
  if degradation_seed is not None:
    key = jax.random.fold_in(jax.random.key(degradation_seed), number)
  return make_pictures(crops['crop'], crops['symmetry'], key)


def _step(
  advance: Callable,
  precision: str,
  objective: step_lib.Objective,
  state: step_lib.PretrainState,
  made: Batch,
  rate: jax.Array,
  perceptual: vgg.PerceptualNetwork | None,
) -> Advanced:
  """One update at a learning rate."""
  with jax.default_matmul_precision(precision):
    state = state.with_learning_rate(rate)
    advanced: Advanced = advance(state, as_floats(made), perceptual, objective)
  return advanced


def _compile_several(
  make: Callable[[Any, Any, jax.Array], Batch],
  step: Callable[..., Advanced],
  loop: Callable[..., Advanced],
  mesh: Mesh,
  batch_norm: sharding.BatchNorm,
) -> Update:
  """One program of K steps, one after the other."""

  @functools.partial(
    jax.jit,
    donate_argnums=0,
    compiler_options=_COMPILER_OPTIONS.get(mesh.devices.flat[0].platform),
  )
  def update(
    state: step_lib.PretrainState,
    rows: Any,
    rates: np.ndarray,
    pictures: Any,
    perceptual: vgg.PerceptualNetwork | None,
  ) -> Advanced:
    numbers = state.generator.step + jnp.arange(len(rates))
    make_one = functools.partial(make, pictures)
    if len(rates) > 1:
      state, metrics = loop(
        make_one, step, state, (rows, numbers), rates, perceptual
      )
    else:
      # Without the loop, in which XLA's CPU backend is slow.
      made = make_one(*jax.tree.map(lambda x: x[0], (rows, numbers)))
      state, metrics = step(state, made, rates[0], perceptual)
      metrics = jax.tree.map(lambda x: x[None], metrics)
    if batch_norm == 'global':
      state = jax.lax.with_sharding_constraint(state, sharding.replicated(mesh))
    return state, jax.lax.with_sharding_constraint(
      metrics, sharding.replicated(mesh)
    )

  return update


def _loop(
  make: Callable[..., Batch],
  step: Callable[..., Advanced],
  state: step_lib.PretrainState,
  inputs: Any,
  rates: np.ndarray,
  perceptual: vgg.PerceptualNetwork | None,
) -> Advanced:
  """Steps in turn; a step's metrics are kept as one array."""
  names: list[str] = []

  def body(
    state: step_lib.PretrainState, given: tuple[Any, Any]
  ) -> tuple[step_lib.PretrainState, jax.Array]:
    inputs, rate = given
    state, metrics = step(state, make(*inputs), rate, perceptual)
    names[:] = metrics
    return state, jnp.stack(list(metrics.values()))

  state, columns = jax.lax.scan(body, state, (inputs, rates))
  return state, dict(zip(names, columns.T, strict=True))


def _loop_of_few_kernels(
  make: Callable[..., Batch],
  step: Callable[..., Advanced],
  state: step_lib.PretrainState,
  inputs: Any,
  rates: np.ndarray,
  perceptual: vgg.PerceptualNetwork | None,
  *,
  dtype: jnp.dtype,
  packs_statistics: bool,
  makes_all_first: bool,
) -> Advanced:
  """The same for GPUs: crops are cut and VGG's parameters cast before the loop.

  In it states are packed. Degraded crops take too much memory to be made for
  all steps at once.
  """
  first = inputs[1][0]
  if makes_all_first:
    inputs, make = jax.vmap(make)(*inputs), Batch
  state = flat.pack(state, dtype, packs_statistics)
  turned_step = lambda state, made, rate, perceptual: step(
    state, made, rate, flat.turned_back(perceptual)
  )
  turned = flat.turned(perceptual, dtype)
  state, metrics = _loop(make, turned_step, state, inputs, rates, turned)
  return flat.unpack(state, first), metrics


def _advance_per_device(
  step: Callable,
  mesh: Mesh,
  state: step_lib.PretrainState,
  batch: Batch,
  perceptual: vgg.PerceptualNetwork | None,
  objective: step_lib.Objective,
) -> Advanced:
  """One update in which a device sees its own rows and statistics alone."""
  objective = dataclasses.replace(objective, axis=sharding.AXIS)
  specs = sharding.state_specs(state)

  def advance(
    state: step_lib.PretrainState,
    batch: Batch,
    perceptual: vgg.PerceptualNetwork | None,
  ) -> Advanced:
    own = sharding.take_own(state)
    new, metrics = step(own, batch, perceptual, objective)
    return sharding.put_back(new), metrics

  return jax.shard_map(
    advance,
    mesh=mesh,
    in_specs=(specs, PartitionSpec(sharding.AXIS), PartitionSpec()),
    out_specs=(specs, PartitionSpec()),
    # Gradients are averaged by the step, once, and not where they arise.
    check_vma=False,
  )(state, batch, perceptual)
