"""TensorBoard's event files, written by the thread that has the figures.

tensorboardX's `SummaryWriter` leaves that to a thread of its own. Where that
dies, of a full disk, say, the run would wait for it without end.
"""

from collections.abc import Mapping
import pathlib
import time

import numpy as np
from tensorboardX import event_file_writer, summary
from tensorboardX.proto import event_pb2

from srgan_jax import files


class Board:
  """The curves and images of one folder."""

  def __init__(self, folder: pathlib.Path, *, purge_step: int):
    """Opens a new event file in the folder, which is made where it is missing.

    TensorBoard drops what earlier files have of `purge_step` or a later one.

    Raises:
      OSError: naming the folder.
    """
    self._folder = folder
    with files.naming(folder):
      folder.mkdir(parents=True, exist_ok=True)
      self._writer = event_file_writer.EventsWriter(str(folder / 'events'))
      started = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
      self._write(purge_step, session_log=started)

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Adds a point to each curve.

    Raises:
      OSError: naming the folder.
    """
    with files.naming(self._folder):
      for name, value in values.items():
        self._write(step, summary=summary.scalar(name, value))
      self._writer.flush()

  def image(self, step: int, name: str, image: np.ndarray) -> None:
    """Adds an image, uint8 [H, W, 3].

    Raises:
      OSError: naming the folder.
    """
    with files.naming(self._folder):
      as_summary = summary.image(name, image, dataformats='HWC')
      self._write(step, summary=as_summary)
      self._writer.flush()

  def close(self) -> None:
    """Ends the file.

    Raises:
      OSError: naming the folder.
    """
    with files.naming(self._folder):
      self._writer.close()

  def _write(self, step: int, **content: object) -> None:
    event = event_pb2.Event(step=step, wall_time=time.time(), **content)
    self._writer.write_event(event)
