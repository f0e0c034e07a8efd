"""The margins of a picture that its file says are not to be shown.

MP4's clean aperture and Matroska's PixelCrop.
"""

import re
from typing import Any

import av
import numpy as np

_MARGINS = re.compile(r'Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)')


class Margins(tuple[int, int, int, int]):
  """Columns at the left and right, rows at the top and bottom."""

  def cut(self, pixels: np.ndarray) -> np.ndarray:
    """Pixels [H, W, C] without them; as they are where nothing would stay."""
    left, right, top, bottom = self
    height, width = pixels.shape[:2]
    shown = pixels[top : height - bottom, left : width - right]
    return shown if shown.size else pixels


def margins(container: Any, stream: Any) -> Margins:
  """Of a stream's pictures; PyAV has them in FFmpeg's description alone."""
  level = av.logging.get_level()
  av.logging.set_level(av.logging.INFO)
  try:
    described = container.dumps_format()
  finally:
    av.logging.set_level(level)
  for part in re.split(r'\n\s*Stream #0:', described)[1:]:
    found = _MARGINS.search(part)
    if found and re.match(rf'{stream.index}\D', part):
      return Margins(int(number) for number in found.groups())
  return Margins((0, 0, 0, 0))
