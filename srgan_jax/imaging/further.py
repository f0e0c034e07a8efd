"""XMP, IPTC, comments and text: what people write into pictures besides EXIF.

They are kept byte for byte where the format that is written has a place for
them; sizes in XMP are made the new picture's.
"""

import binascii
import dataclasses
import re
import struct
from typing import Any, BinaryIO

from srgan_jax.imaging import photoshop, png

XMP_KEYWORD = 'XML:com.adobe.xmp'
_RAW_PROFILES = {
  'exif': ('Raw profile type exif', 'Raw profile type APP1'),
  'iptc': ('Raw profile type iptc', 'Raw profile type 8bim'),
}
# Text that holds no words: what it has is kept, or dropped, elsewhere.
_MACHINES = {XMP_KEYWORD, *sum(_RAW_PROFILES.values(), ())} | {
  f'Raw profile type {kind}' for kind in ('icc', 'icm', 'xmp')
}
_MOST_SEGMENT = 65533  # bytes in a segment of a JPEG
_XMP_MARKER = 29  # bytes before XMP in a segment


@dataclasses.dataclass(frozen=True)
class Further:
  """What came with a picture.

  Attributes:
    xmp: a packet.
    iptc: IIM's records.
    comments: a JPEG's or GIF's.
    texts: a PNG's chunks of text.
  """

  xmp: bytes | None = None
  iptc: bytes | None = None
  comments: tuple[bytes, ...] = ()
  texts: tuple[png.Chunk, ...] = ()

  @property
  def orientation(self) -> int:
    """EXIF's orientation, as XMP repeats it."""
    found = _ORIENTATION.search(self.xmp or b'')
    return int(found[2]) if found else 1

  def resized(self, height: int, width: int, scale: float) -> 'Further':
    """The same for pixels of another size."""
    if self.xmp is None:
      return self
    xmp = self.xmp
    for pattern, value in ((_WIDTH, width), (_HEIGHT, height)):
      xmp = pattern.sub(_replaced(lambda old, v=value: v), xmp)
    if scale != 1:
      xmp = _PANORAMA.sub(_replaced(lambda old: round(old * scale)), xmp)
    return dataclasses.replace(self, xmp=xmp)

  def upright(self) -> 'Further':
    """The same, where the pixels have been turned."""
    if self.xmp is None:
      return self
    xmp = _ORIENTATION.sub(_replaced(lambda old: 1), self.xmp)
    return dataclasses.replace(self, xmp=xmp)


def _number_in_xmp(names: bytes) -> re.Pattern[bytes]:
  """A whole number as an attribute or an element of one of these names."""
  return re.compile(
    rb'(\b(?:' + names + rb')\s*(?:=\s*["\']|>)\s*)(\d{1,9})(?=\s*["\'<])'
  )


_WIDTH = _number_in_xmp(rb'tiff:ImageWidth|exif:PixelXDimension')
_HEIGHT = _number_in_xmp(rb'tiff:ImageLength|exif:PixelYDimension')
_ORIENTATION = _number_in_xmp(rb'tiff:Orientation')
_PANORAMA = _number_in_xmp(rb'GPano:(?:Cropped|Full)\w+Pixels')


def _replaced(value: Any) -> Any:
  return lambda found: found[1] + str(value(int(found[2]))).encode()


def of_png(metadata: png.Metadata) -> Further:
  """What a PNG has in its text."""
  iptc = raw_profile(metadata, 'iptc')
  return Further(
    xmp=metadata.text(XMP_KEYWORD) or None,
    iptc=iptc and (photoshop.find_iptc(iptc) or iptc),
    texts=tuple(c for key, c in metadata.texts() if key not in _MACHINES),
  )


def raw_profile(metadata: png.Metadata, kind: str) -> bytes | None:
  """What ImageMagick and others write into a PNG as hexadecimal text."""
  for keyword in _RAW_PROFILES[kind]:
    text = metadata.text(keyword) or b''
    found = re.match(rb'\s*[^\n]*\n\s*\d+\s*\n([0-9A-Fa-f\s]+)$', text)
    if found:
      digits = b''.join(found[1].split())
      if len(digits) % 2 == 0:
        return binascii.unhexlify(digits)
  return None


def of_info(info: dict[Any, Any]) -> Further:
  """What Pillow found in a file of another format."""
  xmp, comment = info.get('xmp'), info.get('comment')
  resources = info.get('photoshop')
  iptc = resources.get(0x404) if isinstance(resources, dict) else None
  return Further(
    xmp=xmp.encode() if isinstance(xmp, str) else xmp,
    iptc=iptc if isinstance(iptc, bytes) else None,
    comments=(comment,) if isinstance(comment, bytes) and comment else (),
  )


def jpeg_comments(stream: BinaryIO) -> tuple[bytes, ...]:
  """All comments of a JPEG, of which Pillow keeps the last."""
  comments = []
  stream.seek(2)
  while len(head := stream.read(4)) == 4:
    marker, length = head[1], struct.unpack('>H', head[2:])[0]
    if head[0] != 0xFF or marker == 0xDA or length < 2:
      break
    body = stream.read(length - 2)
    if marker == 0xFE and body:
      comments.append(body)
  return tuple(comments)


def png_chunks(further: Further, exif: bytes | None) -> list[png.Chunk]:
  """All of it as chunks of a PNG."""
  chunks = list(further.texts)
  if exif:
    chunks.append(png.Chunk(b'eXIf', exif.removeprefix(b'Exif\0\0')))
  if further.xmp:
    chunks.append(png.text_chunk(XMP_KEYWORD, further.xmp))
  if further.iptc:
    digits = photoshop.of_iptc(further.iptc)
    lines = binascii.hexlify(digits, b'\n', 36)
    text = b'\niptc\n%8d\n%s\n' % (len(digits), lines)
    keyword = _RAW_PROFILES['iptc'][0]
    chunks.append(png.text_chunk(keyword, text))
  for comment in further.comments:
    chunks.append(png.text_chunk('Comment', _utf8(comment)))
  return chunks


def _utf8(text: bytes) -> bytes:
  try:
    return text.decode().encode()
  except UnicodeDecodeError:
    return text.decode('latin-1').encode()


def jpeg_options(
  further: Further, exif: bytes | None
) -> tuple[dict[str, Any], list[str]]:
  """Arguments of Pillow's JPEG writer, and notes on what no segment holds."""
  options: dict[str, Any] = {}
  notes = []
  if exif:
    if len(exif) <= _MOST_SEGMENT:
      options['exif'] = exif
    else:
      notes.append('its EXIF is too long for a JPEG: left out')
  if further.xmp:
    if len(further.xmp) <= _MOST_SEGMENT - _XMP_MARKER:
      options['xmp'] = further.xmp
    else:
      notes.append('its XMP is too long for a JPEG: left out')
  comments = [*further.comments, *map(png.text_of, _comments(further))]
  segments = [(0xFE, comment) for comment in comments]
  if further.iptc:
    resource = photoshop.MARKER + photoshop.of_iptc(further.iptc)
    segments.append((0xED, resource))
  extra = b''
  for marker, body in segments:
    if len(body) <= _MOST_SEGMENT:
      extra += struct.pack('>BBH', 0xFF, marker, len(body) + 2) + body
    else:
      name = 'comment' if marker == 0xFE else 'IPTC'
      notes.append(f'its {name} is too long for a JPEG: left out')
  if extra:
    options['extra'] = extra
  texts = tuple(c for c in further.texts if c not in _comments(further))
  if lost := _of_texts(texts):
    notes.append(f'JPEG has no place for {lost}')
  return options, notes


def without_place(further: Further, form: str) -> list[str]:
  """A note on what TIFF, WebP, AVIF or BMP have no place for."""
  lost = [name for name in (_of_texts(further.texts),) if name]
  if further.comments:
    lost.append('its comment')
  if further.iptc and form != 'TIFF':
    lost.append('its IPTC')
  if further.xmp and form == 'BMP':
    lost.append('its XMP')
  return [f'{form} has no place for {" and ".join(lost)}'] if lost else []


def _comments(further: Further) -> list[png.Chunk]:
  return [c for c in further.texts if c.data.startswith(b'Comment\0')]


def _of_texts(texts: tuple[png.Chunk, ...]) -> str:
  keys = [c.data.partition(b'\0')[0].decode('latin-1') for c in texts]
  return f'its text ({", ".join(dict.fromkeys(keys))})' if keys else ''
