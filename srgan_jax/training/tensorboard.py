"""TensorBoard's event files, written by the thread that has the figures.

TensorBoard's own `EventFileWriter` leaves that to a thread. Where it dies, on a
full disk for example, the run would wait for it forever.
"""

from collections.abc import Mapping
import pathlib
import socket
import time

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer import record_writer

from srgan_jax import files


class Board:
  """The curves and images of one folder; OSErrors name it."""

  def __init__(self, folder: pathlib.Path, *, purge_step: int):
    """Opens a new event file in the folder, which is made where it is missing.

    TensorBoard drops what earlier files have of `purge_step` or a later one.
    """
    self._folder = folder
    with files.naming(folder):
      folder.mkdir(parents=True, exist_ok=True)
      name = f'events.out.tfevents.{time.time():.6f}.{socket.gethostname()}'
      self._writer = record_writer.RecordWriter(open(folder / name, 'xb'))
    self._write(0, file_version='brain.Event:2')
    started = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._write(purge_step, session_log=started)

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Adds a point to each curve."""
    for name, value in values.items():
      self._add(step, tag=name, simple_value=value)

  def image(
    self, step: int, name: str, shape: tuple[int, ...], png: bytes
  ) -> None:
    """Adds an image [H, W, 3] that is encoded already."""
    height, width, channels = shape
    shown = summary_pb2.Summary.Image(
      height=height,
      width=width,
      colorspace=channels,
      encoded_image_string=png,
    )
    self._add(step, tag=name, image=shown)

  def close(self) -> None:
    """Ends the file."""
    with files.naming(self._folder):
      self._writer.close()

  def _add(self, step: int, **content: object) -> None:
    value = summary_pb2.Summary.Value(**content)
    self._write(step, summary=summary_pb2.Summary(value=[value]))

  def _write(self, step: int, **content: object) -> None:
    event = event_pb2.Event(step=step, wall_time=time.time(), **content)
    with files.naming(self._folder):
      self._writer.write(event.SerializeToString())
      self._writer.flush()
