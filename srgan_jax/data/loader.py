"""What a loader is: where a training run's crops come from.

`tfdata` cuts them on the host, `resident` on the device; which crops is decided
by `draw` alone, so that both give the same bytes.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol

import numpy as np

from srgan_jax.data import draw as draw_lib
from srgan_jax.data.source import Source

LoaderName = Literal['tfdata', 'resident']
# Makes crops of a loader's pictures and a batch's rows in the compiled step;
# equal where the programs are.
Cut = Callable[[Any, Any], dict[str, Any]]


class Loader(Protocol):
  """This process's part of each batch, and how it becomes crops.

  Attributes:
    pictures: what lies on the device for the whole run, or None.
    crops: makes the crops of a batch.
  """

  pictures: Any

  @property
  def crops(self) -> Cut: ...

  def batches(self, start_step: int = 0) -> Iterator[Any]:
    """This process's batches from `start_step` on, without end."""


def come_cut(pictures: None, rows: dict[str, Any], /) -> dict[str, Any]:
  """`Loader.crops` where the rows of a batch are its crops."""
  del pictures
  return rows


def host_batch(
  source: Source,
  drawn: draw_lib.Draw,
  *,
  crop_size: int,
) -> dict[str, np.ndarray]:
  """The crops of a draw, plainly: what every loader must give.

  Args:
    source: the pictures.
    drawn: the global batch, of `draw`.
    crop_size: side of an HR crop in pixels.

  Returns:
    'crop': uint8 [b, S, S, 3], S = crop_size + 16, 0..255;
    'symmetry': int32 [b], 0..7.

  Raises:
    ValueError: no picture can be read, or one is smaller than the crop.
  """
  crops = [
    draw_lib.cut(source.read(int(image)), y, x, crop_size=crop_size)
    for image, y, x in zip(drawn.image, drawn.y, drawn.x, strict=True)
  ]
  return {'crop': np.stack(crops), 'symmetry': drawn.symmetry}
