"""EXIF, byte for byte, without what is no longer true of upscaled pixels.

A block is edited where it stands, so that all that refers to a place in it
(makers' notes do) stays right.
"""

import io
import struct
from typing import BinaryIO, NamedTuple

from srgan_jax.imaging import ifd

PREFIX = b'Exif\0\0'

ORIENTATION, DESCRIPTION = 0x112, 0x10E
_RESOLUTION = {0x11A, 0x11B, 0x128}
# Tags that describe how the file's pixels were stored: no longer true. XMP,
# IPTC and the ICC profile, which are kept elsewhere, and Photoshop's layers.
_STORAGE = {
  *(0xFE, 0xFF, 0x100, 0x101, 0x102, 0x103, 0x106, 0x10A, 0x111, 0x112),
  *(0x115, 0x116, 0x117, 0x11C, 0x13D, 0x140, 0x142, *_RESOLUTION),
  *(0x143, 0x144, 0x145, 0x14A, 0x152, 0x153, 0x15B, 0x201, 0x202, 0x211),
  *(0x212, 0x213, 0x214, 0x2BC, 0x83BB, 0x8649, 0x8773, 0x107, 0x118, 0x119),
  *(0x120, 0x121, 0x122, 0x123, 0x124, 0x125, 0x12D, 0x153, 0x154, 0x155),
  *(0x935C, 0x200, 0x203, 0x205, 0x206, 0x207, 0x208, 0x209, 0x141, 0x150),
  # ImageJ's, MicroManager's, Zeiss's and GDAL's plans of the file.
  *(0xC696, 0xC697, 0xC7B3, 0x866C, 0xA480, 0xA481),
}
# Tags that place the old file's pixels on a map, and GeoTIFF's keys to them.
GEOREFERENCE = {
  *(0x830E, 0x8480, 0x8482, 0x85D8, 0x87AF, 0x87B0, 0x87B1, 0xC69C),
}
# Of the Exif directory: what counts pixels.
_PIXEL = {0x9214, 0xA002, 0xA003, 0xA20E, 0xA20F, 0xA210, 0xA214}
_BELOW = (ifd.EXIF, ifd.GPS, ifd.INTEROP)


class Cleaned(NamedTuple):
  """What is left of EXIF.

  Attributes:
    block: with its prefix; None where nothing is left.
    is_georeferenced: whether a map's tags were among what is not.
  """

  block: bytes | None
  is_georeferenced: bool = False


def orientation(block: bytes) -> int:
  """1..8, as a block says."""
  stream = io.BytesIO(block.removeprefix(PREFIX))
  if start := ifd.head(stream):
    field = ifd.read(stream, start.form, start.first).get(ORIENTATION)
    return next(iter(ifd.numbers(start.form, field)), 1)
  return 1


def clean(block: bytes) -> Cleaned:
  """A block of EXIF without what was true of the old file's pixels alone."""
  data = bytearray(block.removeprefix(PREFIX))
  start = ifd.head(io.BytesIO(data))
  if not start or start.form.is_big:
    return Cleaned(None)
  form, was_georeferenced = start.form, False

  def edit(offset: int, dropped: set[int]) -> int:
    """Leaves out fields, and what follows the directory; how many are left."""
    nonlocal was_georeferenced
    kept = []
    stream = io.BytesIO(bytes(data))
    found = ifd.entries(stream, form, offset)
    for tag, field, raw in found:
      was_georeferenced |= tag in GEOREFERENCE
      if field is None or tag in dropped:
        continue
      if tag in _BELOW:
        below = next(iter(ifd.numbers(form, field)), 0)
        if not 8 <= below < len(data) or not edit(below, _PIXEL):
          continue
      kept.append(raw)
    if found:
      table = struct.pack(form.counter, len(kept)) + b''.join(kept) + bytes(4)
      length = 2 + 12 * len(found) + 4
      table = table.ljust(length, b'\0')[: len(data) - offset]
      data[offset : offset + len(table)] = table
    return len(kept)

  following = ifd.following(io.BytesIO(data), form, start.first)
  _forget_thumbnail(data, form, following)
  is_left = edit(start.first, _STORAGE | GEOREFERENCE)
  return Cleaned(PREFIX + bytes(data) if is_left else None, was_georeferenced)


def _forget_thumbnail(data: bytearray, form: ifd.Form, offset: int) -> None:
  """Takes the small picture of a block's second directory out of it."""
  if not offset:
    return
  fields = ifd.read(io.BytesIO(data), form, offset)
  first = next(iter(ifd.numbers(form, fields.get(0x201))), 0)
  length = next(iter(ifd.numbers(form, fields.get(0x202))), 0)
  end = first + length
  if 8 <= first < end <= len(data):
    if end >= len(data) - 1:
      del data[first:]
    else:
      data[first:end] = bytes(length)


def of_tiff(stream: BinaryIO, start: ifd.Head) -> Cleaned:
  """A TIFF's own fields as a block of EXIF."""
  found = nested(stream, start.form, start.first)
  kept: dict[int, ifd.Field | ifd.Directory] = {
    tag: field
    for tag, field in found.items()
    if tag not in _STORAGE | GEOREFERENCE
    and not (tag == DESCRIPTION and describes_pixels(field))
  }
  camera = kept.pop(ifd.EXIF, {})
  assert not isinstance(camera, ifd.Field)
  if camera := {t: f for t, f in camera.items() if t not in _PIXEL}:
    kept[ifd.EXIF] = camera
  is_georeferenced = not GEOREFERENCE.isdisjoint(found)
  if not kept:
    return Cleaned(None, is_georeferenced)
  form = ifd.Form(start.form.order, False)
  block = b'II' if form.order == '<' else b'MM'
  block += struct.pack(form.order + 'HI', 42, 8)
  block += ifd.build(form, kept, len(block))
  return Cleaned(PREFIX + block, is_georeferenced)


def describes_pixels(description: ifd.Field | ifd.Directory | None) -> bool:
  """Whether it is a microscope's or a program's plan of the file's pages."""
  return isinstance(description, ifd.Field) and bool(
    description.data.startswith((b'ImageJ=', b'{"shape"'))
    or b'<OME' in description.data[:4096]
  )


def fields(block: bytes, order: str) -> ifd.Directory:
  """The fields of a block, with the directories below, in a byte order."""
  stream = io.BytesIO(block.removeprefix(PREFIX))
  start = ifd.head(stream)
  if not start:
    return {}
  found = nested(stream, start.form, start.first)
  return ifd.reordered(found, start.form.order, order)


def nested(
  stream: BinaryIO,
  form: ifd.Form,
  offset: int,
  below: tuple[int, ...] = (ifd.EXIF, ifd.GPS),
) -> dict[int, ifd.Field | ifd.Directory]:
  """The fields of a directory, and the directories below it."""
  found: dict[int, ifd.Field | ifd.Directory] = {}
  for tag, field in ifd.read(stream, form, offset).items():
    if tag not in _BELOW:
      found[tag] = field
    elif tag in below:
      place = next(iter(ifd.numbers(form, field)), 0)
      further = (ifd.INTEROP,) if tag == ifd.EXIF else ()
      if place and (directory := nested(stream, form, place, further)):
        found[tag] = directory
  return found
