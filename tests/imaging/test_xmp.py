"""XMP: what it repeats of the pixels and the file is the new ones'."""

import re

import numpy as np
from PIL import ExifTags, Image
import pytest

from srgan_jax.imaging import pictures, reading
from tests.support.image_files import (
  encode,
  noise,
  read,
  skip_unless_written,
  write,
)

SIDES = (b'x', b'y', b'w', b'h')
ATTRIBUTES = (
  b'<x:xmpmeta tiff:Orientation="%d"><mwg-rs:AppliedToDimensions '
  b'stDim:w="24" stDim:h="16" stDim:unit="pixel"/><mwg-rs:Area '
  b'stArea:x="%.6f" stArea:y="%.6f" stArea:w="0.2" stArea:h="0.3"/>'
  b'<xmpTPg:MaxPageSize stDim:w="9"/></x:xmpmeta>'
)
ELEMENTS = (
  b'<x:xmpmeta tiff:Orientation="%d">'
  b"<mwg-rs:AppliedToDimensions rdf:parseType='Resource'>"
  b'<stDim:w>24</stDim:w><stDim:h>16</stDim:h></mwg-rs:AppliedToDimensions>'
  b"<mwg-rs:Area rdf:parseType='Resource'><stArea:x>%.6f</stArea:x>"
  b'<stArea:y>%.6f</stArea:y><stArea:w>0.2</stArea:w><stArea:h>0.3</stArea:h>'
  b'</mwg-rs:Area><xmpTPg:MaxPageSize stDim:w="9"/></x:xmpmeta>'
)


@pytest.mark.parametrize('packet', [ATTRIBUTES, ELEMENTS], ids='ae')
@pytest.mark.parametrize('orientation', range(1, 9))
def test_a_face_in_xmp_stays_where_it_is_seen(orientation, packet):
  pixels = np.zeros((16, 24, 3), np.uint8)
  pixels[3, 5] = 255  # the face
  packet %= orientation, 5.5 / 24, 3.5 / 16
  picture = read(write(pictures.Picture(pixels, xmp=packet), 'PNG'))
  data = write(picture.with_pixels(noise(64, 96)), 'PNG', scale=4)
  found = dict(
    re.findall(rb'(st\w+:[xywh]).{1,2}?([\d.]+)', read(data).xmp[:-40])
  )
  row, column = np.argwhere(picture.pixels[..., 0])[0]
  height, width, _ = picture.pixels.shape
  x, y, w, h = (float(found[b'stArea:' + name]) for name in SIDES)
  assert (x * width, y * height) == pytest.approx(
    (column + 0.5, row + 0.5), 1e-4
  )
  assert (w, h) == ((0.2, 0.3) if orientation < 5 else (0.3, 0.2))
  assert int(found[b'stDim:w']) == 4 * width
  assert int(found[b'stDim:h']) == 4 * height
  assert b'MaxPageSize stDim:w="9"' in read(data).xmp


@pytest.mark.parametrize('orientation', range(1, 9))
def test_a_face_as_microsoft_writes_it_stays_where_it_is_seen(orientation):
  pixels = np.zeros((20, 40, 3), np.uint8)
  pixels[3:8, 4:8] = 255  # the face
  packet = (
    b'<x:xmpmeta tiff:Orientation="%d">'
    b'<MPReg:Rectangle>0.1, 0.15, 0.1, 0.25</MPReg:Rectangle></x:xmpmeta>'
  )
  picture = pictures.Picture(pixels, xmp=packet % orientation)
  picture = read(write(picture, 'PNG'))
  found = re.search(rb'Rectangle>([^<]*)', picture.xmp)[1].split(b',')
  rows, columns, _ = np.nonzero(picture.pixels)
  height, width, _ = picture.pixels.shape
  assert list(map(float, found)) == pytest.approx(
    [
      columns.min() / width,
      rows.min() / height,
      (np.ptp(columns) + 1) / width,
      (np.ptp(rows) + 1) / height,
    ]
  )


def test_xmp_names_no_part_or_place_that_is_left_out():
  kept = b'<dc:title>24</dc:title>'
  gone = (
    b'<rdf:Description GCamera:MotionPhoto="1" hdrgm:Version=\'1.0\' '
    b'xmpNote:HasExtendedXMP="12AB"><Container:Directory><rdf:Seq>'
    b'<Container:Item Item:Length="9"/></rdf:Seq></Container:Directory>'
    b'<exif:SubjectArea><rdf:Seq><rdf:li>3</rdf:li></rdf:Seq>'
    b'</exif:SubjectArea><GCamera:MicroVideo>1</GCamera:MicroVideo>'
  )
  picture = pictures.Picture(noise(16, 24), xmp=gone + kept)
  assert read(write(picture, 'WEBP')).xmp == b'<rdf:Description>' + kept
  # What never ends costs no time.
  endless = b'<hdrgm:a' * 100_000 + b'<mwg-rs:Area>' * 100_000
  read(write(pictures.Picture(noise(16, 24), xmp=endless), 'PNG'))


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'TIFF', 'WEBP', 'AVIF'])
def test_xmp_names_the_type_of_the_new_file(form):
  skip_unless_written(form)
  packet = b'<dc:format>image/jpeg</dc:format>'
  picture = pictures.Picture(noise(16, 24), xmp=packet)
  kind = f'<dc:format>image/{form.lower()}</dc:format>'
  assert kind.encode() in write(picture, form)


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'WEBP'])
def test_xmp_turns_a_picture_whose_exif_says_nothing_of_it(form):
  fields = Image.Exif()
  fields[ExifTags.Base.Artist] = 'A. Name'
  packet = b'<x:xmpmeta tiff:Orientation="6">'
  picture = pictures.Picture(noise(16, 24), exif=fields.tobytes(), xmp=packet)
  assert read(write(picture, form)).pixels.shape == (24, 16, 3)


@pytest.mark.parametrize('options', [{}, {'compression': 'tiff_lzw'}], ids=str)
@pytest.mark.parametrize('bits', [8, 16])
def test_xmp_turns_a_tiff_without_an_orientation(bits, options):
  pixels = noise(16, 24)[..., 0].astype(f'uint{bits}')
  packet = b'<x:xmpmeta tiff:Orientation="6">'
  data = encode(
    Image.fromarray(pixels), 'TIFF', tiffinfo={700: packet}, **options
  )
  picture = read(data)
  np.testing.assert_array_equal(picture.pixels[..., 0], np.rot90(pixels, -1))
  assert picture.xmp == b'<x:xmpmeta tiff:Orientation="1">'
  assert reading.image_size(data, '') == (24, 16)
