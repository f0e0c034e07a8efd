"""XMP packets: what they repeat of a picture's pixels, and of its file.

Packets are edited as bytes, so that all else in them stays as it is.
"""

from collections.abc import Callable
import re

Match = re.Match[bytes]

# From a name to its value, and behind that, in an attribute or an element.
_IS = rb'\s*(?:=\s*["\']|>)\s*'
_END = rb'(?=\s*["\'<])'


def _number(names: bytes) -> re.Pattern[bytes]:
  """Matches an integer attribute or element of one of these names."""
  return re.compile(rb'(\b(?:' + names + rb')' + _IS + rb')(\d{1,9})' + _END)


def _element(names: bytes) -> bytes:
  """Matches an element of one of these names, with none of them inside."""
  inside = rb'[^<]*(?:<(?!/?(?:' + names + rb')\b)[^<]*)*'
  return rb'<(' + names + rb')\b[^<>]*(?:(?<=/)>|>' + inside + rb'</\1\s*>)'


_WIDTH = _number(rb'tiff:ImageWidth|exif:PixelXDimension')
_HEIGHT = _number(rb'tiff:ImageLength|exif:PixelYDimension')
_ORIENTATION = _number(rb'tiff:Orientation')
_PANORAMA = _number(rb'GPano:(?:Cropped|Full)\w+Pixels')
_FORMAT = re.compile(rb'(\bdc:format' + _IS + rb')image/[\w.+-]+')
# Places in the old pixels, and parts of the file that are left out.
_GONE_NAMES = (
  rb'exif:Subject(?:Area|Location)|exif:FocalPlane\w+|xmp:Thumbnails|'
  rb'xmpNote:HasExtendedXMP|hdrgm:\w+|G?Container:Directory|'
  rb'G?Camera:(?:MotionPhoto|MicroVideo)\w*'
)
_GONE = re.compile(
  rb'\s(?:'
  + _GONE_NAMES
  + rb')\s*=\s*(?:"[^"]*"|\'[^\']*\')|'
  + _element(_GONE_NAMES)
)
# Faces, and the size of the picture that they lie in (MWG's guidelines 2.0).
_REGION = re.compile(_element(rb'mwg-rs:(?:Area|AppliedToDimensions)'))
_REGION_SIZE = _number(rb'stDim:[wh]')
_FRACTION = rb'(\d*\.?\d+)'
_REGION_PART = re.compile(
  rb'(\bst(?:Area|Dim):)([xywh])(' + _IS + rb')' + _FRACTION + _END
)
# The same as Microsoft has it: left, top, width and height.
_RECTANGLE = re.compile(
  rb'(\bMPReg:Rectangle' + _IS + rb')' + rb'\s*,\s*'.join([_FRACTION] * 4)
)
_SWAPPED = {b'x': b'y', b'y': b'x', b'w': b'h', b'h': b'w'}
_FLIPPED = {b'x': (2, 3, 6, 7), b'y': (3, 4, 7, 8)}  # by these orientations


def orientation(packet: bytes) -> int:
  """The orientation that a packet states, 1..8 as EXIF's."""
  found = _ORIENTATION.search(packet)
  return int(found[2]) if found else 1


def upright(packet: bytes, orientation: int) -> bytes:
  """The packet of pixels that were turned, alone in their file.

  `orientation` is the one that they had. Faces are placed in pixels as stored.
  """
  packet = _GONE.sub(b'', packet)
  if orientation > 1:
    packet = _REGION.sub(lambda m: _turned(m[0], orientation), packet)
    packet = _RECTANGLE.sub(lambda m: _turned_box(m, orientation), packet)
  return _replace(_ORIENTATION, packet, lambda old: 1)


def resized(
  packet: bytes, height: int, width: int, scale: float, form: str
) -> bytes:
  """The packet with the sizes of a scaled picture, and its file's format."""
  kind = b'image/' + form.lower().encode()
  larger = lambda old: round(old * scale)
  packet = _replace(_WIDTH, packet, lambda old: width)
  packet = _replace(_HEIGHT, packet, lambda old: height)
  packet = _FORMAT.sub(lambda m: m[1] + kind, packet)
  packet = _REGION.sub(lambda m: _replace(_REGION_SIZE, m[0], larger), packet)
  return _replace(_PANORAMA, packet, larger)


def _replace(
  pattern: re.Pattern[bytes], packet: bytes, new: Callable[[int], int]
) -> bytes:
  return pattern.sub(lambda m: m[1] + str(new(int(m[2]))).encode(), packet)


def _turned(region: bytes, orientation: int) -> bytes:
  """A region's element, of coordinates 0..1, as the pixels are turned."""
  values = {m[2]: m[4] for m in _REGION_PART.finditer(region)}

  def turn(found: Match) -> bytes:
    name = found[2]
    value = values.get(_SWAPPED[name] if orientation > 4 else name, found[4])
    if orientation in _FLIPPED.get(name, ()):
      value = f'{1 - float(value):.6g}'.encode()
    return found[1] + name + found[3] + value

  return _REGION_PART.sub(turn, region)


def _turned_box(found: Match, orientation: int) -> bytes:
  x, y, width, height = map(float, found.groups()[1:])
  if orientation > 4:
    x, y, width, height = y, x, height, width
  if orientation in _FLIPPED[b'x']:
    x = 1 - x - width
  if orientation in _FLIPPED[b'y']:
    y = 1 - y - height
  return found[1] + f'{x:.6g}, {y:.6g}, {width:.6g}, {height:.6g}'.encode()
