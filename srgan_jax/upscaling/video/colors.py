"""Colours of video: what its numbers mean, kept from file to file.

Matrix, primaries and transfer are the numbers of ITU-T H.273.
"""

import pathlib
import struct
from typing import Any, NamedTuple

import av
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import ColorRange, Colorspace

from srgan_jax.upscaling.video.formats import PixelFormat

UNKNOWN = 2
RGB = 0
_BT709, _SMPTE170M, _BT2020 = 1, 6, 9
# Matrices that swscale converts.
MATRICES = {
  1: Colorspace.ITU709,
  4: Colorspace.FCC,
  5: Colorspace.ITU601,
  6: Colorspace.SMPTE170M,
  7: Colorspace.SMPTE240M,
  9: Colorspace.BT2020,
}
_OTHERS = {8: 'YCgCo', 10: 'BT.2020 constant', 14: 'ICtCp', 15: 'IPT'}
HDR = {16: 'PQ', 18: 'HLG'}  # transfers that 8 bits cannot hold


class Colors(NamedTuple):
  """What the numbers of a frame mean.

  Attributes:
    matrix: from RGB to YUV; of RGB, the one to take where it becomes YUV.
    primaries: of red, green and blue.
    transfer: from light to numbers.
    range: whether black is 0 (JPEG) or above (MPEG).
    mastering: the mastering display and the brightest light of HDR, as the
      encoder x265 takes them; '' where the file has none.
  """

  matrix: int
  primaries: int
  transfer: int
  range: ColorRange
  mastering: str


def of_frame(
  frame: av.VideoFrame, kind: PixelFormat, source: pathlib.Path
) -> Colors:
  """The colours of a decoded frame.

  Raises:
    ValueError: naming the source, where they cannot be converted.
  """
  matrix = frame.colorspace
  extra = side_data(frame)
  is_dolby = SideDataType.DOVI_METADATA in extra
  if is_dolby and frame.color_trc == UNKNOWN:
    raise ValueError(
      f'{source}: is Dolby Vision without another picture: bring it to HDR10 '
      'or SDR first'
    )
  if kind.is_rgb or matrix in (RGB, UNKNOWN, 3):
    # As players take it that are not told.
    matrix = _BT709 if frame.height >= 720 else _SMPTE170M
    if frame.color_trc in HDR:
      matrix = _BT2020
  if matrix not in MATRICES:
    name = _OTHERS.get(matrix, f'number {matrix}')
    raise ValueError(f'{source}: its colour matrix ({name}) is not supported')
  full = frame.color_range == ColorRange.JPEG or kind.is_rgb
  full |= frame.format.name.startswith('yuvj')
  return Colors(
    matrix=matrix,
    primaries=frame.color_primaries,
    transfer=frame.color_trc,
    range=ColorRange.JPEG if full else ColorRange.MPEG,
    mastering=_mastering(extra),
  )


def side_data(frame: Any) -> dict[SideDataType, bytes]:
  """FFmpeg's structures that came with a frame."""
  return {data.type: bytes(data) for data in frame.side_data}


def _mastering(extra: dict[SideDataType, bytes]) -> str:
  """SMPTE ST 2086's figures and MaxCLL, of FFmpeg's structures."""
  parts = []
  display = extra.get(SideDataType.MASTERING_DISPLAY_METADATA)
  if display:
    # Ten fractions: R, G, B, white as (x, y), least and greatest luminance.
    *numbers, has_primaries, has_luminance = struct.unpack('22i', display[:88])
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    values = [number / (divisor or 1) for number, divisor in pairs]
    r, g, b, white = [
      f'({round(50_000 * x)},{round(50_000 * y)})'
      for x, y in zip(values[:8:2], values[1:8:2], strict=True)
    ]
    least, greatest = (round(10_000 * value) for value in values[8:])
    if has_primaries and has_luminance:
      parts.append(f'master-display=G{g}B{b}R{r}WP{white}L({greatest},{least})')
  light = extra.get(SideDataType.CONTENT_LIGHT_LEVEL)
  if light:
    parts.append('max-cll={},{}'.format(*struct.unpack('2I', light[:8])))
  return ':'.join(parts)
