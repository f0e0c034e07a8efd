"""Writes TIFF files: deflated strips, as BigTIFF beyond 4 GiB.

Pillow has no 16-bit colour, and tifffile no Exif and GPS directories.
"""

from typing import BinaryIO
import zlib

import numpy as np

from srgan_jax.imaging import exif, ifd, resolution, tiff
from srgan_jax.imaging.pictures import Picture

_STRIP_BYTES = 2**20
_MOST_CLASSIC = 2**32 - 2**24  # bytes; offsets of 32 bits end there


def write(picture: Picture, file: BinaryIO) -> None:
  """Writes a TIFF, strip by strip, to an empty file that can seek.

  EXIF lies at its start as it was, so that offsets in makers' notes stay valid.
  """
  pixels = picture.pixels
  height, width, channels = pixels.shape
  bits = 8 * pixels.dtype.itemsize
  blocks = {
    tiff.PROFILE: (7, picture.icc_profile),
    tiff.XMP: (1, picture.xmp),
    tiff.IPTC: (7, picture.iptc),
  }
  size = sum(len(block or b'') for _, block in blocks.values())
  size += len(picture.exif or b'') + pixels.nbytes
  block = (picture.exif or b'').removeprefix(exif.PREFIX)
  is_big = size > _MOST_CLASSIC
  # Pillow reads a BigTIFF only with the little end first.
  form = ifd.Form('>' if block[:1] == b'M' and not is_big else '<', is_big)
  file.write(ifd.beginning(form, 0))
  file.write(block[file.tell() :])
  rows = max(1, _STRIP_BYTES // pixels[0].nbytes)
  offsets, sizes = _write_strips(file, pixels, rows, form.order)
  file.write(bytes(-file.tell() % 16))
  place = file.tell()
  short = lambda *values: ifd.of_numbers(3, *values)
  long = lambda *values: ifd.of_numbers(16 if form.is_big else 4, *values)
  directory: dict[int, ifd.Field | ifd.Directory] = {
    **exif.fields(block),
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
  if density := picture.dpi or picture.aspect:
    directory[resolution.X] = ifd.of_fraction(density[0])
    directory[resolution.Y] = ifd.of_fraction(density[1])
    directory[resolution.UNIT] = short(2 if picture.dpi else 1)  # inch, or none
  for tag, (kind, data) in blocks.items():
    if data:
      directory[tag] = ifd.Field(kind, len(data), data)
  file.write(ifd.build(form, directory, place))
  file.seek(0)
  file.write(ifd.beginning(form, place))


def _write_strips(
  file: BinaryIO, pixels: np.ndarray, rows: int, order: str
) -> tuple[list[int], list[int]]:
  """Writes strips of rows; returns their offsets and sizes."""
  offsets, sizes = [], []
  for first in range(0, len(pixels), rows):
    strip = pixels[first : first + rows]
    strip = strip.astype(f'{order}u{pixels.dtype.itemsize}')
    strip[:, 1:] -= strip[:, :-1].copy()  # predictor 2: differences
    data = zlib.compress(strip.tobytes())
    offsets.append(file.tell())
    sizes.append(len(data))
    file.write(data)
  return offsets, sizes
