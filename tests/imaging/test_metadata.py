"""EXIF, XMP, IPTC, comments and text: what goes in comes out, byte for byte."""

import dataclasses
import io
import struct
import zlib

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, features
import pytest

from srgan_jax.imaging import (
  exif,
  ifd,
  iptc,
  pictures,
  png,
  tiff_writing,
  writing,
)
from tests.support.image_files import (
  deep,
  encode,
  noise,
  read,
  tiff,
  with_chunks,
)

ARTIST = 'Jörg Größe 写真'.encode()
RECORDS = b'\x1c\x02\x19\x00\x07holiday\x1c\x02\x00\x00\x02\x00\x04'
XMP = (
  b"<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta>"
  b'<rdf:Description tiff:ImageWidth="24" tiff:Orientation=\'1\' '
  b'exif:PixelYDimension="16" GPano:FullPanoWidthPixels="96">'
  b'<tiff:ImageLength>16</tiff:ImageLength><dc:title>24</dc:title>'
  b"</rdf:Description></x:xmpmeta><?xpacket end='w'?>"
)
FORMS = [
  form
  for form in ('JPEG', 'PNG', 'TIFF', 'WEBP', 'AVIF')
  if form != 'AVIF' or 'avif' in features.get_supported_modules()
]


def block(order: str = '>') -> bytes:
  """EXIF whose text is UTF-8, with a maker's note that knows its place."""
  form = ifd.Form(order, False)
  text = lambda data: ifd.Field(2, len(data) + 1, data + b'\0')
  fields = {
    0x10F: text(b'A maker'),
    0x13B: text(ARTIST),
    0x8298: text(b'\xa9 latin-1'),
    ifd.EXIF: {
      0x829A: ifd.Field(5, 1, struct.pack(order + '2I', 1, 250), order),
      0x927C: ifd.Field(7, 10, b'maker note'),
      0xA002: ifd.Field(4, 1, struct.pack(order + 'I', 24), order),
      0xA430: text(ARTIST),
      ifd.INTEROP: {1: text(b'R98'), 0x1001: ifd.of_numbers(4, 24)},
    },
    ifd.GPS: {
      1: text(b'N'),
      2: ifd.Field(5, 3, struct.pack(order + '6I', 52, 1, 31, 1, 25, 2), order),
    },
  }
  return exif.PREFIX + ifd.block(form, fields)


def turned_block() -> bytes:
  fields = {exif.ORIENTATION: ifd.of_numbers(3, 6)}
  form = ifd.Form('<', False)
  return exif.PREFIX + ifd.block(form, fields)


def write(picture: pictures.Picture, form: str, **options):
  """The file, and the notes."""
  stream = io.BytesIO()
  notes = writing.write(picture, stream, form, **options)
  return stream.getvalue(), notes


def field(data: bytes, *path: int) -> bytes:
  """The bytes of a field of a file's EXIF, as an independent reader sees it."""
  with Image.open(io.BytesIO(data)) as image:
    fields = image.getexif()
    for directory in path[:-1]:
      fields = fields.get_ifd(directory)
    value = fields[path[-1]]
  return value.encode('latin-1') if isinstance(value, str) else value


@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('target', FORMS)
@pytest.mark.parametrize('source', FORMS)
def test_exif_passes_byte_for_byte(source, target, order):
  picture = pictures.Picture(noise(16, 24), exif=block(order))
  data, _ = write(read(write(picture, source)[0]), target)
  assert field(data, 0x13B) == ARTIST
  assert field(data, 0x8298) == b'\xa9 latin-1'
  assert field(data, ifd.EXIF, 0xA430) == ARTIST
  assert float(field(data, ifd.EXIF, 0x829A)) == pytest.approx(1 / 250)
  assert field(data, ifd.GPS, 1) == b'N'
  assert field(data, ifd.GPS, 2) == (52, 31, 12.5)
  assert field(data, ifd.EXIF, 0x927C) == b'maker note'
  with Image.open(io.BytesIO(data)) as image:
    assert 0xA002 not in image.getexif().get_ifd(ifd.EXIF)  # a width
    assert image.getexif().get_ifd(ifd.INTEROP) == {1: 'R98'}  # of 24 pixels


def test_text_of_exif_3_is_kept():
  form = ifd.Form('<', False)
  fields = {0x13B: ifd.Field(129, len(ARTIST) + 1, ARTIST + b'\0')}
  source = exif.PREFIX + ifd.block(form, fields)
  assert exif.clean(source) == (source, [])
  data, _ = write(pictures.Picture(noise(16, 24), exif=source), 'TIFF')
  assert ARTIST in read(data).exif


def test_a_makers_note_stays_where_it_is():
  source = block()
  cleaned, _ = exif.clean(source)
  assert cleaned != source
  assert cleaned.index(b'maker note') == source.index(b'maker note')


@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_a_makers_note_stays_where_it_is_in_a_tiff(monkeypatch, dtype, order):
  source = block(order).removeprefix(exif.PREFIX)
  pixels = noise(16, 24).astype(dtype)
  data, _ = write(pictures.Picture(pixels, exif=block(order)), 'TIFF')
  assert data.index(b'maker note') == source.index(b'maker note')
  assert data.count(b'maker note') == 1
  for most in (tiff_writing._MOST_CLASSIC, 0):  # and as a BigTIFF
    monkeypatch.setattr(tiff_writing, '_MOST_CLASSIC', most)
    data, _ = write(pictures.Picture(pixels, exif=block(order)), 'TIFF')
    picture = read(data)
    np.testing.assert_array_equal(picture.pixels, pixels)
    note = exif.fields(picture.exif)[ifd.EXIF][0x927C]
    assert note.data == b'maker note'


@pytest.mark.skipif('AVIF' not in FORMS, reason='Pillow without AVIF')
def test_exif_of_an_avif_that_is_turned_passes_byte_for_byte():
  fields = Image.Exif()
  fields[ExifTags.Base.Orientation] = 6
  fields[ExifTags.Base.Artist] = '?' * len(ARTIST)
  data = encode(Image.fromarray(noise(16, 24)), 'AVIF', exif=fields)
  picture = read(data.replace(b'?' * len(ARTIST), ARTIST))
  assert picture.pixels.shape == (24, 16, 3)
  assert ARTIST in picture.exif


def test_a_thumbnail_is_not_kept():
  image = Image.fromarray(noise(16, 24))
  thumbnail = encode(image.resize((8, 8)), 'JPEG')
  data = bytearray(block('<'))
  place, following = len(data) - 6, 8 + 6 + 2 + 12 * 5
  table = struct.pack('<HHHII', 2, 0x201, 4, 1, place + 30)
  table += struct.pack('<HHII', 0x202, 4, 1, len(thumbnail)) + bytes(4)
  data[following : following + 4] = struct.pack('<I', place)
  data += table + thumbnail
  cleaned, _ = exif.clean(bytes(data))
  assert thumbnail[:40] not in cleaned and ARTIST in cleaned


@pytest.mark.parametrize(
  'data',
  [
    b'',
    b'Exif\0\0',
    b'Exif\0\0MM\0*\0\0\0\x08\xff\xff',
    b'Exif\0\0II*\0\xff\xff\xff\xff',
    exif.PREFIX + b'MM\0*' + struct.pack('>IHHHII', 8, 1, 0x8769, 4, 1, 8),
    exif.PREFIX + b'II+\0\x08\0\0\0' + b'\xff' * 8,
    block()[:90],
    # Types that there are none of, with and without a value.
    block().replace(b'\x01\x0f\0\2', b'\x01\x0f\0\0'),
    block()[:18] + b'\xff\xff\0\0\0\0' + block()[24:],
  ],
  ids=range(9),
)
def test_broken_exif_refuses_no_picture(data):
  for form in ('JPEG', 'PNG'):
    picture = read(encode(Image.fromarray(noise(16, 24)), form, exif=data))
    write(picture, 'TIFF')


def full(form: str) -> bytes:
  """A picture with all that a format can hold."""
  texts = (png.Chunk(b'tEXt', b'Author\0\xe9'),) if form == 'PNG' else ()
  comments = (b'made by me', 'zweitens ü'.encode()) if form == 'JPEG' else ()
  records = RECORDS if form in ('JPEG', 'PNG', 'TIFF') else None
  picture = pictures.Picture(
    noise(16, 24), xmp=XMP, iptc=records, comments=comments, texts=texts
  )
  return write(picture, form)[0]


@pytest.mark.parametrize('target', [*FORMS, 'BMP'])
@pytest.mark.parametrize('source', FORMS)
def test_what_has_no_place_is_named(source, target):
  picture = read(full(source))
  assert not picture.notes
  data, notes = write(picture, target)
  again = read(data)
  said = ' '.join(notes)
  for name, before, after in (
    ('XMP', picture.xmp, again.xmp),
    ('IPTC', picture.iptc, again.iptc),
  ):
    assert (before is None or before == after) != (name in said)
  if source == 'PNG':
    assert (again.texts == picture.texts) != ('(Author)' in said)
  if source == 'JPEG':
    kept = again.comments == picture.comments
    kept |= target == 'PNG' and len(again.texts) == 2
    assert kept != ('comment' in said)


def test_another_reader_finds_what_was_kept():
  with Image.open(io.BytesIO(full('JPEG'))) as image:
    assert image.info['photoshop'][0x404] == RECORDS
    assert image.info['comment'] == 'zweitens ü'.encode()
    assert image.info['xmp'].endswith(b"<?xpacket end='w'?>")
  with Image.open(io.BytesIO(full('TIFF'))) as image:
    assert image.tag_v2[33723] in (RECORDS, (RECORDS,))
  with Image.open(io.BytesIO(full('PNG'))) as image:
    profile = image.text['Raw profile type iptc'].split('\n')
    assert int(profile[2]) == len(iptc.resource(RECORDS))
    assert RECORDS.hex() in ''.join(profile[3:])
    assert image.text['Author'] == 'é'


def test_sizes_and_orientation_in_xmp_are_the_new_pictures():
  turned = XMP.replace(b"tiff:Orientation='1'", b"tiff:Orientation='6'")
  picture = pictures.Picture(noise(24, 16), xmp=turned)
  picture = read(write(picture, 'PNG')[0])
  assert picture.pixels.shape == (16, 24, 3)
  picture = picture.with_pixels(noise(64, 96))
  for form in FORMS:
    xmp = read(write(picture, form, scale=4)[0]).xmp
    assert b'tiff:ImageWidth="96"' in xmp and b"tiff:Orientation='1'" in xmp
    assert b'exif:PixelYDimension="64"' in xmp
    assert b'<tiff:ImageLength>64</tiff:ImageLength>' in xmp
    assert b'GPano:FullPanoWidthPixels="384"' in xmp
    assert b'<dc:title>24</dc:title>' in xmp


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'TIFF'])
@pytest.mark.parametrize('bits', [8, 16])
def test_resolution_turns_with_the_pixels(form, bits):
  pixels = noise(16, 24) if bits == 8 else deep(16, 24, 3)
  picture = pictures.Picture(pixels, dpi=(200, 100), exif=turned_block())
  data = write(picture, form)[0]
  assert read(data).dpi == pytest.approx((100, 200), 1e-3)


def test_too_much_for_a_jpeg_is_named():
  long = bytes(70_000)
  picture = pictures.Picture(
    noise(16, 24),
    exif=block() + long,
    xmp=XMP + long,
    iptc=RECORDS + long,
    comments=(long,),
  )
  data, notes = write(picture, 'JPEG')
  assert [note.split()[1] for note in notes] == [
    'EXIF',
    'XMP',
    'comment',
    'IPTC',
  ]
  assert read(data).pixels.shape == (16, 24, 3)


def chunked(*chunks: png.Chunk) -> bytes:
  return with_chunks(Image.fromarray(noise(16, 24)), *chunks)


def test_long_text_and_profiles_refuse_no_png():
  body = zlib.compress(b'{"nodes": 1}' * 200_000)
  text = png.Chunk(b'zTXt', b'workflow\0\0' + body)
  many = [png.Chunk(b'tEXt', b'n\0' + bytes(900_000)) for _ in range(80)]
  profile = b''.join((bytes(16), b'RGB ', bytes(1_500_000)))
  source = chunked(text, *many, png.profile_chunk(profile))
  picture = read(source)
  np.testing.assert_array_equal(picture.pixels, noise(16, 24))
  assert picture.icc_profile == profile and not picture.notes
  again, _ = png.split(io.BytesIO(write(picture, 'PNG')[0]))
  assert again.chunks.count(text) == 1 and len(again.texts()) == 81


@pytest.mark.parametrize('text', [b'\n' * 10**6, b'\nexif\n 4\n45x9', b'\n'])
def test_metadata_in_words_that_are_none_cost_nothing(text):
  profile = b'Raw profile type exif\0\0' + zlib.compress(text)
  picture = read(chunked(png.Chunk(b'zTXt', profile)))
  assert picture.exif is None and not picture.notes


@pytest.mark.parametrize('head', [b'', b'http://ns.adobe.com/xap/1.0/\0'])
def test_xmp_in_hexadecimal_words_is_kept(head):
  # ImageMagick 6 writes it so.
  kind, packet = 'APP1' if head else 'xmp', b'<rdf:RDF>' + XMP + b'</rdf:RDF>'
  picture = read(chunked(png.raw_profile_chunk(kind, head + packet)))
  assert picture.xmp == packet and not picture.texts


def test_a_profile_in_hexadecimal_words_is_not_dropped():
  chunk = png.raw_profile_chunk('icc', bytes(128))
  picture = read(chunked(chunk))
  assert picture.texts == (chunk,)
  assert write(picture, 'JPEG')[1]


@pytest.mark.parametrize('kind', [b'tIME', b'iCCP', b'gAMA', b'tRNS', b'eXIf'])
def test_a_damaged_ancillary_chunk_refuses_no_png(kind):
  data = bytearray(chunked(png.Chunk(kind, b'1234567')))
  data[data.index(kind) + 4] ^= 1
  picture = read(bytes(data))
  assert picture.notes == (f'damaged chunks are left out ({kind.decode()})',)
  np.testing.assert_array_equal(picture.pixels, noise(16, 24))


def test_chunks_of_an_unknown_kind_are_named():
  picture = read(chunked(png.Chunk(b'caBX', b'who made it')))
  assert picture.notes == ('chunks of an unknown kind are left out (caBX)',)


def test_text_behind_the_pixels_of_a_deep_png_is_kept():
  info = PngImagePlugin.PngInfo()
  info.add_text('parameters', 'Steps: 40')
  text = png.Chunk(b'tEXt', b'parameters\0Steps: 40')
  data, _ = write(pictures.Picture(deep(8, 8, 3)), 'PNG')
  picture = read(data[:-12] + png.encode_chunk(text) + data[-12:])
  again, _ = png.split(io.BytesIO(write(picture, 'PNG')[0]))
  assert again.texts() == [('parameters', text)]


def test_a_microscopes_plan_is_not_copied():
  for options, notes in (({'ome': True}, 1), ({'imagej': True}, 1), ({}, 0)):
    picture = read(tiff(deep(8, 9), **options))
    assert len(picture.notes) == notes
    with Image.open(io.BytesIO(write(picture, 'TIFF')[0])) as image:
      assert ExifTags.Base.ImageDescription not in image.tag_v2
  picture = read(tiff(deep(8, 9), description='a cat', metadata=None))
  with Image.open(io.BytesIO(write(picture, 'TIFF')[0])) as image:
    assert image.tag_v2[ExifTags.Base.ImageDescription] == 'a cat'


def test_flattened_alpha_and_lost_bits_are_named():
  values = deep(8, 8, 4)
  notes = write(pictures.Picture(values), 'JPEG')[1]
  assert len(notes) == 2 and '16 bits' in notes[0] and 'white' in notes[1]
  values[..., 3] = 65535
  assert len(write(pictures.Picture(values), 'JPEG')[1]) == 1  # nothing hidden
  for form in ('PNG', 'TIFF'):
    assert write(pictures.Picture(values), form)[1] == []


def test_both_pictures_of_an_mpo_are_counted():
  frames = [Image.fromarray(noise(8, 8, seed)) for seed in range(2)]
  data = encode(frames[0], 'MPO', save_all=True, append_images=frames[1:])
  picture = read(data)
  assert picture.notes == ('the first of 2 frames or pages',)
  assert picture.format == 'JPEG'


@pytest.mark.parametrize('form', ['PNG', 'JPEG', 'TIFF'])
def test_pixels_that_are_not_square_stay_so(form):
  phys = png.Chunk(b'pHYs', struct.pack('>IIB', 3000, 2000, 0))
  picture = read(with_chunks(Image.fromarray(noise(16, 24)), phys))
  data, _ = write(picture, form)
  assert read(data).aspect == (3, 2)
  assert read(data).dpi is None
  sideways = dataclasses.replace(
    picture, xmp=b'<x:xmpmeta tiff:Orientation="6">'
  )
  assert read(write(sideways, form)[0]).aspect == (2, 3)


@pytest.mark.parametrize(
  'form, shape',
  [
    ('WEBP', {'aspect': (3, 2)}),
    ('BMP', {'aspect': (3, 2)}),
    ('WEBP', {'dpi': (300.0, 200.0)}),
    ('AVIF', {'dpi': (300.0, 200.0)}),
  ],
)
def test_pixels_that_become_square_are_named(form, shape):
  picture = pictures.Picture(noise(16, 24), **shape)
  assert write(picture, form)[1] == [
    f"{form} has no place for its pixels' aspect"
  ]
