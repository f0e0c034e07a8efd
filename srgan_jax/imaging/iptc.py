"""IPTC records (IIM) in Photoshop resources, as JPEG files keep them."""

import struct

_SIGNATURE, _KIND = b'8BIM', 0x404
MARKER = b'Photoshop 3.0\0'  # before the resources in a JPEG


def find(resources: bytes) -> bytes | None:
  """Finds the records among resources."""
  number = lambda place, size: int.from_bytes(resources[place : place + size])
  position = 0
  while resources[position : position + 4] == _SIGNATURE:
    kind, name = number(position + 4, 2), number(position + 6, 1)
    position += 6 + name + 1 + (name + 1) % 2
    start, length = position + 4, number(position, 4)
    if kind == _KIND:
      return resources[start : start + length] or None
    position = start + length + length % 2
  return None


def resource(records: bytes) -> bytes:
  """Makes a resource of the records."""
  head = _SIGNATURE + struct.pack('>HHI', _KIND, 0, len(records))
  return head + records + bytes(len(records) % 2)
