"""IPTC records (IIM) in Photoshop resources, as JPEG files keep them."""

from collections.abc import Iterator, Mapping
import struct
from typing import Any

RECORDS = 0x404  # a resource's kind
_SIGNATURE = b'8BIM'
_COPYRIGHT_FLAG, _URL = 0x40A, 0x40B
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


def of_blocks(*blocks: bytes) -> tuple[bytes | None, dict[int, bytes]]:
  """The records and all resources of blocks, the first of each kind.

  A block may be the records alone, as some programs write a PNG's.
  """
  resources: dict[int, bytes] = {}
  for block in filter(None, blocks):
    found = dict(split(block)) or {RECORDS: block}
    resources = found | resources
  return resources.get(RECORDS), resources


def left_out(resources: Mapping[int, Any]) -> list[str]:
  """Notes on what a person may miss of resources, by kind."""
  lost = {
    'clipping paths are': any(kind in _PATHS for kind in resources),
    'copyright flag is': any(resources.get(_COPYRIGHT_FLAG, b'')),
    'URL is': resources.get(_URL),
  }
  return [f'its {what} left out' for what, value in lost.items() if value]


def resource(records: bytes) -> bytes:
  """Makes a resource of the records."""
  head = _SIGNATURE + struct.pack('>HHI', RECORDS, 0, len(records))
  return head + records + bytes(len(records) % 2)
