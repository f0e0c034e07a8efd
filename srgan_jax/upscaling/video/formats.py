"""Pixel formats of video: what they hold, and the encoder that keeps it."""

from collections.abc import Sequence
from typing import NamedTuple

import av

from srgan_jax.upscaling.video.containers import Encoder

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


class Choice(NamedTuple):
  """An encoder, its pixel format, and what they lose, in words.

  Transparency, which may be there in name only, is not among them.
  """

  encoder: str
  pixel_format: str
  losses: list[str]


def choose(source: str, encoders: Sequence[Encoder]) -> Choice:
  """The first encoder and format that lose least of a source's format."""
  given = describe(source)
  candidates = [
    (encoder.name, name)
    for encoder in encoders
    for name in encoder.pixel_formats
  ]
  encoder, name = min(
    candidates, key=lambda candidate: _cost(given, describe(candidate[1]))
  )
  return Choice(encoder, name, _losses(given, describe(name)))


def formats_of(encoder: str) -> Encoder:
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
    names = [_CHROMA.get(size, 'chroma') for size in (given[3], kept[3])]
    lost.append(f'{names[0]} becomes {names[1]}')
  return lost
