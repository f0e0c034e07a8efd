"""Boxes of AVIF, HEIF and JPEG 2000 files: stated colours, bits a channel.

ISO/IEC 14496-12, 23008-12 and 15444-1. Pillow reads none of these, and gives
pixels of 8 bits.
"""

from collections.abc import Iterator
import os
import struct
from typing import BinaryIO

_MOST_META = 2**24  # bytes of the box of all that is no pixel

_C2PA = bytes.fromhex('d8fec3d61b0e483c92975828877ec481')

Cicp = tuple[int, int]  # primaries and transfer, by ITU-T H.273's numbers


def is_isobmff(head: bytes) -> bool:
  """Whether a file's first bytes are an AVIF's or HEIF's."""
  return head[4:8] == b'ftyp'


def read(stream: BinaryIO) -> tuple[Cicp | None, int]:
  """Reads the main picture's stated colours and its bits a channel.

  They are None and 8 if boxes are damaged.
  """
  try:
    return _read(stream)
  except (ValueError, IndexError, struct.error):
    return None, 8


def levels(stream: BinaryIO) -> list[str]:
  """Names the main picture's boxes of the light that HDR is made for."""
  try:
    kinds = dict(_properties(stream))
  except (ValueError, IndexError, struct.error):
    return []
  return [kind.decode() for kind in (b'mdcv', b'clli') if kind in kinds]


def _properties(stream: BinaryIO) -> list[tuple[bytes, bytes]]:
  """The main picture's properties."""
  meta = next((data for _, data in find(stream, b'meta')), b'')
  inside = dict(split(meta[4:]))  # behind version and flags
  main_box = inside.get(b'pitm', bytes(8))
  main = _number(main_box, 4, 4 if main_box[0] else 2)
  inner = list(split(inside.get(b'iprp', b'')))
  properties = list(split(dict(inner).get(b'ipco', b'')))
  tables = [data for kind, data in inner if kind == b'ipma']
  indices = [i for table in tables for i in _associations(table, main)]
  return [properties[i - 1] for i in indices if 0 < i <= len(properties)]


def _read(stream: BinaryIO) -> tuple[Cicp | None, int]:
  cicp: Cicp | None = None
  bits = 8
  for kind, data in _properties(stream):
    if kind == b'colr' and data[:4] == b'nclx' and len(data) >= 8:
      cicp = struct.unpack('>HH', data[4:8])
    elif kind == b'pixi' and len(data) > 5:
      bits = max(data[5:])
    elif kind == b'av1C' and len(data) > 2:
      high, twelve = data[2] >> 6 & 1, data[2] >> 5 & 1
      bits = max(bits, 8 + 2 * high + 2 * (high & twelve))
  return cicp, bits


def with_cicp(data: bytes, cicp: Cicp) -> bytes:
  """Changes the colours that an AVIF of one picture states.

  `data` is as libavif writes it: the first nclx box is of that picture.
  """
  head, colour, rest = data.partition(b'colrnclx')
  if not colour:
    raise ValueError('an AVIF that states no colour was written')
  return head + colour + struct.pack('>HH', *cicp) + rest[4:]


def has_credentials(stream: BinaryIO) -> bool:
  """Whether an AVIF, HEIF or JPEG 2000 has content credentials (C2PA)."""
  return any(data.startswith(_C2PA) for _, data in find(stream, b'uuid'))


def find(stream: BinaryIO, *kinds: bytes) -> Iterator[tuple[bytes, bytes]]:
  """The boxes of a file that are of some kinds, up to 16 MiB of each."""
  end = stream.seek(0, os.SEEK_END)
  position = 0
  while position + 8 <= end:
    stream.seek(position)
    length, kind = struct.unpack('>I4s', stream.read(8))
    head = 8
    if length == 1:
      (length,), head = struct.unpack('>Q', stream.read(8).rjust(8)), 16
    length = length or end - position
    if kind in kinds:
      yield kind, stream.read(min(max(0, length - head), _MOST_META))
    position += max(length, 8)


def split(data: bytes) -> Iterator[tuple[bytes, bytes]]:
  """The boxes inside another."""
  position = 0
  while position + 8 <= len(data):
    length, kind = struct.unpack_from('>I4s', data, position)
    length = length or len(data) - position
    if length < 8:  # 64-bit lengths are the pixels'
      return
    yield kind, data[position + 8 : position + length]
    position += length


def _associations(data: bytes, main: int) -> list[int]:
  """The numbers of an item's properties, from 1 on."""
  size = 4 if data[0] else 2
  width, mask = (2, 0x7FFF) if data[3] & 1 else (1, 0x7F)
  position = 8
  for _ in range(_number(data, 4, 4)):
    item = _number(data, position, size)
    first = position + size + 1
    position = first + width * _number(data, position + size, 1)
    if item == main:
      return [
        _number(data, place, width) & mask
        for place in range(first, position, width)
      ]
  return []


def _number(data: bytes, position: int, size: int) -> int:
  if position + size > len(data):
    raise ValueError('a box that is cut off')
  return int.from_bytes(data[position : position + size], 'big')
