"""The compiled program of a run: from a call's rows of data to a new state.

Crops, low resolution, both networks' updates and metrics are one XLA program;
nothing goes to the host in between.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
from jax.sharding import Mesh

from srgan_jax import sharding, stages, train_step
from srgan_jax.data.batch import make_batch
from srgan_jax.models import vgg

Update = Callable[
  [train_step.PretrainState, Any, Any, vgg.PerceptualNetwork | None],
  tuple[train_step.PretrainState, train_step.Metrics],
]


def make_update(
  stage: stages.Stage,
  cut: Callable[[Any, Any], dict[str, jax.Array]],
  mesh: Mesh,
  *,
  scale: int,
  precision: str,
) -> Update:
  """Compiles, when it is first called, one or several updates of a stage.

  A batch comes split over the devices; the state is whole on each and stays
  so, and its memory is reused for the new one.

  Args:
    stage: the step and its objective.
    cut: a loader's `crops`.
    mesh: the devices.
    scale: HR pixels per LR pixel.
    precision: of matrix products: 'highest' for float32, for which
      accelerators would use TF32 or bfloat16; else 'default'.

  Returns:
    A function of the state, K steps' rows of data stacked (of the loader's
    `batches`, by `sharding.shard_batches`), the loader's `pictures` and the
    VGG network. It gives the state after K updates, and metrics [K].
  """

  @functools.partial(
    jax.jit, donate_argnums=0, out_shardings=sharding.replicated(mesh)
  )
  def update(
    state: train_step.PretrainState,
    rows: Any,
    pictures: Any,
    perceptual: vgg.PerceptualNetwork | None,
  ) -> tuple[train_step.PretrainState, train_step.Metrics]:
    def step(
      state: train_step.PretrainState, rows: Any
    ) -> tuple[train_step.PretrainState, train_step.Metrics]:
      crops = cut(pictures, rows)
      batch = make_batch(crops['crop'], crops['symmetry'], scale)
      with jax.default_matmul_precision(precision):
        return stage.step(state, batch, perceptual, stage.objective)

    if len(jax.tree.leaves(rows)[0]) > 1:
      return jax.lax.scan(step, state, rows)
    # Without the loop, in which XLA's CPU backend is slow.
    state, metrics = step(state, jax.tree.map(lambda x: x[0], rows))
    return state, jax.tree.map(lambda x: x[None], metrics)

  return update
