"""Pictures of more than 8 bits a channel, and those that are turned."""

import io
import struct
import zlib

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin
import pytest

from srgan_jax.imaging import pictures, writing
from tests.support.image_files import (
  TURNED,
  deep,
  encode,
  oriented,
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
  # The profile is RGB's, which gray pixels do not keep.
  assert again.icc_profile == (None if channels == 2 else profile())
  if channels == 3:
    with Image.open(io.BytesIO(data)) as image:  # what others see of it
      np.testing.assert_array_equal(np.asarray(image), values >> 8)


def test_16_bits_are_read_as_others_write_them():
  tifffile = pytest.importorskip('tifffile')
  values = deep(40, 50, 4)
  for options in (
    {'byteorder': '>'},
    {'tile': (16, 16)},
    {'compression': 'zlib', 'predictor': True},
  ):
    stream = io.BytesIO()
    tifffile.imwrite(
      stream, values, photometric='rgb', extrasamples=[2], **options
    )
    np.testing.assert_array_equal(read(stream.getvalue()).pixels, values)
  stream = io.BytesIO(write(pictures.Picture(values[..., :3]), 'TIFF'))
  with tifffile.TiffFile(stream) as file:
    assert file.pages[0].bitspersample == 16


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


def test_gray_of_12_bits_reaches_white():
  values = np.array([[0, 1, 2048], [4000, 4094, 4095]], np.uint16)
  bits = (values[..., None] >> np.arange(11, -1, -1) & 1).astype(np.uint8)
  rows = np.packbits(bits.reshape(2, 36), axis=1).tobytes()
  directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b'II')
  for tag, value in {
    TiffImagePlugin.IMAGEWIDTH: 3,
    TiffImagePlugin.IMAGELENGTH: 2,
    TiffImagePlugin.BITSPERSAMPLE: 12,
    TiffImagePlugin.COMPRESSION: 1,
    TiffImagePlugin.PHOTOMETRIC_INTERPRETATION: 1,
    TiffImagePlugin.STRIPOFFSETS: 0,
    TiffImagePlugin.SAMPLESPERPIXEL: 1,
    TiffImagePlugin.ROWSPERSTRIP: 2,
    TiffImagePlugin.STRIPBYTECOUNTS: len(rows),
  }.items():
    directory[tag] = value
  file = io.BytesIO()
  directory.save(file)
  pixels = read(file.getvalue() + rows).pixels[..., 0]
  expected = np.round(values * (65535 / 4095))
  assert np.abs(pixels - expected).max() <= 1
  assert (pixels[0, 0], pixels[1, 2]) == (0, 65535)


def png16(values: np.ndarray, *chunks: tuple[bytes, bytes], passes=()) -> bytes:
  """A PNG of 16-bit RGB without filters; `passes` for an interlaced one."""
  scans = [values[y::dy, x::dx] for y, x, dy, dx in passes] or [values]
  rows = b''.join(
    b'\0' + row.astype('>u2').tobytes() for scan in scans for row in scan
  )
  height, width = values.shape[:2]
  header = struct.pack('>IIBBBBB', width, height, 16, 2, 0, 0, bool(passes))
  data = b'\x89PNG\r\n\x1a\n'
  for kind, body in (
    (b'IHDR', header), *chunks, (b'IDAT', zlib.compress(rows)), (b'IEND', b''),
  ):  # fmt: skip
    data += struct.pack('>I', len(body)) + kind + body
    data += struct.pack('>I', zlib.crc32(kind + body))
  return data


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
  pixels = read(png16(values, (b'tRNS', key))).pixels
  np.testing.assert_array_equal(pixels[..., :3], values)
  assert pixels[0, :2, 3].tolist() == [0, 65535]


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'TIFF', 'WEBP'])
@pytest.mark.parametrize('orientation', TURNED)
def test_exif_orientation_is_applied_and_its_tag_dropped(form, orientation):
  pixels = np.zeros((24, 40, 3), np.uint8)
  pixels[:8, :16] = 255
  picture = read(oriented(pixels, form, orientation))
  expected = TURNED[orientation](pixels).astype(int)
  assert picture.pixels.shape == expected.shape
  assert np.abs(picture.pixels - expected).max() <= (8 if form == 'JPEG' else 0)
  with Image.open(io.BytesIO(write(picture, form))) as image:
    assert image.getexif().get(ExifTags.Base.Orientation, 1) == 1


def test_a_deep_picture_is_turned_too():
  values = deep(5, 9, 3)
  exif = Image.Exif()
  exif[ExifTags.Base.Orientation] = 6
  picture = pictures.Picture(values, exif=exif.tobytes())
  for form in ('PNG', 'TIFF'):
    turned = read(write(picture, form)).pixels
    np.testing.assert_array_equal(turned, TURNED[6](values))
