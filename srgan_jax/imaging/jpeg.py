"""What a JPEG holds besides its picture and the metadata that are kept."""

from collections.abc import Iterator, Sequence
import io
import re
import struct
from typing import BinaryIO

from srgan_jax.imaging import ifd

Segment = tuple[str, bytes]  # as Pillow's `applist` has them

# Segments that are read, noted elsewhere, or say nothing of it.
_KNOWN = re.compile(
  b'JFIF|JFXX|AVI1|Exif|http://ns.adobe.com/|ICC_PROFILE|MPF|'
  b'urn:iso:std:iso:ts:21496|Photoshop 3.0|Adobe|Ducky|\0*$'
)
_DUCKY = b'Ducky'  # by Photoshop's export for the web
_DUCKY_TEXTS = {2: 'comment', 3: 'copyright'}
_TRAILERS = {  # which programs look for at the end
  'AFCP': re.compile(rb'AXS[!*].{8}\Z', re.DOTALL),
  'FotoStation': re.compile(rb'\xa1\xb2\xc3\xd4\Z'),
  'PhotoMechanic': re.compile(rb'cbipcbbl\Z'),
}
_VIDEO = re.compile(
  rb'\0\0\0.ftyp(?:iso|mp4|qt  |avc1|hvc1|3gp|M4V)', re.DOTALL
)
# But for stuffed bytes and restarts, which lie within compressed data.
_MARKER = re.compile(rb'\xff([^\0\xd0-\xd7\xff])', re.DOTALL)
_END = b'\xd9'
_MPF = b'MPF\0'  # before the index of several pictures
_PICTURES, _PICTURE_BYTES = 0xB002, 16  # its field, and of each in it


def left_out(segments: Sequence[Segment], stream: BinaryIO) -> list[str]:
  """Notes on what else a file of these segments holds."""
  others = [
    f'{kind} {data[:20].partition(bytes(1))[0].decode("latin-1")}'.strip()
    for kind, data in segments
    if kind != 'COM' and not _KNOWN.match(data)
  ]
  notes = []
  if others:
    names = ', '.join(dict.fromkeys(others))
    notes.append(f'segments of an unknown kind are left out ({names})')
  for kind, data in segments:
    if kind == 'APP12' and data.startswith(_DUCKY):
      notes += [f"Ducky's {name} is left out" for name in _texts(data)]
  stream.seek(0)
  index = next((d for _, d in segments if d.startswith(_MPF)), b'')
  return notes + _behind(stream.read(), index)


def _texts(ducky: bytes) -> Iterator[str]:
  """The names of the texts in a segment of Photoshop's."""
  position = len(_DUCKY)
  while position + 4 <= len(ducky):
    kind, length = struct.unpack_from('>HH', ducky, position)
    if kind in _DUCKY_TEXTS and length:
      yield _DUCKY_TEXTS[kind]
    position += 4 + length


def _behind(data: bytes, index: bytes) -> list[str]:
  """Notes on what lies behind a file's pictures; `index` is MPF's segment."""
  notes = ['its video is left out'] if _VIDEO.search(data) else []
  for name, end in _TRAILERS.items():
    if end.search(data[-12:]):
      notes.append(f"{name}'s trailer is left out")
  rest = data[max(_end(data), *_ends_by(index, data.find(index))) :].strip(
    b'\0\r\n '
  )
  if rest and not notes:
    notes.append(f'{len(rest)} bytes behind its end are left out')
  return notes


def _end(data: bytes) -> int:
  """Where the first picture ends."""
  position = 2
  while found := _MARKER.search(data, position):
    position = found.end()
    if found[1] == _END:
      return position
    position += int.from_bytes(data[position : position + 2])
  return len(data)


def _ends_by(index: bytes, place: int) -> list[int]:
  """Where all pictures end, as the index (CIPA DC-007) at a place says."""
  stream, base = io.BytesIO(index[len(_MPF) :]), place + len(_MPF)
  start = ifd.head(stream)
  table = start and ifd.read(stream, *start).get(_PICTURES)
  if not table:
    return [0]
  whole = len(table.data) // _PICTURE_BYTES * _PICTURE_BYTES
  parts = struct.iter_unpack(f'{table.order}4x2I4x', table.data[:whole])
  return [0, *(base + offset + size for size, offset in parts if offset)]
