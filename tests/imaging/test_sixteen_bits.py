"""Pictures of more than 8 bits a channel, and those that are turned."""

import io
import struct

import numpy as np
from PIL import ExifTags, Image
import pytest

from srgan_jax.imaging import colour_tags, pictures, png, writing
from tests.support.image_files import (
  deep,
  encode,
  png_of,
  profile,
  read,
  write,
)


def test_gray_of_16_bits_stays_so():
  values = deep(4, 5)
  data = encode(Image.fromarray(values))
  for form in ('PNG', 'TIFF'):
    picture = read(write(read(data), form))
    np.testing.assert_array_equal(picture.pixels[..., 0], values)
  np.testing.assert_array_equal(writing.to_image(picture), values)
  as_jpeg = read(write(picture, 'JPEG')).pixels
  assert as_jpeg.dtype == np.uint8 and as_jpeg.shape == (4, 5, 1)


@pytest.mark.parametrize('channels', [2, 3, 4])
@pytest.mark.parametrize('form', ['PNG', 'TIFF'])
def test_colour_of_16_bits_stays_so(form, channels):
  # Noise, and slopes for which a PNG's filters and a TIFF's predictor serve.
  values = deep(70, 33, channels)
  values[:, 10:] = np.arange(23)[:, None] * 1000 + np.arange(70)[:, None, None]
  picture = pictures.Picture(values, icc_profile=profile(), dpi=(300, 200))
  data = write(picture, form)
  again = read(data)
  assert again.pixels.dtype == np.uint16
  np.testing.assert_array_equal(again.pixels, values)
  assert again.dpi == pytest.approx((300, 200), rel=1e-3)
  # The profile is RGB's, of which gray pixels keep the curve.
  gray = colour_tags.gray_profile(profile())
  assert again.icc_profile == (gray if channels == 2 else profile())
  # What others see of it.
  if form == 'TIFF':
    tifffile = pytest.importorskip('tifffile')
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(data)), values)
  if channels == 3:
    with Image.open(io.BytesIO(data)) as image:
      np.testing.assert_array_equal(np.asarray(image), values >> 8)


def test_gray_of_16_bits_whose_0_is_white_is_no_negative():
  values = deep(4, 5)
  white = {ExifTags.Base.PhotometricInterpretation: 0}
  for options in ({}, {'compression': 'tiff_lzw'}):
    data = encode(Image.fromarray(values), 'TIFF', tiffinfo=white, **options)
    picture = read(data)
    np.testing.assert_array_equal(picture.pixels[..., 0], 65535 - values)
    np.testing.assert_array_equal(
      read(write(picture, 'TIFF')).pixels, picture.pixels
    )


def png16(values: np.ndarray, *chunks: png.Chunk, passes=()) -> bytes:
  """A PNG of 16-bit RGB without filters; `passes` for an interlaced one."""
  scans = [values[y::dy, x::dx] for y, x, dy, dx in passes] or [values]
  rows = b''.join(
    b'\0' + row.astype('>u2').tobytes() for scan in scans for row in scan
  )
  height, width = values.shape[:2]
  return png_of(width, height, 16, 2, rows, *chunks, interlaced=bool(passes))


def test_16_bit_png_interlaced_or_with_one_colour_transparent():
  values = deep(8, 8, 3)
  adam7 = (
    (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2),
    (0, 1, 2, 2), (1, 0, 2, 1),
  )  # fmt: skip
  np.testing.assert_array_equal(
    read(png16(values, passes=adam7)).pixels, values
  )
  values[0, 1] = values[0, 0] ^ 1  # another colour, in its low byte alone
  key = struct.pack('>3H', *values[0, 0].tolist())
  pixels = read(png16(values, png.Chunk(b'tRNS', key))).pixels
  np.testing.assert_array_equal(pixels[..., :3], values)
  assert pixels[0, :2, 3].tolist() == [0, 65535]


def test_a_deep_picture_is_turned_too():
  values = deep(5, 9, 3)
  exif = Image.Exif()
  exif[ExifTags.Base.Orientation] = 6
  picture = pictures.Picture(values, exif=exif.tobytes())
  for form in ('PNG', 'TIFF'):
    turned = read(write(picture, form)).pixels
    np.testing.assert_array_equal(turned, np.rot90(values, -1))
