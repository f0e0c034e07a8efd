"""EXIF, byte for byte, without what is no longer true of upscaled pixels.

A block is edited in place, so that offsets into it, as makers' notes have them,
stay valid.
"""

from collections.abc import Collection, Iterable
import io
from typing import BinaryIO

from srgan_jax.imaging import ifd, resolution

PREFIX = b'Exif\0\0'

ORIENTATION, DESCRIPTION, _CREDENTIALS = 0x112, 0x10E, 0xCD41
# Tags that describe how the file's pixels were stored: no longer true. XMP,
# IPTC and the ICC profile, which are kept elsewhere, Photoshop's layers, and
# content credentials (C2PA), which sign the old file.
_STORAGE = {
  *(0xFE, 0xFF, 0x100, 0x101, 0x102, 0x103, 0x106, 0x107, 0x10A, 0x111, 0x112),
  *(0x115, 0x116, 0x117, 0x118, 0x119, 0x11C, 0x120, 0x121),
  *(0x122, 0x123, 0x124, 0x125, 0x12D, 0x13D, 0x140, 0x141, 0x142),
  *(0x143, 0x144, 0x145, 0x14A, 0x150, 0x152, 0x153, 0x154, 0x155, 0x15B),
  *(0x200, 0x201, 0x202, 0x203, 0x205, 0x206, 0x207, 0x208, 0x209, 0x211),
  *(0x212, 0x213, 0x214, 0x2BC, 0x83BB, 0x8649, 0x8773, 0x935C, _CREDENTIALS),
  # ImageJ's, MicroManager's, Zeiss's and GDAL's plans of the file.
  *(0xC696, 0xC697, 0xC7B3, 0x866C, 0xA480, 0xA481),
}
# Kept elsewhere too: here it only stays where both are the same.
_RESOLUTION = {resolution.X, resolution.Y, resolution.UNIT}
# Tags that place the old file's pixels on a map, and GeoTIFF's keys to them.
_GEOREFERENCE = {
  *(0x830E, 0x8480, 0x8482, 0x85D8, 0x87AF, 0x87B0, 0x87B1, 0xC69C),
}
# Of the Exif directory and those below: what counts pixels.
_PIXEL = {
  *(0x1001, 0x1002, 0x9214, 0xA002, 0xA003, 0xA20E, 0xA20F, 0xA210, 0xA214),
}
# Directories, and those that may lie below them.
_BELOW = {ifd.EXIF: (ifd.INTEROP,), ifd.GPS: (), ifd.INTEROP: ()}
_TOP = (ifd.EXIF, ifd.GPS)
NO_CREDENTIALS = 'its content credentials are left out'
_NO_MAP = 'its georeference is for other pixels: dropped'


def orientation(block: bytes) -> int:
  """The orientation that a block states, 1..8; 0 if it states none."""
  return _first(block).number(ORIENTATION)


def stated_resolution(
  block: bytes,
) -> tuple[resolution.Dpi | None, resolution.Aspect | None]:
  """The resolution that a block states, or else the aspect of its pixels."""
  return resolution.of_fields(_first(block))


def _first(block: bytes) -> ifd.Fields:
  """Reads the fields of a block's first directory."""
  stream = io.BytesIO(block.removeprefix(PREFIX))
  start = ifd.head(stream)
  if not start or start[0].is_big:
    return ifd.Fields()
  return ifd.read(stream, *start)


def clean(
  block: bytes, dpi: resolution.Dpi | None = None
) -> tuple[bytes | None, list[str]]:
  """Removes the tags that hold for the old file's pixels alone.

  Args:
    block: with or without its prefix.
    dpi: the picture's, upright: the block's own stays if it is the same.

  Returns:
    The block with its prefix, None if nothing is left; and notes on what a
    person may miss.
  """
  data = bytearray(block.removeprefix(PREFIX))
  start = ifd.head(io.BytesIO(data))
  if not start or start[0].is_big:
    return None, []
  form, first = start
  counter, entry, word = form.structs
  tags: set[int] = set()

  def edit(offset: int, dropped: set[int], below: tuple[int, ...]) -> int:
    """Removes fields and the next directory's offset; counts what is left."""
    kept = []
    found = ifd.entries(io.BytesIO(data), form, offset)
    for tag, field, raw in found:
      tags.add(tag)
      if field is None or tag in dropped:
        continue
      if tag in _BELOW:
        place = ifd.Fields({tag: field}).number(tag)
        is_whole = tag in below and 8 <= place < len(data)
        if not is_whole or not edit(place, _PIXEL, _BELOW[tag]):
          continue
      kept.append(raw)
    if found:
      table = counter.pack(len(kept)) + b''.join(kept)
      length = counter.size + entry.size * len(found) + word.size
      table = table.ljust(length, b'\0')[: len(data) - offset]
      data[offset : offset + len(table)] = table
    return len(kept)

  _forget_thumbnail(data, form, first)
  dropped = _STORAGE | _GEOREFERENCE
  if not resolution.is_same(stated_resolution(block)[0], dpi):
    dropped = dropped | _RESOLUTION
  is_left = edit(first, dropped, _TOP)
  return PREFIX + bytes(data) if is_left else None, _left_out(tags)


def _left_out(tags: Collection[int]) -> list[str]:
  """Notes on what a person may miss of the fields that are removed."""
  notes = [] if _GEOREFERENCE.isdisjoint(tags) else [_NO_MAP]
  return notes + [NO_CREDENTIALS] * (_CREDENTIALS in tags)


def _forget_thumbnail(data: bytearray, form: ifd.Form, first: int) -> None:
  """Removes the thumbnail, to which the second directory points."""
  stream = io.BytesIO(data)
  offset = ifd.following(stream, form, first)
  if not offset:
    return
  fields = ifd.read(stream, form, offset)
  start = fields.number(0x201)
  end = start + fields.number(0x202)
  if 8 <= start < end <= len(data):
    if end >= len(data) - 1:
      del data[start:]
    else:
      data[start:end] = bytes(end - start)


def of_tiff(
  stream: BinaryIO, form: ifd.Form, places: Iterable[int]
) -> tuple[bytes | None, list[str]]:
  """Makes a block of the fields of a TIFF's directories.

  Returns what `clean` does.
  """
  found: dict[int, ifd.Field | ifd.Directory] = {}
  for place in places:
    found |= _nested(stream, form, place)
  description = found.get(DESCRIPTION)
  dropped, notes = _STORAGE | _RESOLUTION | _GEOREFERENCE, _left_out(found)
  if isinstance(description, ifd.Field) and _is_plan(description.data):
    dropped = dropped | {DESCRIPTION}
    # A few words of tifffile's own are no loss.
    if not description.data.startswith(b'{'):
      notes.append('its description is a plan of other pixels: dropped')
  if not (kept := _without(found, dropped)):
    return None, notes
  form = form._replace(is_big=False)
  return PREFIX + ifd.block(form, kept), notes


def _without(found: ifd.Directory, dropped: set[int]) -> ifd.Directory:
  """A directory for another file, without some fields.

  Below it, what counts pixels is left out.
  """
  kept = {
    tag: item._replace(place=0)
    if isinstance(item, ifd.Field)
    else _without(item, _PIXEL)
    for tag, item in found.items()
    if tag not in dropped
  }
  return {tag: item for tag, item in kept.items() if item}


def _is_plan(description: bytes) -> bool:
  """Whether a microscope or a program describes the file's pages in it."""
  plans = b'ImageJ=', b'{"shape"'
  return description.startswith(plans) or b'<OME' in description[:4096]


def fields(block: bytes) -> ifd.Directory:
  """Reads the fields of a block and its subdirectories."""
  stream = io.BytesIO(block.removeprefix(PREFIX))
  start = ifd.head(stream)
  return _nested(stream, *start) if start else {}


def _nested(
  stream: BinaryIO,
  form: ifd.Form,
  offset: int,
  below: tuple[int, ...] = _TOP,
) -> dict[int, ifd.Field | ifd.Directory]:
  """Reads the fields of a directory and its subdirectories."""
  found: dict[int, ifd.Field | ifd.Directory] = {}
  fields = ifd.read(stream, form, offset)
  for tag, field in fields.items():
    if tag not in _BELOW:
      found[tag] = field
    elif tag in below and (place := fields.number(tag)):
      if directory := _nested(stream, form, place, _BELOW[tag]):
        found[tag] = directory
  return found
