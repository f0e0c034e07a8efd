"""Directories of fields, which TIFF files and EXIF blocks are made of.

Fields keep their bytes as they are: text in any encoding, rational numbers and
makers' own fields pass through. Both byte orders are read, and BigTIFF.
"""

from collections.abc import Mapping
import io
import os
import struct
from typing import BinaryIO, NamedTuple, Union

import numpy as np

EXIF, GPS, INTEROP = 0x8769, 0x8825, 0xA005

# Bytes a value, by the number of a field's type; LONG8 and its like are Big's.
_BYTES = {
  **dict.fromkeys((1, 2, 6, 7), 1),
  **dict.fromkeys((3, 8), 2),
  **dict.fromkeys((4, 9, 11, 13), 4),
  **dict.fromkeys((5, 10, 12, 16, 17, 18), 8),
}
_LETTERS = {1: 'B', 3: 'H', 4: 'I', 6: 'b', 8: 'h', 9: 'i', 13: 'I', 16: 'Q'}
_MOST_BYTES = 2**26  # of the fields of a directory
_MOST_PAGES = 10_000


class Form(NamedTuple):
  """How numbers are written: '<' or '>' first, and whether it is a BigTIFF."""

  order: str
  is_big: bool

  @property
  def word(self) -> str:
    """Struct's format of an offset."""
    return self.order + ('Q' if self.is_big else 'I')

  @property
  def entry(self) -> str:
    """Struct's format of an entry: tag, type, count, value or its offset."""
    return self.order + ('HHQ8s' if self.is_big else 'HHI4s')

  @property
  def counter(self) -> str:
    """Struct's format of the number of entries."""
    return self.order + ('Q' if self.is_big else 'H')


class Field(NamedTuple):
  """A field: the number of its type, how many values, and their bytes."""

  kind: int
  number: int
  data: bytes


Directory = Mapping[int, Union[Field, 'Directory']]


class Head(NamedTuple):
  """The beginning of a TIFF file or an EXIF block."""

  form: Form
  first: int  # where the first directory is


def head(stream: BinaryIO) -> Head | None:
  """Reads the beginning; None where it is no TIFF's."""
  stream.seek(0)
  start = stream.read(16)
  order = {b'II': '<', b'MM': '>'}.get(start[:2])
  if order and len(start) >= 8:
    if start[2:4] in (b'*\0', b'\0*'):
      return Head(Form(order, False), struct.unpack(order + 'I', start[4:8])[0])
    if start[2:4] in (b'+\0', b'\0+') and len(start) == 16:
      return Head(Form(order, True), struct.unpack(order + 'Q', start[8:])[0])
  return None


def read(stream: BinaryIO, form: Form, offset: int) -> dict[int, Field]:
  """The fields of the directory at an offset; those that are whole."""
  return {
    tag: field for tag, field, _ in entries(stream, form, offset) if field
  }


def entries(
  stream: BinaryIO, form: Form, offset: int
) -> list[tuple[int, Field | None, bytes]]:
  """Tag, field (None where it is not whole) and raw entry, in order."""
  end = stream.seek(0, os.SEEK_END)
  stream.seek(offset)
  raw_count = stream.read(struct.calcsize(form.counter))
  if len(raw_count) < struct.calcsize(form.counter):
    return []
  (count,) = struct.unpack(form.counter, raw_count)
  size = struct.calcsize(form.entry)
  table = stream.read(min(count, 65535) * size)
  found: list[tuple[int, Field | None, bytes]] = []
  left = _MOST_BYTES  # many fields may claim one place
  for start in range(0, len(table) // size * size, size):
    raw = table[start : start + size]
    tag, kind, number, value = struct.unpack(form.entry, raw)
    length = _BYTES.get(kind, 0) * number
    field = None
    if kind not in _BYTES:
      pass  # of no type that is known
    elif length <= len(value):
      field = Field(kind, number, value[:length])
    elif length <= left:
      place = struct.unpack(form.word, value)[0]
      if place + length <= end:
        stream.seek(place)
        left -= length
        field = Field(kind, number, stream.read(length))
    found.append((tag, field, raw))
  return found


def following(stream: BinaryIO, form: Form, offset: int) -> int:
  """Where the next directory is after the one at an offset; 0 for none."""
  stream.seek(offset)
  raw = stream.read(struct.calcsize(form.counter))
  if len(raw) < struct.calcsize(form.counter):
    return 0
  size = struct.unpack(form.counter, raw)[0] * struct.calcsize(form.entry)
  stream.seek(offset + len(raw) + size)
  raw = stream.read(struct.calcsize(form.word))
  if len(raw) < struct.calcsize(form.word):
    return 0
  return int(struct.unpack(form.word, raw)[0])


def pages(stream: BinaryIO, start: Head) -> int:
  """The number of pictures that follow each other in a file."""
  seen: set[int] = set()
  offset = start.first
  while offset and offset not in seen and len(seen) < _MOST_PAGES:
    seen.add(offset)
    offset = following(stream, start.form, offset)
  return len(seen)


def numbers(form: Form, field: Field | None) -> tuple[int, ...]:
  """The values of a field of whole numbers; none of another field."""
  if field is None or field.kind not in _LETTERS:
    return ()
  return struct.unpack(
    f'{form.order}{field.number}{_LETTERS[field.kind]}', field.data
  )


def rational(form: Form, field: Field | None) -> float | None:
  """The first value of a field of fractions."""
  if field is None or field.kind not in (5, 10) or not field.number:
    return None
  letter = 'I' if field.kind == 5 else 'i'
  above, below = struct.unpack(f'{form.order}2{letter}', field.data[:8])
  return above / below if below else None


def of_numbers(form: Form, kind: int, *values: int) -> Field:
  """A field of whole numbers."""
  data = struct.pack(f'{form.order}{len(values)}{_LETTERS[kind]}', *values)
  return Field(kind, len(values), data)


def of_fraction(form: Form, value: float) -> Field:
  """A field of one fraction, of at most 2**32."""
  parts = 10_000 if value < 2**18 else 1
  return Field(
    5, 1, struct.pack(form.order + '2I', round(value * parts), parts)
  )


def reordered(directory: Directory, order: str, to: str) -> Directory:
  """The same fields with their numbers' bytes in another order."""
  if order == to:
    return directory
  found: dict[int, Field | Directory] = {}
  for tag, item in directory.items():
    if isinstance(item, Field):
      # Fractions are of two numbers.
      size = 4 if item.kind in (5, 10) else _BYTES[item.kind]
      data = np.frombuffer(item.data, f'u{size}').byteswap().tobytes()
      found[tag] = item._replace(data=data)
    else:
      found[tag] = reordered(item, order, to)
  return found


def build(form: Form, directory: Directory, offset: int) -> bytes:
  """A directory, with those below it, as it stands at an offset of a file."""
  count = len(directory)
  size = struct.calcsize(form.counter) + count * struct.calcsize(form.entry)
  size += struct.calcsize(form.word)
  table, values = [struct.pack(form.counter, count)], io.BytesIO()

  def append(data: bytes) -> bytes:
    """The place of data behind the table."""
    values.write(b'\0' * (-(offset + size + values.tell()) % 8))
    place = struct.pack(form.word, offset + size + values.tell())
    values.write(data)
    return place

  for tag, item in sorted(directory.items()):
    if isinstance(item, Field):
      kind, number, data = item
    else:
      append(b'')
      data = build(form, item, offset + size + values.tell())
      kind, number = (16, 1) if form.is_big else (4, 1)
      data = append(data)
    if len(data) > struct.calcsize(form.word):
      data = append(data)
    data = data.ljust(struct.calcsize(form.word), b'\0')
    table.append(struct.pack(form.entry, tag, kind, number, data))
  return b''.join([*table, struct.pack(form.word, 0), values.getvalue()])
