"""IPTC's records (IIM): in Photoshop's resources, as JPEG keeps them."""

import struct

_SIGNATURE, _KIND = b'8BIM', 0x404
MARKER = b'Photoshop 3.0\0'  # before the resources in a JPEG


def find(resources: bytes) -> bytes | None:
  """The records among resources; None where there are none."""
  position = 0
  while resources[position : position + 4] == _SIGNATURE:
    if position + 8 > len(resources):
      return None
    (kind,) = struct.unpack_from('>H', resources, position + 4)
    name = resources[position + 6]
    position += 6 + name + 1 + (name + 1) % 2
    if position + 4 > len(resources):
      return None
    (length,) = struct.unpack_from('>I', resources, position)
    if kind == _KIND:
      return resources[position + 4 : position + 4 + length] or None
    position += 4 + length + length % 2
  return None


def resource(records: bytes) -> bytes:
  """The records as the one resource."""
  head = _SIGNATURE + struct.pack('>HHI', _KIND, 0, len(records))
  return head + records + bytes(len(records) % 2)
