"""TIFF files, written: strip by strip, deflated, beyond 4 GiB as BigTIFF.

Pillow has no 16-bit colour, and tifffile no Exif and GPS directories.
"""

import struct
from typing import BinaryIO
import zlib

import numpy as np

from srgan_jax.imaging import exif as exif_lib
from srgan_jax.imaging import ifd, tiff

_STRIP_BYTES = 2**20
_MOST_CLASSIC = 2**32 - 2**24  # bytes; offsets of 32 bits end there


def write(
  file: BinaryIO,
  pixels: np.ndarray,
  *,
  icc_profile: bytes | None = None,
  exif: bytes | None = None,
  dpi: tuple[float, float] | None = None,
  xmp: bytes | None = None,
  iptc: bytes | None = None,
) -> None:
  """Writes a TIFF, strip by strip, to an empty file that can seek.

  Pixels are uint8 or uint16 [H, W, C], C of 1 to 4; the profile and XMP are for
  them; EXIF is a block with its prefix, `iptc` IIM's records.
  """
  height, width, channels = pixels.shape
  bits = 8 * pixels.dtype.itemsize
  blocks = {tiff.PROFILE: icc_profile, tiff.XMP: xmp, tiff.IPTC: iptc}
  size = sum(len(block or b'') for block in (exif, *blocks.values()))
  form = ifd.Form('<', pixels.nbytes + size > _MOST_CLASSIC)
  numbers = ('<HHHQ', 43, 8, 0, 0) if form.is_big else ('<HI', 42, 0)
  start = b'II' + struct.pack(*numbers)
  file.write(start)
  rows = max(1, _STRIP_BYTES // (bits // 8 * channels * width))
  offsets, sizes = _write_strips(file, pixels, rows)
  file.write(bytes(-file.tell() % 16))
  place = file.tell()
  short = lambda *values: ifd.of_numbers(form, 3, *values)
  long = lambda *values: ifd.of_numbers(form, 16 if form.is_big else 4, *values)
  directory: dict[int, ifd.Field | ifd.Directory] = {
    **exif_lib.fields(exif or b'', '<'),
    tiff.WIDTH: long(width),
    tiff.HEIGHT: long(height),
    tiff.BITS: short(*(bits,) * channels),
    tiff.COMPRESSION: short(8),
    tiff.PHOTOMETRIC: short(1 if channels < 3 else 2),
    tiff.OFFSETS: long(*offsets),
    tiff.SAMPLES: short(channels),
    tiff.ROWS: long(rows),
    tiff.SIZES: long(*sizes),
    tiff.PLANES: short(1),
    tiff.PREDICTOR: short(2),
  }
  if channels in (2, 4):
    directory[tiff.EXTRA] = short(tiff.UNASSOCIATED)
  if dpi:
    directory |= _resolution(form, dpi)
  for tag, block in blocks.items():
    if block:
      kind = 1 if tag == tiff.XMP else 7
      directory[tag] = ifd.Field(kind, len(block), block)
  file.write(ifd.build(form, directory, place))
  file.seek(len(start) - struct.calcsize(form.word))
  file.write(struct.pack(form.word, place))


def _resolution(
  form: ifd.Form, dpi: tuple[float, float]
) -> dict[int, ifd.Field]:
  return {
    tiff.X_RESOLUTION: ifd.of_fraction(form, dpi[0]),
    tiff.Y_RESOLUTION: ifd.of_fraction(form, dpi[1]),
    tiff.UNIT: ifd.of_numbers(form, 3, 2),  # inch
  }


def _write_strips(
  file: BinaryIO, pixels: np.ndarray, rows: int
) -> tuple[list[int], list[int]]:
  """Writes some rows at a time; where each strip begins, and its size."""
  offsets, sizes = [], []
  for first in range(0, len(pixels), rows):
    strip = pixels[first : first + rows].astype(f'<u{pixels.dtype.itemsize}')
    strip[:, 1:] -= strip[:, :-1].copy()  # predictor 2: differences
    data = zlib.compress(strip.tobytes())
    offsets.append(file.tell())
    sizes.append(len(data))
    file.write(data)
  return offsets, sizes
