"""A run's folder: whose it is, and how far its stages have been trained."""

from collections.abc import Iterator, Mapping
import contextlib
import logging
import pathlib
import time
from typing import Any

import jax
from jax.experimental import multihost_utils

from srgan_jax import files, sharding
from srgan_jax.training import checkpoints, lock, stages
from srgan_jax.training import config as config_lib
from srgan_jax.training.config_files import ConfigDict

logger = logging.getLogger('srgan_jax')

# Seconds; NFS may remember for a minute that a file was not there.
_PATIENCE = 75.0


class Workdir:
  """The folder of a run with one config and the same pictures throughout."""

  def __init__(
    self, path: pathlib.Path, config: ConfigDict, inputs: Mapping[str, Any]
  ):
    """Notes what the folder, which need not exist, is for.

    `inputs` tell the run's pictures and networks from others.
    """
    self.path = path
    self._keeps_whole_only = config.resume == 'whole'
    self._config = config
    self._described = config.to_dict() | {'inputs': dict(inputs)}
    self._trained: dict[str, int] = {}

  def checkpoint_folder(self, stage_name: str) -> pathlib.Path:
    """Where a stage's checkpoints lie."""
    return self.path / 'checkpoints' / stage_name

  def trained_steps(self, stage_name: str) -> int:
    """The step that a stage resumes from, 0 where it has not begun."""
    return self._trained[stage_name]

  def check(self) -> None:
    """Refuses a folder in which this run cannot train; writes nothing.

    Raises:
      ValueError: one line: the processes are not of one run, it is a file,
        another run is at it, it holds a run with another config, a file of it
        is damaged, or a stage would lose or belie what was trained.
    """
    if unlike := config_lib.unlike_fields(sharding.gather(self._described)):
      raise ValueError(
        f'the processes are of different runs: {"; ".join(unlike)}. Give all '
        'the same config and pictures'
      )
    files.nearest_folder(self.path)
    if jax.process_index() == 0:
      lock.check(self.path)
    self._check_trained()

  def _check_trained(self) -> None:
    self._check_config()
    gan = self._find_step(stages.GAN)
    # The GAN stage's checkpoints hold all of the stage before.
    pretrain = self._find_step(stages.PRETRAIN, is_read=not gan)
    self._trained = {stages.PRETRAIN: pretrain, stages.GAN: gan}
    self._check_lengths()

  @contextlib.contextmanager
  def claim(self) -> Iterator[None]:
    """Makes the folder this run's, and no other's meanwhile; see `check`."""
    with contextlib.ExitStack() as stack:
      with self._failing_together():
        if jax.process_index() == 0:
          files.make_folder(self.path)
          stack.enter_context(lock.held(self.path))
      with self._failing_together():
        self._check_shared()
      with self._failing_together():
        self._check_trained()
      if jax.process_index() == 0:
        self._set_aside()
        files.write_json(self._config_file, self._described)
      multihost_utils.sync_global_devices('the folder is claimed')
      yield

  @contextlib.contextmanager
  def _failing_together(self) -> Iterator[None]:
    """Waits for all processes; where one fails in the block, all fail."""
    fault = None
    try:
      yield
    except (OSError, ValueError) as error:
      fault = error
    if sharding.in_any_process(fault is not None):
      raise fault or ValueError(
        f'{self.path} cannot be used: see what another process says'
      )

  @property
  def _config_file(self) -> pathlib.Path:
    return self.path / 'config.json'

  def _check_shared(self) -> None:
    """Refuses processes that do not see the lock of process 0."""
    holder = sharding.gather(lock.holder(self.path))[0]
    deadline = time.monotonic() + _PATIENCE
    while not (sees_it := lock.may_be_held_by(holder, self.path)):
      if time.monotonic() > deadline:
        break
      time.sleep(1)
    seeing = sharding.gather(sees_it)
    if not all(seeing):
      raise ValueError(
        f'process {seeing.index(False)} does not see {self.path} of process 0: '
        'choose a --workdir on a drive that all processes share'
      )

  def _check_config(self) -> None:
    if not self._config_file.exists():
      return
    try:
      before = files.read_json(self._config_file)
      if not isinstance(before, dict):
        raise ValueError(f'{before!r} is no config')
    except ValueError as error:
      if self._keeps_whole_only:
        logger.warning('%s is damaged: written anew', self._config_file)
        return
      raise ValueError(
        f'{self._config_file} is damaged: it is no config. Give the one that '
        'the run began with, and --config.resume=whole to write it anew'
      ) from error
    if changed := config_lib.changed_fields(before, self._described):
      raise ValueError(
        f'{self.path} holds a run with another config: {"; ".join(changed)}. '
        'Choose another --workdir, or the same config'
      )

  def _find_step(self, stage_name: str, is_read: bool = True) -> int:
    """The newest checkpoint's step, or the newest whole one's if it is read."""
    folder = self.checkpoint_folder(stage_name)
    fault = None
    for step in checkpoints.steps(folder):
      why = checkpoints.find_fault(folder / str(step)) if is_read else None
      if why is None:
        if fault is None or self._keeps_whole_only:
          return step
        raise ValueError(
          f'{fault}. --config.resume=whole goes on from step {step}'
        )
      fault = fault or f'{folder / str(step)} (step {step}) is damaged: {why}'
    if fault is not None and not self._keeps_whole_only:
      raise ValueError(
        f'{fault}, and no older one of the stage is whole. '
        '--config.resume=whole starts the stage again'
      )
    return 0

  def _set_aside(self) -> None:
    """Renames the damaged checkpoints that are newer than what is whole."""
    for name, trained in self._trained.items():
      folder = self.checkpoint_folder(name)
      for step in checkpoints.steps(folder):
        if step > trained:
          logger.warning('%s is damaged: set aside', folder / str(step))
          checkpoints.set_aside(folder / str(step))

  def _check_lengths(self) -> None:
    has_gan_begun = self.trained_steps(stages.GAN) > 0
    for name in stages.NAMES:
      trained = self.trained_steps(name)
      asked = self._config.stages[name].steps
      if name == stages.PRETRAIN and self._config.init_generator:
        asked = 0  # the stage is left out
      is_closed = has_gan_begun and name == stages.PRETRAIN
      if trained > asked or (trained and is_closed and trained != asked):
        raise ValueError(
          f'config.stages.{name}.steps is {asked}, but '
          f'{self.checkpoint_folder(name)} is at step {trained} already'
          + (' and the next stage has begun' if is_closed else '')
        )
