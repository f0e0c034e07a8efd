"""Image files as bytes: noise, palettes, orientations, profiles."""

import functools
import io
import struct
from typing import Any
import zlib

import numpy as np
from PIL import Image, ImageCms
import pytest

from srgan_jax.imaging import pictures, writing

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def encode(image: Image.Image, form: str = 'PNG', **options) -> bytes:
  stream = io.BytesIO()
  image.save(stream, form, **options)
  return stream.getvalue()


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (height, width, 3), np.uint8)


def claim(width: int, height: int) -> bytes:
  """A PNG of a few bytes that says it is as large."""
  head = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
  data = b'IDAT' + zlib.compress(b'')
  chunks = (
    struct.pack('>I', len(c) - 4) + c + struct.pack('>I', zlib.crc32(c))
    for c in (head, data, b'IEND')
  )
  return b'\x89PNG\r\n\x1a\n' + b''.join(chunks)


def huge() -> bytes:
  """A PNG that claims to have 10**10 pixels."""
  return claim(10**5, 10**5)


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


# What a viewer shows for each EXIF orientation.
TURNED = {
  1: lambda a: a,
  2: lambda a: a[:, ::-1],
  3: lambda a: a[::-1, ::-1],
  4: lambda a: a[::-1],
  5: lambda a: a.swapaxes(0, 1),
  6: lambda a: np.rot90(a, -1),
  7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
  8: lambda a: np.rot90(a),
}


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
