"""Checkpoints of one training stage, by Orbax.

A checkpoint holds the whole state (networks, optimizers, batch statistics,
moving average) and a JSON note: the config and the metrics not logged yet. The
data needs none: a batch is a function of seed and step. Orbax writes beside and
renames, so that a checkpoint exists whole or not at all.
"""

import pathlib
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp

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

  def __init__(self, directory: pathlib.Path):
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
        state=ocp.args.StandardSave(state), note=ocp.args.JsonSave(note)
      ),
    )

  def restore(self, step: int, like: State) -> tuple[State, dict[str, Any]]:
    """Restores a state, placed as `like` is, and the note.

    Raises:
      ValueError: where the saved state is of another structure or shape.
    """
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    restored = self._manager.restore(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardRestore(abstract), note=ocp.args.JsonRestore()
      ),
    )
    return restored.state, restored.note

  def close(self) -> None:
    """Waits until what is being saved is on disk."""
    self._manager.wait_until_finished()
    self._manager.close()
