"""PNG files chunk by chunk: metadata, and colour of 16 bits a channel.

Pillow refuses a picture for long text, a long profile or a damaged chunk that
no pixel needs. So it only gets the chunks that hold pixels; the rest is read
here.

Pixels are uint16 [H, W, C], 0..65535; C is 2 (gray and alpha), 3 (RGB) or 4
(RGB and alpha).
"""

from collections.abc import Iterator, Sequence
import contextlib
import dataclasses
import os
import struct
from typing import BinaryIO, NamedTuple
import zlib

import numpy as np
from PIL import Image, PngImagePlugin

from srgan_jax import files
from srgan_jax.imaging import alpha

SIGNATURE = b'\x89PNG\r\n\x1a\n'

# Besides the critical ones, whose first letter is a capital, and fdAT.
OF_PIXELS = {b'tRNS', b'acTL', b'fcTL'}
XMP = 'XML:com.adobe.xmp'  # keywords of text
_RAW_PROFILE = 'Raw profile type '
_NO_WORDS = {XMP} | {
  _RAW_PROFILE + kind for kind in ('exif', 'APP1', 'iptc', '8bim', 'xmp')
}
_MOST_BYTES = 2**26  # of one chunk of metadata, unpacked
_COLOUR_TYPES = {2: 4, 3: 2, 4: 6}
_BAND = 64  # rows that are filtered at a time
_UP = 2  # the filter: differences to the row above
_METRES_PER_INCH = 0.0254


class Chunk(NamedTuple):
  """A chunk: its kind and its data."""

  kind: bytes
  data: bytes


@dataclasses.dataclass(frozen=True)
class Metadata:
  """What a PNG holds besides its pixels.

  Attributes:
    chunks: all ancillary chunks that are whole, in order.
    damaged: the kinds of those that are not.
  """

  chunks: tuple[Chunk, ...]
  damaged: tuple[str, ...]

  def find(self, kind: bytes) -> bytes | None:
    """The data of the first chunk of a kind."""
    return next((c.data for c in self.chunks if c.kind == kind), None)

  def texts(self) -> list[tuple[str, Chunk]]:
    """The chunks of text with their keywords."""
    return [
      (keyword_of(chunk), chunk)
      for chunk in self.chunks
      if chunk.kind in (b'tEXt', b'zTXt', b'iTXt')
    ]

  def text(self, keyword: str) -> bytes | None:
    """The bytes of the text with a keyword."""
    found = (chunk for key, chunk in self.texts() if key == keyword)
    return next(map(text_of, found), None)

  def raw_profile(self, *kinds: str) -> bytes | None:
    """Decodes metadata that ImageMagick and others write as hexadecimal."""
    for kind in kinds:
      text = self.text(_RAW_PROFILE + kind) or b''
      with contextlib.suppress(ValueError):
        _, _, digits = text.strip().split(b'\n', 2)  # behind name and length
        return bytes.fromhex(digits.decode())
    return None

  @property
  def frames(self) -> int:
    """How many frames there are."""
    return int.from_bytes((self.find(b'acTL') or b'\0\0\0\1')[:4])

  @property
  def dpi(self) -> tuple[float, float]:
    """Dots an inch; 0 where they are not stated."""
    x, y = self._density(unit=1)  # metres
    return x * _METRES_PER_INCH, y * _METRES_PER_INCH

  @property
  def aspect(self) -> tuple[int, int]:
    """Pixels along equal sides of no unit; 0 where they are not stated."""
    return self._density(unit=0)

  def _density(self, unit: int) -> tuple[int, int]:
    body = self.find(b'pHYs') or b''
    if len(body) != 9 or body[8] != unit:
      return 0, 0
    x, y, _ = struct.unpack('>IIB', body)
    return x, y

  @property
  def exif(self) -> bytes | None:
    """The EXIF block."""
    return self.find(b'eXIf') or self.raw_profile('exif', 'APP1')

  @property
  def xmp(self) -> bytes | None:
    """The XMP packet."""
    block = self.raw_profile('xmp', 'APP1') or b''
    packet = block[block.find(b'<') :] if b'<rdf:RDF' in block else None
    return self.text(XMP) or packet

  @property
  def words(self) -> tuple[Chunk, ...]:
    """The chunks of text, without those of XMP and raw profiles."""
    return tuple(c for key, c in self.texts() if key not in _NO_WORDS)

  @property
  def icc_profile(self) -> bytes | None:
    """The ICC profile; None if it is missing or cannot be unpacked."""
    name, _, rest = (self.find(b'iCCP') or b'').partition(b'\0')
    return (unpack(rest[1:]) or None) if name and rest else None


def unpack(data: bytes) -> bytes:
  """Decompresses zlib data of bounded size; b'' if that fails."""
  unpacker = zlib.decompressobj()
  try:
    unpacked = unpacker.decompress(data, _MOST_BYTES)
  except zlib.error:
    return b''
  return b'' if unpacker.unconsumed_tail else unpacked


def keyword_of(chunk: Chunk) -> str:
  """The keyword of a chunk of text."""
  return chunk.data.partition(b'\0')[0].decode('latin-1')


def text_of(chunk: Chunk) -> bytes:
  """The text of a tEXt, zTXt or iTXt chunk."""
  rest = chunk.data.partition(b'\0')[2]
  if chunk.kind == b'tEXt':
    return rest
  if chunk.kind == b'zTXt':
    return unpack(rest[1:])
  is_packed = rest[:1] == b'\1'  # iTXt: flag, method, language, keyword, text
  text = rest[2:].split(b'\0', 2)[-1]
  return unpack(text) if is_packed else text


def split(stream: BinaryIO) -> tuple[Metadata, BinaryIO] | None:
  """Splits a PNG into metadata and the rest; None for other files."""
  stream.seek(0)
  if stream.read(len(SIGNATURE)) != SIGNATURE:
    return None
  end = stream.seek(0, os.SEEK_END)
  position = len(SIGNATURE)
  pieces = [(0, position)]
  chunks, damaged = [], []
  while position + 8 <= end:
    stream.seek(position)
    length, kind = struct.unpack('>I4s', stream.read(8))
    after = position + 12 + length
    is_kept = not kind[0] & 32 or kind == b'fdAT' or after > end
    if not is_kept:
      data = stream.read(length) if length <= _MOST_BYTES else b''
      if stream.read(4) != struct.pack('>I', zlib.crc32(kind + data)):
        damaged.append(kind.decode('latin-1'))
      else:
        chunks.append(Chunk(kind, data))
        is_kept = kind in OF_PIXELS
    if is_kept and pieces[-1][1] == position:
      pieces[-1] = (pieces[-1][0], min(after, end))
    elif is_kept:
      pieces.append((position, min(after, end)))
    position = after
    if kind == b'IEND':
      break
  return Metadata(tuple(chunks), tuple(damaged)), files.joined(stream, pieces)


def is_deep(image: Image.Image) -> bool:
  """Whether an image just opened is a PNG with colour of 16 bits."""
  return (
    isinstance(image, PngImagePlugin.PngImageFile)
    and bool(image.tile)
    and all(tile.args in _LOW_BYTES for tile in image.tile)
  )


def gray_bits(image: Image.Image) -> int:
  """The bits of a gray PNG just opened, if below 8; 8 for other images."""
  tiles = image.tile if isinstance(image, PngImagePlugin.PngImageFile) else []
  return min((_FEW_BITS.get(str(tile.args), 8) for tile in tiles), default=8)


def read_deep(stream: BinaryIO) -> np.ndarray:
  """Decodes a PNG with colour of 16 bits.

  In its last step, Pillow keeps the high byte of each sample, as a raw mode
  says; that of the other byte order keeps the low one. So it decodes twice.

  Returns:
    uint16 [H, W, C], with alpha if a colour is transparent.
  """
  decoded = []
  for is_low in (False, True):
    stream.seek(0)
    image = Image.open(stream, formats=['PNG'])
    raw_mode = str(image.tile[0].args)
    if is_low:
      raw = _LOW_BYTES[raw_mode]
      image.tile = [tile._replace(args=raw) for tile in image.tile]
    decoded.append(np.asarray(image))
  high, low = decoded
  if raw_mode == 'LA;16B':  # Pillow opens it as RGBA
    high, low = high[..., [0, 3]], low[..., 1::2]
  values = high.astype(np.uint16) << 8 | low
  # Pillow compares a transparent colour by its high bytes.
  transparent = image.info.get('transparency')
  if isinstance(transparent, tuple) and values.shape[-1] == 3:
    values = alpha.of_key(values, transparent)
  return values


_FEW_BITS = {'1': 1, 'L;2': 2, 'L;4': 4}  # by Pillow's names
# Gray and alpha have no such raw mode: four bytes, taken as they are.
_LOW_BYTES = {'RGB;16B': 'RGB;16L', 'RGBA;16B': 'RGBA;16L', 'LA;16B': 'RGBA'}


def write_deep(
  file: BinaryIO, pixels: np.ndarray, chunks: Sequence[Chunk] = ()
) -> None:
  """Writes a PNG of uint16 [H, W, C], with chunks before the pixels."""
  height, width, channels = pixels.shape
  colour_type = _COLOUR_TYPES[channels]
  head = struct.pack('>IIBBBBB', width, height, 16, colour_type, 0, 0, 0)
  file.write(SIGNATURE)
  for chunk in (Chunk(b'IHDR', head), *chunks):
    file.write(encode_chunk(chunk))
  compressor = zlib.compressobj()
  for rows in _filtered(pixels):
    if data := compressor.compress(rows):
      file.write(encode_chunk(Chunk(b'IDAT', data)))
  file.write(encode_chunk(Chunk(b'IDAT', compressor.flush())))
  file.write(encode_chunk(Chunk(b'IEND', b'')))


class Inserting:
  """A file that inserts chunks behind the first of a PNG written to it."""

  def __init__(self, file: BinaryIO, chunks: Sequence[Chunk]) -> None:
    self._file, self._chunks = file, chunks
    self._left = len(SIGNATURE) + 12 + 13  # to the end of IHDR
    self.flush = file.flush

  def write(self, data: bytes) -> int:
    """Writes data, with the chunks in their place."""
    if 0 < self._left <= len(data):
      self._file.write(data[: self._left])
      for chunk in self._chunks:
        self._file.write(encode_chunk(chunk))
      self._file.write(data[self._left :])
    else:
      self._file.write(data)
    self._left -= len(data)
    return len(data)


def encode_chunk(chunk: Chunk) -> bytes:
  """Encodes a chunk with its length and checksum."""
  body = chunk.kind + chunk.data
  checksum = zlib.crc32(body)
  return struct.pack('>I', len(chunk.data)) + body + struct.pack('>I', checksum)


def resolution_chunk(dpi: tuple[float, float]) -> Chunk:
  """Dots an inch as a pHYs chunk."""
  x, y = (round(value / _METRES_PER_INCH) for value in dpi)
  return Chunk(b'pHYs', struct.pack('>IIB', x, y, 1))


def aspect_chunk(aspect: tuple[int, int]) -> Chunk:
  """Pixels along equal sides as a pHYs chunk."""
  return Chunk(b'pHYs', struct.pack('>IIB', *aspect, 0))


def profile_chunk(profile: bytes) -> Chunk:
  """An ICC profile as an iCCP chunk."""
  return Chunk(b'iCCP', b'ICC Profile\0\0' + zlib.compress(profile))


def text_chunk(keyword: str, text: bytes) -> Chunk:
  """UTF-8 text as an iTXt chunk."""
  return Chunk(b'iTXt', keyword.encode('latin-1') + b'\0\0\0\0\0' + text)


def raw_profile_chunk(kind: str, data: bytes) -> Chunk:
  """Encodes metadata as `Metadata.raw_profile` reads them."""
  text = f'\n{kind}\n{len(data):8d}\n' + data.hex('\n', 36) + '\n'
  return text_chunk(_RAW_PROFILE + kind, text.encode())


def _filtered(pixels: np.ndarray) -> Iterator[bytes]:
  """Filters rows, some at a time: their differences to those above."""
  height, width, channels = pixels.shape
  above = np.zeros((1, 2 * width * channels), np.uint8)
  for first in range(0, height, _BAND):
    band = np.ascontiguousarray(pixels[first : first + _BAND], '>u2')
    rows = band.view(np.uint8).reshape(len(band), -1)
    residuals = rows - np.concatenate([above, rows[:-1]])
    above = rows[-1:]
    yield np.pad(residuals, ((0, 0), (1, 0)), constant_values=_UP).tobytes()
