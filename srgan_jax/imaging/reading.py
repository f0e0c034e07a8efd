"""Image files in: whatever Pillow reads, as RGB of 8 bit.

Training wants one thing of a file: the picture as a person sees it, uint8
[H, W, 3], full range 0..255, sRGB as stored (colour profiles are not applied).
So every mode is converted, the EXIF orientation is applied, and a file that
cannot be read is one clear line with its name. Only Pillow and NumPy are
imported here.
"""

from collections.abc import Iterator
import contextlib
import io
import os
import struct
from typing import BinaryIO

import numpy as np
from PIL import (
  ExifTags,
  Image,
  ImageOps,
  TiffImagePlugin,
  UnidentifiedImageError,
)

ImageFile = str | os.PathLike[str] | bytes | BinaryIO

_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap height and width


def read_rgb(file: ImageFile, name: str) -> np.ndarray:
  """Reads an image file as RGB.

  Grayscale (8 and 16 bit), 1-bit, palette, CMYK and other modes are converted;
  transparency is composited over white; 16-bit grayscale is scaled to 8 bit
  (v / 257, rounded half up); the EXIF orientation is applied. Of an animation
  the first frame is read.

  Args:
    file: a path, the file's bytes, or a binary file (read from its start; it
      is closed).
    name: what to call the file in an error.

  Returns:
    uint8 [H, W, 3], 0..255.

  Raises:
    ValueError: the file is missing, truncated or otherwise unreadable, or has
      no known range (floating point); one line with `name`.
  """
  with opened(file, name) as (image, _):
    image.load()
    # Pixels that can be read are not given up for broken metadata.
    with contextlib.suppress(Exception):
      ImageOps.exif_transpose(image, in_place=True)
    return _to_rgb(image)


def image_size(file: ImageFile, name: str) -> tuple[int, int]:
  """Height and width of `read_rgb`'s result, from the header alone.

  Args:
    file: a path, the file's bytes, or a binary file (closed afterwards).
    name: what to call the file in an error.

  Returns:
    (H, W) in pixels, with the EXIF orientation applied.

  Raises:
    ValueError: no header that Pillow can read; one line with `name`.
  """
  with opened(file, name) as (image, stream):
    if isinstance(image, TiffImagePlugin.TiffImageFile):
      # Some versions of Pillow have already turned a TIFF's `size`.
      tags = image.tag_v2
      width = int(tags[ExifTags.Base.ImageWidth])
      height = int(tags[ExifTags.Base.ImageLength])
    else:
      width, height = image.size
    if _orientation(image, stream) in _SIDEWAYS:
      width, height = height, width
    return height, width


def gray16(image: Image.Image) -> np.ndarray:
  """The samples of a loaded image of mode I or I;16.

  Returns:
    uint16 [H, W], 0 is black.

  Raises:
    ValueError: there are values beyond 16 bits.
  """
  values = np.asarray(image)
  if values.min() < 0 or values.max() > 65535:
    raise ValueError('32-bit integer pixels have no known range')
  values = values.astype(np.uint16)
  if isinstance(image, TiffImagePlugin.TiffImageFile):
    if image.tag_v2.get(ExifTags.Base.BitsPerSample) == (12,):
      values = values << 4 | values >> 8
    # Where 0 is white, Pillow inverts 8 bits but not 16.
    if image.tag_v2.get(ExifTags.Base.PhotometricInterpretation) == 0:
      values = 65535 - values
  return values


@contextlib.contextmanager
def opened(
  file: ImageFile, name: str
) -> Iterator[tuple[Image.Image, BinaryIO]]:
  """The image and its stream; any failure inside becomes a ValueError.

  Args:
    file: a path, the file's bytes, or a binary file (closed afterwards).
    name: what to call the file in an error.
  """
  try:
    stream: BinaryIO
    if isinstance(file, bytes):
      stream = io.BytesIO(file)
    elif isinstance(file, str | os.PathLike):
      stream = open(file, 'rb')
    else:
      stream = file
    with stream, Image.open(stream) as image:
      yield image, stream
  except MemoryError:
    raise
  except Exception as error:  # Pillow's plugins raise all sorts on bad files
    if isinstance(error, UnidentifiedImageError):
      why = 'no image format that Pillow knows'
    elif isinstance(error, OSError) and error.strerror:
      why = error.strerror
    else:
      why = ' '.join(str(error).split()) or type(error).__name__
    raise ValueError(f'{name}: not a readable image: {why}') from error


def _to_rgb(image: Image.Image) -> np.ndarray:
  if image.mode == 'I' or image.mode.startswith('I;'):
    return _gray16_to_rgb(image)
  if image.mode == 'F':
    raise ValueError('floating-point pixels have no known range')
  if image.has_transparency_data:
    image = image.convert('RGBA')
    white = Image.new('RGBA', image.size, (255, 255, 255, 255))
    image = Image.alpha_composite(white, image)
  return np.array(image.convert('RGB'))


def _gray16_to_rgb(image: Image.Image) -> np.ndarray:
  """16-bit samples; Pillow's own conversion would clip them at 255."""
  values = gray16(image)
  gray = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
  transparent = image.info.get('transparency')
  if isinstance(transparent, int):
    gray[values == transparent] = 255
  return np.repeat(gray[:, :, np.newaxis], 3, axis=2)


def _orientation(image: Image.Image, stream: BinaryIO) -> int:
  """EXIF orientation 1..8 without decoding the pixels."""
  with contextlib.suppress(Exception):  # broken metadata: as stored
    if image.format == 'PNG' and not _png_orientation_is_late(stream):
      # PngImageFile.getexif would decode the whole image to look behind it.
      exif = Image.Image.getexif(image)
    else:
      exif = image.getexif()
    return int(exif.get(ExifTags.Base.Orientation, 1))
  return 1


def _png_orientation_is_late(stream: BinaryIO) -> bool:
  """Whether a PNG has metadata with an orientation behind its pixels."""
  position = stream.tell()
  try:
    pixels_seen = False
    stream.seek(8)  # behind the signature
    while len(header := stream.read(8)) == 8:
      length, kind = struct.unpack('>I4s', header)
      after = stream.tell() + length + 4  # the checksum
      if kind == b'IDAT':
        pixels_seen = True
      elif pixels_seen and kind == b'eXIf':
        return True
      elif pixels_seen and kind in (b'tEXt', b'zTXt', b'iTXt'):
        keyword = stream.read(min(length, 32)).split(b'\0')[0]
        if keyword in (b'Raw profile type exif', b'XML:com.adobe.xmp'):
          return True
      stream.seek(after)
    return False
  finally:
    stream.seek(position)
