"""Metadata of BMP, GIF, JPEG 2000, PPM and PSD that Pillow does not read."""

import contextlib
import re
import struct
from typing import Any, BinaryIO

from PIL import Image

from srgan_jax.imaging import boxes

_MOST_BYTES = 2**24  # of a GIF that are searched, or of a profile
_BMP_HEADER, _BMP_EMBEDDED = 14, b'DEBM'
_GIF_XMP, _GIF_PROFILE = b'XMP DataXMP', b'ICCRGBG1012'
_GIF_XMP_END = b'\x01\xff\xfe'  # of what lets programs skip XMP
_UUIDS = {
  b'JpgTiffExif->JP2': 'exif',
  bytes.fromhex('0537cdab9d0c4431a72afa561f2a113e'): 'exif',
  bytes.fromhex('be7acfcb97a942e89c71999491e3afac'): 'xmp',
  bytes.fromhex('33c7a4d2b81d4723a0baf1a3e097ad38'): 'iptc',
}
_PPM_WORD = re.compile(rb'#[^\r\n]*|[^\s#]+')
_MOST_PPM_HEAD = 2**16  # bytes
_RESOURCES = {0x422: 'exif', 0x424: 'xmp'}
_RESOLUTION = 0x3ED


def read(image: Image.Image, stream: BinaryIO) -> dict[str, Any]:
  """Reads what there is of a `Picture`'s metadata."""
  with contextlib.suppress(IndexError, struct.error):  # damaged
    if image.format == 'BMP':
      return _of_bmp(stream)
    if image.format == 'GIF':
      stream.seek(0)
      return _of_gif(stream.read(_MOST_BYTES))
    if image.format == 'JPEG2000':
      return _of_jpeg_2000(stream)
    if image.format == 'PPM':
      stream.seek(0)
      return _of_ppm(stream.read(_MOST_PPM_HEAD))
    if image.format == 'PSD':
      return _of_psd(getattr(image, 'resources'))  # noqa: B009
  return {}


def _of_bmp(stream: BinaryIO) -> dict[str, Any]:
  """Reads the profile to which a header of version 5 points."""
  stream.seek(_BMP_HEADER)
  header = stream.read(124)
  if header[56:60] != _BMP_EMBEDDED:
    return {}
  place, size = struct.unpack('<II', header[112:120])
  stream.seek(_BMP_HEADER + place)
  return {'icc_profile': stream.read(min(size, _MOST_BYTES)) or None}


def _of_gif(data: bytes) -> dict[str, Any]:
  """Goes through the extensions before the first frame."""
  found = {}
  position = 13 + (6 << (data[10] & 7) if data[10] & 128 else 0)
  while data[position] == ord('!'):
    is_application, start = data[position + 1] == 255, position + 2
    position, pieces = start, []
    while size := data[position]:
      pieces.append(data[position + 1 : position + 1 + size])
      position += 1 + size
    position += 1
    if is_application and pieces[0] == _GIF_XMP:
      # It lies there as it is, not in pieces.
      packet = data[start + 12 : position]
      found['xmp'] = packet.rpartition(_GIF_XMP_END)[0]
    elif is_application and pieces[0] == _GIF_PROFILE:
      found['icc_profile'] = b''.join(pieces[1:])
  return found


def _of_jpeg_2000(stream: BinaryIO) -> dict[str, Any]:
  found = {}
  for kind, data in boxes.find(stream, b'jp2h', b'uuid'):
    if kind == b'uuid' and data[:16] in _UUIDS:
      found[_UUIDS[data[:16]]] = data[16:]
    for inner, colour in boxes.split(data) if kind == b'jp2h' else ():
      if inner == b'colr' and colour[:1] in (b'\2', b'\3'):  # a profile
        found['icc_profile'] = colour[3:]
  return found


def _of_ppm(head: bytes) -> dict[str, Any]:
  """Reads the comments between the words of a PBM's, PGM's or PPM's header."""
  left = {b'P1': 3, b'P4': 3}.get(head[:2], 4)  # PBM states no largest level
  comments = []
  for word in _PPM_WORD.finditer(head):
    if word[0].startswith(b'#'):
      comments.append(word[0][1:].strip())
    elif not (left := left - 1):
      break
  return {'comments': tuple(filter(None, comments))}


def _of_psd(resources: list[tuple[int, bytes, bytes]]) -> dict[str, Any]:
  found: dict[str, Any] = {}
  for kind, _, data in resources:
    if kind in _RESOURCES:
      found[_RESOURCES[kind]] = data
    elif kind == _RESOLUTION:
      x, y = struct.unpack('>I4xI', data[:12])
      found['dpi'] = (x / 65536, y / 65536)
  return found


def left_out_of_heif(info: dict[Any, Any]) -> list[str]:
  """Notes on further pictures, of what pillow-heif says of a HEIF."""
  notes = []
  if any('hdrgainmap' in kind for kind in info.get('aux') or ()):
    notes.append('its HDR gain map is left out')
  if info.get('depth_images'):
    notes.append('its depth map is left out')
  return notes
