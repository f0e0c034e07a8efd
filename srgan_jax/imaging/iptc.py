"""IPTC records (IIM) in Photoshop resources, as JPEG files keep them."""

from collections.abc import Iterable, Iterator
import struct

RECORDS = 0x404  # a resource's kind
_SIGNATURE = b'8BIM'
_PATHS = range(2000, 2998)
MARKER = b'Photoshop 3.0\0'  # before the resources in a JPEG


def split(resources: bytes) -> Iterator[tuple[int, bytes]]:
  """The kinds and data of resources."""
  number = lambda place, size: int.from_bytes(resources[place : place + size])
  position = 0
  while resources[position : position + 4] == _SIGNATURE:
    kind, name = number(position + 4, 2), number(position + 6, 1)
    position += 6 + name + 1 + (name + 1) % 2
    start, length = position + 4, number(position, 4)
    yield kind, resources[start : start + length]
    position = start + length + length % 2


def left_out(kinds: Iterable[int]) -> list[str]:
  """A note on what a person may miss of resources of these kinds."""
  has_paths = any(kind in _PATHS for kind in kinds)
  return ['its clipping paths are left out'] if has_paths else []


def resource(records: bytes) -> bytes:
  """Makes a resource of the records."""
  head = _SIGNATURE + struct.pack('>HHI', RECORDS, 0, len(records))
  return head + records + bytes(len(records) % 2)
