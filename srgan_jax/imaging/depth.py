"""How many bits a channel a file has, where Pillow keeps eight of them."""

from typing import BinaryIO

from PIL import Image

from srgan_jax.imaging import boxes

_CODESTREAM = b'\xff\x4f\xff\x51'  # the start of a JPEG 2000's, and its sizes
_HEAD = 4096


def of_file(image: Image.Image, stream: BinaryIO) -> int:
  """The bits of a channel; 8 for formats that have no more."""
  stream.seek(0)
  head = stream.read(_HEAD)
  if boxes.is_isobmff(head):
    return boxes.read(stream).bits
  if image.format == 'JPEG2000':
    place = head.find(_CODESTREAM)
    size = head[place + 42 : place + 43] if place >= 0 else b''
    return (size[0] & 0x7F) + 1 if size else 8
  if image.format == 'SGI':
    return 8 * head[3]
  if image.format == 'PPM':
    words = [
      word for line in head.split(b'\n') for word in line.split(b'#')[0].split()
    ]
    if head[:2] in (b'P2', b'P3', b'P5', b'P6') and words[3:]:
      return int(words[3]).bit_length()
  return 8
