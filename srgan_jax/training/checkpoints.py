"""Checkpoints of one training stage, by Orbax.

A checkpoint holds the whole state (networks, optimizers, batch statistics,
moving average) and a JSON note: the metrics not logged yet, and the number of
devices. The data needs none: a batch is a function of seed and step. Orbax
writes beside and renames, so that a checkpoint exists whole or not at all.
"""

import pathlib
from typing import Any, TypeVar, cast

import jax
import numpy as np
import orbax.checkpoint as ocp

from srgan_jax import sharding

State = TypeVar('State')

_KEPT = 3


def latest_step(directory: pathlib.Path) -> int:
  """The step of the newest whole checkpoint in a stage's folder, or 0."""
  if not directory.is_dir():
    return 0
  names = (path.name for path in directory.iterdir())
  return max((int(name) for name in names if name.isdigit()), default=0)


class Checkpoints:
  """The checkpoints `directory/STEP` of a stage."""

  def __init__(self, directory: pathlib.Path, placement: sharding.Placement):
    self._placement = placement
    self._manager = ocp.CheckpointManager(
      directory.absolute(),
      options=ocp.CheckpointManagerOptions(
        max_to_keep=_KEPT, cleanup_tmp_directories=True
      ),
      item_names=('state', 'note'),
    )

  def save(self, step: int, state: Any, note: dict[str, Any]) -> None:
    """Saves in the background; the state may be donated at once after."""
    self._manager.save(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(state),
        note=ocp.args.JsonSave(note | {'devices': self._placement.mesh.size}),
      ),
    )

  def restore(self, step: int, like: State) -> tuple[State, dict[str, Any]]:
    """Restores a state, placed as `like` is, and the note.

    Where it has batch statistics for each of another number of devices, each
    device gets their mean.

    Raises:
      ValueError: where the saved state is of another structure or shape.
    """
    args = ocp.args.Composite(note=ocp.args.JsonRestore())
    note = self._manager.restore(step, args=args).note
    devices = note['devices']
    if (
      self._placement.batch_norm == 'global'
      or devices == self._placement.mesh.size
    ):
      return self._restore(step, like), note
    one = jax.tree.map(
      lambda x: np.zeros(x.shape, x.dtype),
      jax.eval_shape(sharding.average, like),
    )
    spread = sharding.replicate(
      sharding.spread(one, devices), self._placement.mesh
    )
    state = jax.device_get(self._restore(step, spread))
    return self._placement.place(sharding.average(state)), note

  def _restore(self, step: int, like: State) -> State:
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
    return cast(State, self._manager.restore(step, args=args).state)

  def close(self) -> None:
    """Waits until what is being saved is on disk."""
    self._manager.wait_until_finished()
    self._manager.close()
