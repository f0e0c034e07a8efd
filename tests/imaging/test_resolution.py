"""The resolution: the same number after upscaling, wherever a file has it."""

import io
import struct

import numpy as np
from PIL import Image
import pytest

from srgan_jax.imaging import exif, ifd, pictures, png, resolution, writing
from tests.support.image_files import (
  encode,
  noise,
  read,
  skip_unless_written,
  with_chunks,
  write,
)

FORMS = ('JPEG', 'PNG', 'TIFF', 'WEBP', 'AVIF')


def block(x: float, y: float, unit: int = 2, orientation: int = 1) -> bytes:
  """EXIF with a resolution."""
  fields = {
    exif.ORIENTATION: ifd.of_numbers(3, orientation),
    resolution.X: ifd.of_fraction(x),
    resolution.Y: ifd.of_fraction(y),
    resolution.UNIT: ifd.of_numbers(3, unit),
    0x13B: ifd.Field(2, 8, b'An name\0'),
  }
  return exif.PREFIX + ifd.block(ifd.Form('<', False), fields)


def source(form: str, data: bytes) -> bytes:
  """A picture of which EXIF alone states a resolution."""
  skip_unless_written(form)
  file = encode(Image.fromarray(noise(16, 24)), form, exif=data)
  if form != 'JPEG':
    return file
  length = 2 + int.from_bytes(file[4:6])  # of JFIF's segment, as cameras do
  return file[:2] + file[2 + length :]


def stated(data: bytes) -> dict[int, float]:
  """The resolution in a file's EXIF, as an independent reader sees it."""
  with Image.open(io.BytesIO(data)) as image:
    fields = dict(image.getexif())
  return {tag: float(fields[tag]) for tag in (282, 283, 296) if tag in fields}


@pytest.mark.parametrize('target', FORMS)
@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'WEBP', 'AVIF'])
def test_a_resolution_in_exif_alone_is_kept(form, target):
  skip_unless_written(target)
  picture = read(source(form, block(300, 150)))
  assert picture.dpi == (300, 150)
  stream = io.BytesIO()
  assert writing.write(picture, stream, target) == []
  again = read(stream.getvalue())
  assert again.dpi == pytest.approx((300, 150), rel=1e-3)
  assert stated(stream.getvalue()) == {282: 300, 283: 150, 296: 2}


def test_a_pillow_image_gives_the_resolution_of_its_exif():
  for form in ('JPEG', 'PNG', 'WEBP'):
    with Image.open(io.BytesIO(source(form, block(300, 150)))) as image:
      assert pictures.from_image(image).dpi == (300, 150)


@pytest.mark.parametrize(
  ('data', 'dpi', 'aspect'),
  [
    (block(100, 50, unit=3), (254, 127), None),
    (block(3, 2, unit=1), None, (3, 2)),
    (block(0, 0), None, None),
    (block(72, 0), None, None),
    (block(300, 150, orientation=6), (150, 300), None),
  ],
)
def test_units_of_exif(data, dpi, aspect):
  picture = read(source('PNG', data))
  assert (picture.dpi, picture.aspect) == (dpi, aspect)
  is_kept = picture.dpi == (254, 127)  # the others are true no longer
  assert (resolution.X in exif.fields(picture.exif)) == is_kept


def test_exif_without_a_resolution_states_none():
  # Pillow takes 72 for it.
  empty = exif.PREFIX + ifd.block(
    ifd.Form('<', False), {0x13B: ifd.Field(2, 8, b'An name\0')}
  )
  assert read(source('JPEG', empty)).dpi is None


def test_a_files_own_resolution_stands_above_its_exif():
  image = Image.fromarray(noise(16, 24))
  picture = read(encode(image, 'JPEG', exif=block(72, 72), dpi=(300, 300)))
  assert picture.dpi == (300, 300) and picture.exif
  data = write(picture, 'PNG')
  assert read(data).dpi == pytest.approx((300, 300), rel=1e-3)
  assert stated(data) == {}
  shape = png.Chunk(b'pHYs', struct.pack('>IIB', 3, 2, 0))
  block_chunk = png.Chunk(b'eXIf', block(72, 72).removeprefix(exif.PREFIX))
  picture = read(with_chunks(image, shape, block_chunk))
  assert (picture.dpi, picture.aspect) == (None, (3, 2))


@pytest.mark.parametrize('dpi', [(65535.0, 300.0), (65536.0, 300.0)])
def test_a_jpeg_holds_no_resolution_above_65535(dpi):
  picture = pictures.Picture(np.zeros((8, 8, 3), np.uint8), dpi=dpi)
  stream = io.BytesIO()
  notes = writing.write(picture, stream, 'JPEG')
  again = read(stream.getvalue())
  if dpi[0] == 65535:
    assert (notes, again.dpi) == ([], dpi)
  else:
    assert notes == ['JPEG has no place for its 65536 dpi']
    assert again.dpi is None
  in_exif = pictures.Picture(picture.pixels, dpi=dpi, exif=block(*dpi))
  stream = io.BytesIO()
  assert writing.write(in_exif, stream, 'JPEG') == []
  assert read(stream.getvalue()).dpi == pytest.approx(dpi)
