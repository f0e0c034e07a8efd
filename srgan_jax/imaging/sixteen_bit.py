"""Colour of 16 bits a channel: PNG and TIFF, where Pillow knows 8 bits only.

Reading takes Pillow's decoders twice: they undo compression, filters,
interlacing and predictors in full and only then keep the high byte of each
sample, because the raw mode of their last step says so. The raw mode of the
other byte order keeps the low one. Writing is done here.

Pixels are uint16 [H, W, C], 0..65535; C is 2 (gray and alpha), 3 (RGB) or 4
(RGB and alpha).
"""

from collections.abc import Iterator
import re
import struct
import sys
from typing import BinaryIO
import zlib

import numpy as np
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin

_NATIVE, _FOREIGN = ('L', 'B') if sys.byteorder == 'little' else ('B', 'L')
_SWAPPED = {'L': 'B', 'B': 'L', 'N': _FOREIGN}
_PNG_COLOUR_TYPES = {2: 4, 3: 2, 4: 6}
_BAND = 64  # rows that are filtered at a time
_STRIP_BYTES = 2**20
_MOST_TIFF_BYTES = 2**32  # its offsets have 32 bits
_METRE_PER_INCH = 0.0254


def is_deep(image: Image.Image) -> bool:
  """Whether a file just opened has colour of 16 bits, which Pillow would halve.

  Raises:
    ValueError: for such a TIFF with its channels apart, which Pillow misreads.
  """
  if not isinstance(image, ImageFile.ImageFile):
    return False
  if isinstance(image, TiffImagePlugin.TiffImageFile):
    bits = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    planes = image.tag_v2.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1)
    if max(bits) > 8 and len(bits) > 1 and planes == 2:
      raise ValueError('a TIFF of 16 bits with its channels in separate planes')
  return bool(image.tile) and all(
    re.fullmatch(r'(LA|RGB|RGBA);16[BLN]', _raw_mode(tile.args))
    for tile in image.tile
  )


def low_bytes(image: Image.Image) -> np.ndarray:
  """Decodes a deep image that was just opened for its low bytes.

  Returns:
    uint8 [H, W, C].
  """
  assert isinstance(image, ImageFile.ImageFile)
  is_gray, tiles = False, []
  for tile in image.tile:
    raw_mode = _raw_mode(tile.args)
    is_gray = raw_mode.startswith('LA')
    # Gray and alpha have no such raw mode: four bytes, taken as they are.
    swapped = 'RGBA' if is_gray else raw_mode[:-1] + _SWAPPED[raw_mode[-1]]
    rest = tile.args[1:] if isinstance(tile.args, tuple) else None
    args = swapped if rest is None else (swapped, *rest)
    tiles.append(tile._replace(args=args))
  image.tile = tiles
  samples = np.asarray(image)
  return samples[..., 1::2] if is_gray else samples


def _raw_mode(args: object) -> str:
  first = args[0] if isinstance(args, tuple) and args else args
  return first if isinstance(first, str) else ''


def write_png(
  file: BinaryIO,
  pixels: np.ndarray,
  *,
  icc_profile: bytes | None = None,
  exif: bytes | None = None,
  dpi: tuple[float, float] | None = None,
) -> None:
  """Writes a PNG of 16 bits a channel."""
  height, width, channels = pixels.shape
  colour_type = _PNG_COLOUR_TYPES[channels]

  def chunk(kind: bytes, data: bytes) -> None:
    checksum = zlib.crc32(kind + data)
    file.write(struct.pack('>I', len(data)) + kind + data)
    file.write(struct.pack('>I', checksum))

  file.write(b'\x89PNG\r\n\x1a\n')
  chunk(
    b'IHDR', struct.pack('>IIBBBBB', width, height, 16, colour_type, 0, 0, 0)
  )
  if icc_profile:
    chunk(b'iCCP', b'ICC Profile\0\0' + zlib.compress(icc_profile))
  if dpi:
    x, y = (round(value / _METRE_PER_INCH) for value in dpi)
    chunk(b'pHYs', struct.pack('>IIB', x, y, 1))
  if exif:
    chunk(b'eXIf', exif.removeprefix(b'Exif\0\0'))
  compressor = zlib.compressobj()
  for rows in _filtered(pixels):
    if data := compressor.compress(rows):
      chunk(b'IDAT', data)
  chunk(b'IDAT', compressor.flush())
  chunk(b'IEND', b'')


def _filtered(pixels: np.ndarray) -> Iterator[bytes]:
  """A PNG's rows, each behind the filter with the smallest residuals."""
  height, width, channels = pixels.shape
  step = 2 * channels
  above = np.zeros((1, step * (width + 1)), np.uint8)
  for first in range(0, height, _BAND):
    band = np.ascontiguousarray(pixels[first : first + _BAND], '>u2')
    raw = band.view(np.uint8).reshape(len(band), -1)
    padded = np.pad(raw, ((0, 0), (step, 0)))
    upper = np.concatenate([above, padded[:-1]])
    above = padded[-1:]
    left, up, corner = padded[:, :-step], upper[:, step:], upper[:, :-step]
    residuals = np.stack(
      [raw, raw - left, raw - up, raw - _paeth(left, up, corner)]
    )
    cost = np.abs(residuals.view(np.int8).astype(np.int16)).sum(axis=2)
    best = cost.argmin(axis=0)
    kinds = np.array([0, 1, 2, 4], np.uint8)[best]
    chosen = residuals[best, np.arange(len(band))]
    yield np.concatenate([kinds[:, None], chosen], axis=1).tobytes()


def _paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
  """The one of the three that is nearest to left + up - corner."""
  a, b, c = (x.astype(np.int16) for x in (left, up, corner))
  from_left, from_up = np.abs(b - c), np.abs(a - c)
  from_corner = np.abs(a + b - 2 * c)
  return np.where(
    (from_left <= from_up) & (from_left <= from_corner),
    left,
    np.where(from_up <= from_corner, up, corner),
  )


def write_tiff(
  file: BinaryIO,
  pixels: np.ndarray,
  *,
  icc_profile: bytes | None = None,
  exif: bytes | None = None,
  dpi: tuple[float, float] | None = None,
) -> None:
  """Writes a TIFF, deflated, of any kind of pixels.

  Pillow's own writer has no 16-bit colour, and fails on much EXIF.

  Args:
    file: open for writing, empty; it can seek.
    pixels: uint8 or uint16 [H, W, C], C of 1 to 4.
    icc_profile: for these pixels.
    exif: as Pillow writes it.
    dpi: horizontally and vertically.

  Raises:
    ValueError: the file would be larger than 4 GiB.
  """
  height, width, channels = pixels.shape
  bits = 8 * pixels.dtype.itemsize
  rows = max(1, _STRIP_BYTES // (bits // 8 * channels * width))
  starts = range(0, height, rows)
  tags: dict[int, object] = {
    TiffImagePlugin.IMAGEWIDTH: width,
    TiffImagePlugin.IMAGELENGTH: height,
    TiffImagePlugin.BITSPERSAMPLE: (bits,) * channels,
    TiffImagePlugin.COMPRESSION: 8,
    TiffImagePlugin.PHOTOMETRIC_INTERPRETATION: 1 if channels < 3 else 2,
    TiffImagePlugin.SAMPLESPERPIXEL: channels,
    TiffImagePlugin.ROWSPERSTRIP: rows,
    TiffImagePlugin.PLANAR_CONFIGURATION: 1,
    TiffImagePlugin.PREDICTOR: 2,
    # Known, and written again, once the strips behind the directory are.
    TiffImagePlugin.STRIPOFFSETS: (0,) * len(starts),
    TiffImagePlugin.STRIPBYTECOUNTS: (0,) * len(starts),
  }
  if channels in (2, 4):
    tags[TiffImagePlugin.EXTRASAMPLES] = 2  # alpha, not premultiplied
  if icc_profile:
    tags[TiffImagePlugin.ICCPROFILE] = icc_profile
  if dpi:
    tags[TiffImagePlugin.X_RESOLUTION] = dpi[0]
    tags[TiffImagePlugin.Y_RESOLUTION] = dpi[1]
    tags[TiffImagePlugin.RESOLUTION_UNIT] = 2  # inch
  directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b'II')
  for tag in (TiffImagePlugin.STRIPOFFSETS, TiffImagePlugin.STRIPBYTECOUNTS):
    directory.tagtype[tag] = 4  # LONG, also where few bits would do
  if exif:
    fields = Image.Exif()
    fields.load(exif)
    for tag in fields:
      if tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        directory[tag] = dict(fields.get_ifd(tag))
      else:
        directory[tag] = fields[tag]
  for tag, value in tags.items():
    directory[tag] = value
  directory.save(file)
  sizes = []
  for first in starts:
    strip = pixels[first : first + rows].astype(f'<u{bits // 8}')
    strip[:, 1:] -= strip[:, :-1].copy()  # predictor 2: differences
    data = zlib.compress(strip.tobytes())
    if file.tell() + len(data) > _MOST_TIFF_BYTES:
      raise ValueError('TIFF holds at most 4 GiB: --format png')
    file.write(data)
    sizes.append(len(data))
  # Relative to the end of the directory, as Pillow's writer takes them.
  offsets = np.cumsum([0, *sizes[:-1]]).tolist()
  directory[TiffImagePlugin.STRIPOFFSETS] = tuple(offsets)
  directory[TiffImagePlugin.STRIPBYTECOUNTS] = tuple(sizes)
  file.seek(0)
  directory.save(file)
