"""Directories of fields, as in TIFF files and EXIF blocks.

Fields keep their bytes: text in any encoding, rationals and makers' own fields
pass through. Reads both byte orders, and BigTIFF.
"""

from collections.abc import Mapping
import io
import os
import struct
from typing import BinaryIO, NamedTuple, Union

import numpy as np

EXIF, GPS, INTEROP = 0x8769, 0x8825, 0xA005

# Bytes a value, by the number of a field's type; LONG8 and its like are Big's,
# 129 is EXIF 3.0's UTF-8.
_BYTES = {
  **dict.fromkeys((1, 2, 6, 7, 129), 1),
  **dict.fromkeys((3, 8), 2),
  **dict.fromkeys((4, 9, 11, 13), 4),
  **dict.fromkeys((5, 10, 12, 16, 17, 18), 8),
}
_LETTERS = {1: 'B', 3: 'H', 4: 'I', 6: 'b', 8: 'h', 9: 'i', 13: 'I', 16: 'Q'}
_MOST_BYTES = 2**26  # of the fields of a directory
_MOST_PAGES = 10_000
_LONGEST_HEAD = 16  # bytes


class Form(NamedTuple):
  """The byte order, '<' or '>', and whether the file is a BigTIFF."""

  order: str
  is_big: bool

  @property
  def structs(self) -> tuple[struct.Struct, struct.Struct, struct.Struct]:
    """How the entry count, an entry and an offset are packed.

    An entry is tag, type, count and value; a value that is longer than an
    offset lies elsewhere, and the entry has its offset.
    """
    formats = ('Q', 'HHQ8s', 'Q') if self.is_big else ('H', 'HHI4s', 'I')
    counter, entry, offset = (struct.Struct(self.order + f) for f in formats)
    return counter, entry, offset


class Field(NamedTuple):
  """A field: its type, how many values it has, their bytes and byte order.

  `place` is where the bytes lie if not within the entry; 0 where that is new.
  """

  kind: int
  number: int
  data: bytes
  order: str = '<'
  place: int = 0

  def in_order(self, order: str) -> bytes:
    """The bytes in another byte order."""
    # Fractions are of two numbers.
    size = 4 if self.kind in (5, 10) else _BYTES[self.kind]
    if size == 1 or order == self.order:
      return self.data
    return np.frombuffer(self.data, f'u{size}').byteswap().tobytes()


Directory = Mapping[int, Union[Field, 'Directory']]


class Fields(dict[int, Field]):
  """The fields of one directory by tag, without subdirectories."""

  def numbers(self, tag: int, *default: int) -> tuple[int, ...]:
    """The integers of a field, or the default."""
    field = self.get(tag)
    if field is None or field.kind not in _LETTERS:
      return default
    letter = f'{field.order}{field.number}{_LETTERS[field.kind]}'
    return struct.unpack(letter, field.data) or default

  def number(self, tag: int, default: int = 0) -> int:
    """The first integer of a field, or the default."""
    return self.numbers(tag, default)[0]

  def fraction(self, tag: int) -> float:
    """The first rational of a field, or 0."""
    field = self.get(tag)
    if field is None or field.kind not in (5, 10) or not field.number:
      return 0
    letter = 'I' if field.kind == 5 else 'i'
    above, below = struct.unpack(f'{field.order}2{letter}', field.data[:8])
    return above / below if below else 0

  def data(self, tag: int) -> bytes | None:
    """The bytes of a field, if it is there."""
    return self[tag].data if tag in self else None


def head(stream: BinaryIO) -> tuple[Form, int] | None:
  """Reads the form and the first directory's offset; None if no TIFF's."""
  stream.seek(0)
  start = stream.read(16)
  order = {b'II': '<', b'MM': '>'}.get(start[:2])
  if order and len(start) >= 8:
    if start[2:4] in (b'*\0', b'\0*'):
      return Form(order, False), struct.unpack(order + 'I', start[4:8])[0]
    if start[2:4] in (b'+\0', b'\0+') and len(start) == 16:
      return Form(order, True), struct.unpack(order + 'Q', start[8:])[0]
  return None


def beginning(form: Form, first: int) -> bytes:
  """The header that `head` reads."""
  order, mark = form.order, b'II' if form.order == '<' else b'MM'
  if form.is_big:
    return mark + struct.pack(order + 'HHHQ', 43, 8, 0, first)
  return mark + struct.pack(order + 'HI', 42, first)


def read(stream: BinaryIO, form: Form, offset: int) -> Fields:
  """Reads the directory at an offset, without damaged fields."""
  found = entries(stream, form, offset)
  return Fields({tag: field for tag, field, _ in found if field})


def entries(
  stream: BinaryIO, form: Form, offset: int
) -> list[tuple[int, Field | None, bytes]]:
  """Reads a directory: tags, fields (None if damaged) and raw entries."""
  counter, entry, word = form.structs
  end = stream.seek(0, os.SEEK_END)
  count = _read_number(stream, counter, offset)
  table = stream.read(min(count, 65535) * entry.size)
  found: list[tuple[int, Field | None, bytes]] = []
  left = _MOST_BYTES  # many fields may claim one place
  for start in range(0, len(table) // entry.size * entry.size, entry.size):
    raw = table[start : start + entry.size]
    tag, kind, number, value = entry.unpack(raw)
    length = _BYTES.get(kind, 0) * number
    field = None
    if kind not in _BYTES:
      pass  # an unknown type
    elif length <= len(value):
      field = Field(kind, number, value[:length], form.order)
    elif length <= left:
      place = word.unpack(value)[0]
      if place + length <= end:
        stream.seek(place)
        left -= length
        field = Field(kind, number, stream.read(length), form.order, place)
    found.append((tag, field, raw))
  return found


def following(stream: BinaryIO, form: Form, offset: int) -> int:
  """The offset of the directory after the one at an offset, or 0."""
  counter, entry, word = form.structs
  count = _read_number(stream, counter, offset)
  end = offset + counter.size + count * entry.size
  return _read_number(stream, word, end)


def _read_number(stream: BinaryIO, form: struct.Struct, offset: int) -> int:
  """Reads the number at an offset; 0 past the end of the file."""
  stream.seek(offset)
  raw = stream.read(form.size)
  return int(form.unpack(raw)[0]) if len(raw) == form.size else 0


def pages(stream: BinaryIO, form: Form, offset: int) -> list[int]:
  """The offsets of the directories of the chain that starts at one."""
  seen: dict[int, None] = {}
  while offset and offset not in seen and len(seen) < _MOST_PAGES:
    seen[offset] = None
    offset = following(stream, form, offset)
  return list(seen)


def of_numbers(kind: int, *values: int) -> Field:
  """A field of integers."""
  data = struct.pack(f'<{len(values)}{_LETTERS[kind]}', *values)
  return Field(kind, len(values), data)


def of_fraction(value: float) -> Field:
  """A field of one rational, up to 2**32."""
  parts = 10_000 if value < 2**18 else 1
  return Field(5, 1, struct.pack('<2I', round(value * parts), parts))


def block(form: Form, directory: Directory) -> bytes:
  """A header, and the directory behind it; of no BigTIFF."""
  return beginning(form, 8) + build(form, directory, 8)


def build(form: Form, directory: Directory, offset: int) -> bytes:
  """Encodes a directory and its subdirectories for an offset in a file.

  The file has the bytes of fields with a place already; those in the form's
  order stay there.
  """
  counter, entry, word = form.structs
  table, values = [counter.pack(len(directory))], io.BytesIO()
  start = offset + counter.size + len(directory) * entry.size + word.size

  def append(data: bytes) -> bytes:
    """Puts data behind the table; returns its offset, encoded."""
    values.write(b'\0' * (-(start + values.tell()) % 8))
    place = word.pack(start + values.tell())
    values.write(data)
    return place

  for tag, item in sorted(directory.items()):
    if isinstance(item, Field):
      kind, number, data = item.kind, item.number, item.in_order(form.order)
      is_there = item.place >= _LONGEST_HEAD and item.order == form.order
      if is_there and len(data) > word.size:
        data = word.pack(item.place)
    else:
      append(b'')
      data = build(form, item, start + values.tell())
      kind, number = (16, 1) if form.is_big else (4, 1)
      data = append(data)
    if len(data) > word.size:
      data = append(data)
    table.append(entry.pack(tag, kind, number, data))
  return b''.join([*table, word.pack(0), values.getvalue()])
