"""Image files as bytes: noise, palettes, orientations, profiles."""

import functools
import io
import struct
from typing import Any
import zlib

import numpy as np
from PIL import Image, ImageCms, ImageOps
import pytest

from srgan_jax.imaging import pictures, png, writing

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def encode(image: Image.Image, form: str = 'PNG', **options) -> bytes:
  stream = io.BytesIO()
  image.save(stream, form, **options)
  return stream.getvalue()


def with_chunks(image: Image.Image, *chunks: png.Chunk) -> bytes:
  """A PNG with chunks before its pixels."""
  stream = io.BytesIO()
  target: Any = png.Inserting(stream, chunks)
  image.save(target, 'PNG')
  return stream.getvalue()


def tiff(values: np.ndarray, **options) -> bytes:
  """A TIFF by tifffile's writer."""
  tifffile = pytest.importorskip('tifffile')
  stream = io.BytesIO()
  tifffile.imwrite(stream, values, **options)
  return stream.getvalue()


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (height, width, 3), np.uint8)


def png_of(
  width: int,
  height: int,
  bits: int,
  colour_type: int,
  rows: bytes,
  *chunks: png.Chunk,
  interlaced: bool = False,
) -> bytes:
  """A PNG of rows, each behind its filter; `chunks` before them."""
  header = struct.pack(
    '>IIBBBBB', width, height, bits, colour_type, 0, 0, interlaced
  )
  return png.SIGNATURE + b''.join(
    png.encode_chunk(chunk)
    for chunk in (
      png.Chunk(b'IHDR', header),
      *chunks,
      png.Chunk(b'IDAT', zlib.compress(rows)),
      png.Chunk(b'IEND', b''),
    )
  )


def huge() -> bytes:
  """A PNG that claims to have 10**10 pixels."""
  return png_of(10**5, 10**5, 8, 2, b'')


def row(mode: str, pixels: list, **info) -> Image.Image:
  """An image of one row; `info` goes into the file."""
  image = Image.new(mode, (len(pixels), 1))
  image.putdata(pixels)
  image.info.update(info)
  return image


def palette(transparency: bytes | int | None = None) -> bytes:
  image = row('P', [0, 1, 2])
  image.putpalette([*RED, *GREEN, *BLUE])
  options: dict[str, Any] = (
    {} if transparency is None else {'transparency': transparency}
  )
  return encode(image, **options)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
  """What Pillow shows for an EXIF orientation."""
  with Image.open(io.BytesIO(oriented(pixels, 'PNG', orientation))) as image:
    return np.asarray(ImageOps.exif_transpose(image))


def oriented(pixels: np.ndarray, form: str, orientation: int) -> bytes:
  exif = Image.Exif()
  exif[0x0112] = orientation
  options = {'lossless': True} if form == 'WEBP' else {}
  return encode(Image.fromarray(pixels), form, exif=exif, **options)


def deep(*shape: int) -> np.ndarray:
  return np.random.default_rng(1).integers(0, 65536, shape).astype(np.uint16)


@functools.cache
def profile(space: str = 'sRGB') -> bytes:
  """sRGB's profile, or its bytes passed off as another colour space's."""
  data = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
  return data if space == 'sRGB' else data[:16] + space.encode() + data[20:]


def read(data: bytes) -> pictures.Picture:
  return pictures.read(data, 'a picture')


def write(picture: pictures.Picture, form: str, **options) -> bytes:
  stream = io.BytesIO()
  writing.write(picture, stream, form, **options)
  return stream.getvalue()


def skip_unless_written(form: str) -> None:
  try:
    writing.check_format(form, 8, 8)
  except ValueError as error:
    pytest.skip(str(error))
