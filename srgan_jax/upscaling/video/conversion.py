"""Frames of RGB as an encoder takes them."""

from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from srgan_jax.upscaling.video.reading import QUALITY

# Where a chroma sample lies among its pixels, as decoders take it where a file
# does not say: in the middle, or at the left ones, as MPEG-2 brought.
_CENTRED = ('mpeg1video', 'h261', 'h263')


def siting(encoder: str) -> str:
  """FFmpeg's name of where an encoder's chroma samples lie."""
  return 'center' if encoder in _CENTRED else 'left'


class Converter:
  """FFmpeg's filter scale, which places chroma samples as it is told.

  PyAV's reformatter has them in the middle.
  """

  def __init__(
    self,
    size: tuple[int, int],
    pixel_format: str,
    matrix: int,
    color_range: ColorRange,
    siting: str,
  ):
    """From RGB or RGBA of full range, of any size, to (W, H)."""
    width, height = size
    self._scale = (
      f'{width}:{height}:flags={int(QUALITY)}:in_range=full'
      f':out_range={int(color_range)}:out_color_matrix={matrix}'
      f':out_chroma_loc={siting}'
    )
    self._pixel_format = pixel_format
    self._graph = Graph()
    self._shape: tuple[int, int, str] | None = None

  def convert(self, frame: VideoFrame) -> VideoFrame:
    shape = frame.width, frame.height, frame.format.name
    if shape != self._shape:
      self._graph, self._shape = self._make(frame), shape
    self._graph.vpush(frame)
    return self._graph.vpull()

  def _make(self, frame: VideoFrame) -> Graph:
    graph = Graph()
    graph.link_nodes(
      graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=frame.time_base,
      ),
      graph.add('scale', self._scale),
      graph.add('format', self._pixel_format),
      graph.add('buffersink'),
    ).configure()
    return graph
