"""Chunks of WebP files (RFC 9649) that Pillow does not tell of."""

from collections.abc import Iterator
import os
import struct
from typing import BinaryIO

_HEAD = 12  # bytes: RIFF, the length, WEBP
_FRAME_HEAD = 16  # bytes before the chunks of an animation's frame
_KNOWN = (
  *(b'VP8 ', b'VP8L', b'VP8X', b'ALPH', b'ANIM', b'ANMF'),
  *(b'ICCP', b'EXIF', b'XMP '),
)


def is_lossless(stream: BinaryIO) -> bool:
  """Whether a file, or its first frame, is compressed without loss."""
  for kind in _kinds(stream, is_frame_entered=True):
    if kind in (b'VP8 ', b'VP8L'):
      return kind == b'VP8L'
  return False


def left_out(stream: BinaryIO) -> list[str]:
  """Notes on chunks that are not read, as content credentials (C2PA)."""
  others = dict.fromkeys(k for k in _kinds(stream) if k not in _KNOWN)
  names = ', '.join(kind.decode('latin-1').strip() for kind in others)
  return [f'chunks of an unknown kind are left out ({names})'] if others else []


def _kinds(stream: BinaryIO, is_frame_entered: bool = False) -> Iterator[bytes]:
  """The kinds of the chunks, in order."""
  stream.seek(4)
  end = 8 + int.from_bytes(stream.read(4), 'little')
  stream.seek(_HEAD)
  while stream.tell() < end and len(head := stream.read(8)) == 8:
    kind, length = struct.unpack('<4sI', head)
    yield kind
    # A frame's own chunks lie within it.
    is_entered = is_frame_entered and kind == b'ANMF'
    step = _FRAME_HEAD if is_entered else length + length % 2
    stream.seek(step, os.SEEK_CUR)
