"""Checkpoints of one training stage, by Orbax, with checksums of their files.

A checkpoint holds the whole state (networks, optimizers, batch statistics,
moving average) and a JSON note: the metrics not logged yet, and the number of
devices. The data needs none: a batch is a function of seed and step. Orbax
writes a temporary folder and renames it: a checkpoint is whole or absent. Its
`checksums.json` tells one that was damaged later.
"""

from collections.abc import Iterator
import contextlib
import copy
import itertools
import json
import os
import pathlib
import re
import sys
import threading
from typing import Any, Self, TypeVar, cast

import jax
import numpy as np
import orbax.checkpoint as ocp

from srgan_jax import cli, files, sharding

State = TypeVar('State')

_KEPT = 3
_CHECKSUMS = 'checksums.json'
_ALGORITHM = 'blake2b'
# Each device saves a part of a replicated array if it has as many bytes; of
# smaller ones the cutting alone would take longer.
_PART_BYTES = 2**20
_PATIENCE = 5.0  # seconds for what is being saved when a run fails


def steps(directory: pathlib.Path) -> list[int]:
  """The steps that a stage's folder has checkpoints of, the newest first."""
  if not directory.is_dir():
    return []
  names = (path.name for path in directory.iterdir())
  found = (int(name) for name in names if re.fullmatch('[1-9][0-9]*', name))
  return sorted(found, reverse=True)


def find_fault(checkpoint: pathlib.Path) -> str | None:
  """Why a checkpoint's folder cannot be trusted; None where it is whole."""
  try:
    text = (checkpoint / _CHECKSUMS).read_bytes()
    for name, digest in files.parse_json(text).items():
      file = checkpoint / name
      if not file.is_file():
        return f'{name} is missing'
      if files.digest(file, _ALGORITHM) != digest:
        return f'{name} is not what was written'
  except FileNotFoundError:
    return f'{_CHECKSUMS} is missing'
  except (OSError, ValueError, AttributeError, TypeError) as error:
    return f'{_CHECKSUMS} cannot be read ({cli.one_line(error)})'
  return None


def set_aside(checkpoint: pathlib.Path) -> None:
  """Renames a damaged checkpoint, so that it stands in no new one's way."""
  for number in itertools.count():
    target = checkpoint.with_name(f'{checkpoint.name}.damaged{number or ""}')
    if not target.exists():
      break
  checkpoint.rename(target)


class Checkpoints:
  """The checkpoints `directory/STEP` of a stage; a context that ends saving."""

  def __init__(self, directory: pathlib.Path, placement: sharding.Placement):
    self._directory, self._placement = directory.absolute(), placement
    self._saving: int | None = None
    arrays = ocp.type_handlers.ArrayHandler(
      min_slice_bytes_for_replica_parallel=_PART_BYTES
    )
    handlers = {
      'state': ocp.PyTreeCheckpointHandler(
        type_handler_registry=ocp.type_handlers.create_type_handler_registry(
          (jax.Array, arrays)
        )
      ),
      'note': ocp.JsonCheckpointHandler(),
    }
    options = ocp.CheckpointManagerOptions(
      max_to_keep=_KEPT,
      cleanup_tmp_directories=True,
      async_options=ocp.options.AsyncOptions(
        post_finalization_callback=self._write_checksums
      ),
    )
    with self._failing_as_line('cannot be opened'):
      self._manager = ocp.CheckpointManager(
        self._directory, options=options, item_handlers=handlers
      )

  def save(self, step: int, state: Any, note: dict[str, Any]) -> None:
    """Saves in the background; state and note may be reused at once after.

    Raises:
      OSError: one line: this or the save before it failed.
    """
    self._wait()
    self._saving = step
    note = copy.deepcopy(note) | {'devices': self._placement.mesh.size}
    with self._failing_as_line(f'of step {step} cannot be saved'):
      self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.PyTreeSave(state),
          note=ocp.args.JsonSave(note),
        ),
        force=True,
      )

  def restore(self, step: int, like: State) -> tuple[State, dict[str, Any]]:
    """Restores a state, placed as `like` is, and the note.

    Where it has batch statistics for each of another number of devices, each
    device gets their mean.

    Raises:
      ValueError: one line: the saved state is of another structure or shape,
        or cannot be read.
    """
    try:
      return self._restore(step, like)
    except Exception as error:  # whatever Orbax and TensorStore raise
      raise ValueError(
        f'{self._directory / str(step)} cannot be restored: {_shortened(error)}'
      ) from error

  def close(self) -> None:
    """Waits until what is being saved is on disk.

    Raises:
      OSError: one line, where it could not be saved.
    """
    self._wait()
    self._manager.close()

  def __enter__(self) -> Self:
    self._hook = sys.unraisablehook
    sys.unraisablehook = self._say_unless_late
    return self

  def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
    if kind is None:
      self.close()
      sys.unraisablehook = self._hook
      return
    # A run that has failed does not wait for a save that may never end.
    waiting = threading.Thread(target=self._wait_silently, daemon=True)
    waiting.start()
    waiting.join(_PATIENCE)

  def _wait(self) -> None:
    if self._saving is None:
      return
    with self._failing_as_line(f'of step {self._saving} was not saved'):
      self._manager.wait_until_finished()
      self._complete_checksums(self._directory / str(self._saving))

  def _wait_silently(self) -> None:
    with contextlib.suppress(Exception):
      self._manager.wait_until_finished()

  def _say_unless_late(self, unraisable: 'sys.UnraisableHookArgs') -> None:
    """Threads of TensorStore tell a save that has failed of their own end."""
    if str(unraisable.exc_value) != 'Event loop is closed':
      self._hook(unraisable)

  @contextlib.contextmanager
  def _failing_as_line(self, what: str) -> Iterator[None]:
    try:
      yield
    except Exception as error:  # whatever Orbax and TensorStore raise
      raise OSError(
        f'{self._directory}: the checkpoint {what}: {_shortened(error)}'
      ) from error

  def _write_checksums(self) -> None:
    """Called by Orbax, in its thread, before a checkpoint is renamed."""
    [checkpoint] = self._directory.glob(f'{self._saving}.*-tmp*')
    digests = {
      path.relative_to(checkpoint).as_posix(): files.digest(path, _ALGORITHM)
      for path in sorted(checkpoint.rglob('*'))
      if path.is_file() and path.parent != checkpoint
    }
    files.write_text(checkpoint / _CHECKSUMS, json.dumps(digests))

  def _complete_checksums(self, checkpoint: pathlib.Path) -> None:
    """Adds what Orbax writes last, which holds nothing of the state."""
    if jax.process_index():
      return
    path = checkpoint / _CHECKSUMS
    digests = files.read_json(path)
    last = (each for each in checkpoint.iterdir() if each.is_file())
    digests |= {
      each.name: files.digest(each, _ALGORITHM) for each in last if each != path
    }
    files.write_text(path, json.dumps(digests))

  def _restore(self, step: int, like: State) -> tuple[State, dict[str, Any]]:
    args = ocp.args.Composite(note=ocp.args.JsonRestore())
    note = self._manager.restore(step, args=args).note
    devices = note['devices']
    if (
      self._placement.batch_norm == 'global'
      or devices == self._placement.mesh.size
    ):
      return self._restore_state(step, like), note
    one = jax.tree.map(
      lambda x: np.zeros(x.shape, x.dtype),
      jax.eval_shape(sharding.average, like),
    )
    spread = sharding.replicate(
      sharding.spread(one, devices), self._placement.mesh
    )
    state = jax.device_get(self._restore_state(step, spread))
    return self._placement.place(sharding.average(state)), note

  def _restore_state(self, step: int, like: State) -> State:
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    restore = ocp.args.PyTreeRestore(
      abstract, ocp.checkpoint_utils.construct_restore_args(abstract)
    )
    args = ocp.args.Composite(state=restore)
    return cast(State, self._manager.restore(step, args=args).state)


def _shortened(error: Exception) -> str:
  """What failed, and why, of TensorStore's long messages."""
  text = cli.one_line(error)
  if len(text) <= 300:
    return text
  code = re.search(r"os_error_code='(\d+)'", text)
  return f'{text[:200]} ...' + (f' {os.strerror(int(code[1]))}' if code else '')
