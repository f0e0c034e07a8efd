"""A video's pixels: their format, their colours, and the encoder for them.

Matrix, primaries and transfer of colours are the numbers of ITU-T H.273.
"""

from collections.abc import Sequence
import pathlib
import struct
from typing import Any, NamedTuple

import av
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import ColorRange, Colorspace

from srgan_jax.imaging.colour_tags import HDR
from srgan_jax.upscaling.video.containers import CONTAINERS, Container, Encoder

# Of frames as arrays, by whether they are uint16 and have alpha.
ARRAYS = {
  (False, False): 'rgb24',
  (False, True): 'rgba',
  (True, False): 'rgb48le',
  (True, True): 'rgba64le',
}
_SIDE = 64  # of a picture whose chroma planes are measured
_CHROMA = {
  (64, 64): '4:4:4',
  (64, 32): '4:4:0',
  (32, 64): '4:2:2',
  (32, 32): '4:2:0',
  (16, 64): '4:1:1',
  (16, 16): '4:1:0',
}

_UNKNOWN = 2
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


class PixelFormat(NamedTuple):
  """What a pixel format holds.

  Attributes:
    has_alpha: transparency.
    is_rgb: RGB, or a palette of it; else YUV or gray.
    bits: of a channel.
    chroma: size of the chroma planes of 64x64 pixels; (0, 0) for gray.
  """

  has_alpha: bool
  is_rgb: bool
  bits: int
  chroma: tuple[int, int]


def describe(name: str) -> PixelFormat:
  """What a pixel format of FFmpeg holds.

  Raises:
    ValueError: for one that has no pixels of its own, or of a raw sensor.
  """
  found = av.VideoFormat(name, _SIDE, _SIDE)
  components = found.components
  if not components or found.is_bayer:
    raise ValueError(f'pixels of the format {name} cannot be read')
  is_gray = len(components) < 3 and not found.has_palette
  return PixelFormat(
    has_alpha=any(component.is_alpha for component in components),
    is_rgb=found.is_rgb or found.has_palette,
    bits=max(component.bits for component in components),
    chroma=(0, 0)
    if is_gray
    else (found.chroma_width(_SIDE), found.chroma_height(_SIDE)),
  )


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


class Choice(NamedTuple):
  """An encoder, its pixel format, and what they lose, in words.

  Transparency, which may be there in name only, is not among them.
  """

  encoder: str
  pixel_format: str
  losses: list[str]


def choose(
  source: pathlib.Path,
  stored: str,
  colors: Colors,
  container: Container,
  encoder: str | None,
  pixel_format: str | None,
) -> Choice:
  """Chooses the first encoder and format that lose least of a source's picture.

  Args:
    source: the file, which errors name.
    stored: FFmpeg's name of its pixel format.
    colors: its colours.
    container: that of the result, whose encoders are taken.
    encoder: FFmpeg's name of another one.
    pixel_format: FFmpeg's name of the only one to take.

  Raises:
    ValueError: where the encoder or the format is unknown, or would make 8
      bits of HDR.
  """
  encoders: Sequence[Encoder] = container.encoders
  if encoder:
    encoders = [_formats_of(encoder)]
  candidates = [
    (known.name, name)
    for known in encoders
    for name in known.pixel_formats
    if pixel_format in (None, name)
  ]
  if not candidates:
    raise ValueError(
      f'{encoder or container.suffix} takes no pixels {pixel_format!r}'
    )
  given = describe(stored)
  chosen, name = min(
    candidates, key=lambda candidate: _cost(given, describe(candidate[1]))
  )
  kept = describe(name)
  if colors.transfer in HDR and kept.bits < 10:
    others = ', '.join(
      other.suffix
      for other in CONTAINERS.values()
      if any(known.name == 'libx265' for known in other.encoders)
    )
    raise ValueError(
      f'{source}: is HDR ({HDR[colors.transfer]}), which 8 bits of {chosen} '
      f'cannot hold: take {others}, or another encoder'
    )
  return Choice(chosen, name, _losses(given, kept))


def _formats_of(encoder: str) -> Encoder:
  """An encoder with all formats that frames can be given to it in.

  Raises:
    ValueError: where FFmpeg has no such video encoder.
  """
  try:
    codec = av.Codec(encoder, 'w')
  except ValueError:
    raise ValueError(f'there is no encoder {encoder!r}') from None
  if codec.type != 'video':
    raise ValueError(f'{encoder} is no encoder of video')
  names = [
    found.name
    for found in codec.video_formats or [av.VideoFormat('yuv420p')]
    if found.components and not found.name.startswith('yuvj')
  ]
  if codec.canonical_name == 'hevc':
    # Few programs decode the layer that HEVC has for it.
    names = [name for name in names if not describe(name).has_alpha]
  return Encoder(encoder, tuple(names))


def _cost(given: PixelFormat, kept: PixelFormat) -> tuple[int, ...]:
  """Smaller is better: first what is lost, then what is idle."""
  return (
    given.has_alpha and not kept.has_alpha,
    max(0, given.bits - kept.bits),
    given.is_rgb and not kept.is_rgb,
    sum(max(0, a - b) for a, b in zip(given.chroma, kept.chroma, strict=True)),
    kept.has_alpha and not given.has_alpha,
    kept.is_rgb and not given.is_rgb,
    max(0, kept.bits - given.bits),
    sum(kept.chroma),
  )


def _losses(given: PixelFormat, kept: PixelFormat) -> list[str]:
  lost = []
  if given.bits > kept.bits:
    lost.append(f'{given.bits} bits become {kept.bits}')
  if given.is_rgb and not kept.is_rgb:
    lost.append('RGB becomes YUV')
  if any(a > b for a, b in zip(given.chroma, kept.chroma, strict=True)):
    sizes = given.chroma, kept.chroma
    names = [_CHROMA.get(size, 'chroma') for size in sizes]
    lost.append(f'{names[0]} becomes {names[1]}')
  return lost


def colors_of(
  frame: av.VideoFrame, kind: PixelFormat, source: pathlib.Path
) -> Colors:
  """The colours of a decoded frame.

  Raises:
    ValueError: naming the source, where they cannot be converted.
  """
  matrix = frame.colorspace
  extra = side_data(frame)
  is_dolby = SideDataType.DOVI_METADATA in extra
  if is_dolby and frame.color_trc == _UNKNOWN:
    raise ValueError(
      f'{source}: is Dolby Vision without another picture: bring it to HDR10 '
      'or SDR first'
    )
  if kind.is_rgb or matrix in (RGB, _UNKNOWN, 3):
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
