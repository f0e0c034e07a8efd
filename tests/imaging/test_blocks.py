"""Metadata of BMP, GIF, JPEG 2000, PSD and JPEG beyond what Pillow reads."""

import struct

import numpy as np
from PIL import Image, features
import pytest

from srgan_jax.imaging import blocks, exif, ifd, iptc, pictures, png
from tests.support.image_files import (
  encode,
  noise,
  profile,
  read,
  with_chunks,
  write,
)

XMP = b'<x:xmpmeta><rdf:RDF>' + bytes(range(32, 127)) * 9 + b'</rdf:RDF>'
RECORDS = b'\x1c\x02\x19\x00\x07holiday'
FORM = ifd.Form('<', False)
FIELDS = {0x13B: ifd.Field(2, 8, b'An name\0')}
TIFF = ifd.block(FORM, FIELDS)


def kept(picture: pictures.Picture) -> tuple:
  return picture.icc_profile, picture.exif, picture.xmp, picture.iptc


def test_the_profile_of_a_bmp():
  plain = encode(Image.fromarray(noise(16, 24)), 'BMP')
  place = 124 + len(plain) - 54
  header = struct.pack('<I', 124) + plain[18:54] + bytes(16) + b'DEBM'
  header += bytes(52) + struct.pack('<II', place, len(profile())) + bytes(4)
  head = plain[:10] + struct.pack('<I', 14 + 124)
  data = head + header + plain[54:] + profile()
  picture = read(data)
  assert kept(picture) == (profile(), None, None, None)
  np.testing.assert_array_equal(picture.pixels, noise(16, 24))
  assert read(data[: -len(profile())]).icc_profile is None


def gif(*extensions: bytes) -> bytes:
  data = encode(Image.fromarray(noise(16, 24)).quantize(64), 'GIF')
  place = 13 + 3 * 64
  return data[:place] + b''.join(extensions) + data[place:]


def test_xmp_and_profile_of_a_gif():
  icc = profile()
  pieces = b''.join(
    bytes([len(icc[at : at + 255])]) + icc[at : at + 255]
    for at in range(0, len(icc), 255)
  )
  trailer = b'\1' + bytes(range(255, -1, -1)) + b'\0'
  picture = read(
    gif(
      b'!\xff\x0bICCRGBG1012' + pieces + b'\0',
      b'!\xfe\4note\0',
      b'!\xff\x0bXMP DataXMP' + XMP + trailer,
    )
  )
  assert kept(picture) == (icc, None, XMP, None)
  assert picture.comments == (b'note',)


@pytest.mark.skipif(
  'jpg_2000' not in features.get_supported(), reason='Pillow without JPEG 2000'
)
def test_metadata_of_a_jpeg_2000():
  box = lambda kind, data: struct.pack('>I4s', 8 + len(data), kind) + data
  data = encode(Image.fromarray(noise(16, 24)), 'JPEG2000')
  start, end = data.index(b'jp2h') - 4, data.index(b'jp2c') - 4
  header = data[start + 8 : start + 8 + 22]
  uuids = (
    (b'JpgTiffExif->JP2', TIFF),
    (bytes.fromhex('be7acfcb97a942e89c71999491e3afac'), XMP),
    (bytes.fromhex('33c7a4d2b81d4723a0baf1a3e097ad38'), RECORDS),
    (bytes(16), b'another'),
  )
  whole = data[:start] + box(
    b'jp2h', header + box(b'colr', b'\2\0\0' + profile())
  )
  whole += data[end:] + b''.join(box(b'uuid', a + b) for a, b in uuids)
  picture = read(whole)
  assert kept(picture) == (profile(), exif.PREFIX + TIFF, XMP, RECORDS)
  for length in range(len(whole) - 60, len(whole)):
    read(whole[:length])


@pytest.mark.parametrize(
  ('head', 'pixels', 'comments'),
  [
    (b'P6\n2 1\n255\n', b'#\n#a\n#', ()),
    (b'P6\n# by me\n2 1 # 3\n#\n255\n', bytes(6), (b'by me', b'3')),
    (b'P5 #\xfcber\r2 1 255\n', b'#\n', (b'\xfcber',)),
    (b'P4\n#a\n8 1\n', b'#', (b'a',)),
    (b'P2\n#a\n2 1\n9\n', b'1 2\n', (b'a',)),
  ],
)
def test_comments_of_a_ppm(head, pixels, comments):
  picture = read(head + pixels)
  assert picture.comments == comments and not picture.notes
  assert len(read(write(picture, 'PNG')).texts) == len(comments)
  assert read(write(picture, 'JPEG')).comments == comments


def psd(*resources: tuple[int, bytes]) -> bytes:
  pixels = noise(16, 24).transpose(2, 0, 1)
  body = b''.join(
    struct.pack('>4sHHI', b'8BIM', kind, 0, len(data))
    + data
    + bytes(len(data) % 2)
    for kind, data in resources
  )
  return b''.join(
    [
      struct.pack('>4sH6xHIIHH', b'8BPS', 1, *pixels.shape, 8, 3),
      struct.pack('>II', 0, len(body)) + body,
      struct.pack('>IH', 0, 0) + pixels.tobytes(),
    ]
  )


def test_metadata_of_a_psd():
  size = struct.pack('>IHHIHH', 300 << 16, 1, 1, 150 << 16, 1, 1)
  picture = read(
    psd(
      (0x40F, profile()),
      (0x422, TIFF),
      (0x424, XMP),
      (0x404, RECORDS),
      (0x3ED, size),
    )
  )
  assert kept(picture) == (profile(), exif.PREFIX + TIFF, XMP, RECORDS)
  assert picture.dpi == (300, 150)
  np.testing.assert_array_equal(picture.pixels, noise(16, 24))
  assert kept(read(psd((0x3ED, b'12'), (0x422, b'1234')))) == (None,) * 4


@pytest.mark.parametrize(
  ('kind', 'data', 'notes'),
  [
    (2000, bytes(26), ('its clipping paths are left out',)),
    (0x40A, b'\1', ('its copyright flag is left out',)),
    (0x40A, b'\0', ()),
    (0x40B, b'http://a.b', ('its URL is left out',)),
    (0x40B, b'', ()),
  ],
)
def test_resources_that_are_left_out_are_named(kind, data, notes):
  image = Image.fromarray(noise(16, 24))
  length = len(data)
  resource = struct.pack('>4sHHI', b'8BIM', kind, 0, length) + data
  resource += bytes(length % 2)
  marked = iptc.MARKER + resource
  segment = struct.pack('>HH', 0xFFED, len(marked) + 2) + marked
  for file in (
    encode(image, 'JPEG', extra=segment),
    encode(image, 'TIFF', tiffinfo={0x8649: resource}),
    psd((kind, data)),
    *(
      with_chunks(image, png.raw_profile_chunk(name, resource))
      for name in ('iptc', '8bim')
    ),
  ):
    assert read(file).notes == notes
    assert read(file).iptc is None


def test_records_of_a_png_beside_its_resources():
  image = Image.fromarray(noise(16, 24))
  url = struct.pack('>4sHHI', b'8BIM', 0x40B, 0, 2) + b'a.'
  for records in (RECORDS, iptc.resource(RECORDS)):
    both = [('iptc', records), ('8bim', url + iptc.resource(b'other'))]
    chunks = [png.raw_profile_chunk(*item) for item in both]
    picture = read(with_chunks(image, *chunks))
    assert picture.iptc == RECORDS
    assert picture.notes == ('its URL is left out',)


def test_what_else_a_jpeg_holds_is_named():
  plain = encode(Image.fromarray(noise(16, 24)), 'JPEG')
  extra = b'\xff\xeb\0\x08JP\0\1\0\1' + b'\xff\xe1\0\x08FLIR\0\1'
  video = struct.pack('>I4s4s', 24, b'ftyp', b'mp42') + bytes(12)
  assert read(plain).notes == ()
  assert read(plain[:2] + extra + plain[2:] + video).notes == (
    'segments of an unknown kind are left out (APP11 JP, APP1 FLIR)',
    'its video is left out',
  )
  for name, end in (
    ('AFCP', b'AXS!' + bytes(8)),
    ('FotoStation', b'\xa1\xb2\xc3\xd4'),
    ('PhotoMechanic', b'cbipcbbl'),
  ):
    assert read(plain + bytes(99) + end).notes == (
      f"{name}'s trailer is left out",
    )


def test_further_pictures_of_a_heif_are_named():
  kind = 'urn:com:apple:photo:2020:aux:hdrgainmap'
  info = {'aux': {kind: [51]}, 'depth_images': [object()]}
  assert len(blocks.left_out_of_heif(info)) == 2
  assert not blocks.left_out_of_heif({'aux': {}, 'depth_images': []})
