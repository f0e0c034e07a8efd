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

from srgan_jax import sharding
from srgan_jax.data.batch import Batch, as_floats, make_pictures
from srgan_jax.data.loader import Cut
from srgan_jax.models import vgg
from srgan_jax.training import flat, stages
from srgan_jax.training import step as step_lib

# A state after some updates, and their metrics.
Advanced = tuple[step_lib.PretrainState, step_lib.Metrics]
Update = Callable[..., Advanced]  # see `make_update`

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

  A batch is split over the devices; the state is whole on each, except for
  batch statistics per device (see `sharding`), and its memory is reused.

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
  platform = mesh.devices.flat[0].platform
  if is_flat is None:
    is_flat = platform == 'gpu'
  program = _Program(
    stage, cut, mesh, precision, batch_norm, degradation_seed, is_flat
  )
  return jax.jit(
    program.update,
    donate_argnums=0,
    compiler_options=_COMPILER_OPTIONS.get(platform),
  )


@dataclasses.dataclass(frozen=True, eq=False)
class _Program:
  """The parts of an update; see `make_update`."""

  stage: stages.Stage
  cut: Cut
  mesh: Mesh
  precision: str
  batch_norm: sharding.BatchNorm
  degradation_seed: int | None
  is_flat: bool

  def update(
    self,
    state: step_lib.PretrainState,
    rows: Any,
    rates: jax.Array,
    pictures: Any,
    perceptual: vgg.PerceptualNetwork | None,
  ) -> Advanced:
    """K steps, one after the other."""
    numbers = state.generator.step + jnp.arange(len(rates))
    make = functools.partial(self._make_batch, pictures)
    if len(rates) > 1:
      inputs = rows, numbers
      state, metrics = self._loop(make, state, inputs, rates, perceptual)
    else:
      # Without the loop, in which XLA's CPU backend is slow.
      made = make(*jax.tree.map(lambda x: x[0], (rows, numbers)))
      state, metrics = self._step(state, made, rates[0], perceptual)
      metrics = jax.tree.map(lambda x: x[None], metrics)
    whole = sharding.replicated(self.mesh)
    if self.batch_norm == 'global':
      state = jax.lax.with_sharding_constraint(state, whole)
    return state, jax.lax.with_sharding_constraint(metrics, whole)

  def _make_batch(self, pictures: Any, rows: Any, number: jax.Array) -> Batch:
    """The uint8 batch of the step of that number."""
    crops, key = self.cut(pictures, rows), None
    if self.degradation_seed is not None:
      key = jax.random.fold_in(jax.random.key(self.degradation_seed), number)
    return make_pictures(crops['crop'], crops['symmetry'], key)

  def _step(
    self,
    state: step_lib.PretrainState,
    made: Batch,
    rate: jax.Array,
    perceptual: vgg.PerceptualNetwork | None,
  ) -> Advanced:
    """One update at a learning rate."""
    with jax.default_matmul_precision(self.precision):
      state, batch = state.with_learning_rate(rate), as_floats(made)
      if self.batch_norm == 'per_device':
        return self._advance_per_device(state, batch, perceptual)
      advanced: Advanced = self.stage.step(
        state, batch, perceptual, self.stage.objective
      )
    return advanced

  def _advance_per_device(
    self,
    state: step_lib.PretrainState,
    batch: Batch,
    perceptual: vgg.PerceptualNetwork | None,
  ) -> Advanced:
    """One update in which a device sees its own rows and statistics alone."""
    objective = dataclasses.replace(self.stage.objective, axis=sharding.AXIS)
    specs = sharding.state_specs(state)

    def advance(state: Any, batch: Any, perceptual: Any) -> Advanced:
      own = sharding.take_own(state)
      new, metrics = self.stage.step(own, batch, perceptual, objective)
      return sharding.put_back(new), metrics

    return jax.shard_map(
      advance,
      mesh=self.mesh,
      in_specs=(specs, PartitionSpec(sharding.AXIS), PartitionSpec()),
      out_specs=(specs, PartitionSpec()),
      # Gradients are averaged by the step, once, and not where they arise.
      check_vma=False,
    )(state, batch, perceptual)

  def _loop(
    self,
    make: Callable[..., Batch],
    state: step_lib.PretrainState,
    inputs: Any,
    rates: jax.Array,
    perceptual: vgg.PerceptualNetwork | None,
  ) -> Advanced:
    """Steps in turn; a step's metrics are kept as one array.

    Of few kernels, where `is_flat`: states are packed, VGG's parameters are
    cast before the loop, and crops are cut there as well, except degraded
    ones, which take too much memory.
    """
    names: list[str] = []
    as_stored = lambda network: network
    if self.is_flat:
      first, dtype = inputs[1][0], self.stage.objective.dtype
      if self.degradation_seed is None:
        inputs, make = jax.vmap(make)(*inputs), Batch
      state = flat.pack(state, dtype, self.batch_norm == 'global')
      perceptual = flat.turned(perceptual, dtype)
      as_stored = flat.turned_back

    def body(state: Any, given: Any) -> tuple[Any, jax.Array]:
      inputs, rate = given
      state, metrics = self._step(
        state, make(*inputs), rate, as_stored(perceptual)
      )
      names[:] = metrics
      return state, jnp.stack(list(metrics.values()))

    state, columns = jax.lax.scan(body, state, (inputs, rates))
    metrics = dict(zip(names, columns.T, strict=True))
    if self.is_flat:
      state = flat.unpack(state, first)
    return state, metrics
