"""XMP packets: the size and orientation of a picture that they repeat."""

from collections.abc import Callable
import re


def _number(names: bytes) -> re.Pattern[bytes]:
  """Matches an integer attribute or element of one of these names."""
  return re.compile(
    rb'(\b(?:' + names + rb')\s*(?:=\s*["\']|>)\s*)(\d{1,9})(?=\s*["\'<])'
  )


_WIDTH = _number(rb'tiff:ImageWidth|exif:PixelXDimension')
_HEIGHT = _number(rb'tiff:ImageLength|exif:PixelYDimension')
_ORIENTATION = _number(rb'tiff:Orientation')
_PANORAMA = _number(rb'GPano:(?:Cropped|Full)\w+Pixels')


def orientation(packet: bytes) -> int:
  """The orientation that a packet states, 1..8 as EXIF's."""
  found = _ORIENTATION.search(packet)
  return int(found[2]) if found else 1


def upright(packet: bytes) -> bytes:
  """The packet with the orientation of upright pixels."""
  return _replace(_ORIENTATION, packet, lambda old: 1)


def resized(packet: bytes, height: int, width: int, scale: float) -> bytes:
  """The packet with the sizes of a scaled picture."""
  packet = _replace(_WIDTH, packet, lambda old: width)
  packet = _replace(_HEIGHT, packet, lambda old: height)
  return _replace(_PANORAMA, packet, lambda old: round(old * scale))


def _replace(
  pattern: re.Pattern[bytes], packet: bytes, new: Callable[[int], int]
) -> bytes:
  return pattern.sub(lambda m: m[1] + str(new(int(m[2]))).encode(), packet)
