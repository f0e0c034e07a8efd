"""TIFFs of every depth and layout, against tifffile's writer."""

import io

import numpy as np
from PIL import Image
import pytest

from srgan_jax.imaging import pictures, reading
from tests.support.image_files import deep, encode, tiff

tifffile = pytest.importorskip('tifffile')

VALUES = deep(41, 50, 4)


def read(data: bytes) -> pictures.Picture:
  picture = pictures.read(data, 'a.tif')
  assert reading.image_size(data, '') == picture.pixels.shape[:2]
  return picture


LAYOUTS = [
  {},
  {'byteorder': '>'},
  {'bigtiff': True},
  {'bigtiff': True, 'byteorder': '>'},
  {'compression': 'zlib', 'predictor': True, 'rowsperstrip': 7},
  {'tile': (16, 32)},
  {'compression': 'zlib', 'predictor': True, 'tile': (32, 16)},
]


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('options', LAYOUTS, ids=str)
def test_16_bits_and_alpha_stay(options, channels):
  values = VALUES[..., :channels]
  kind = 'minisblack' if channels < 3 else 'rgb'
  extra = [2] if channels in (2, 4) else None
  picture = read(tiff(values, photometric=kind, extrasamples=extra, **options))
  np.testing.assert_array_equal(picture.pixels, values)
  assert picture.notes == ()


@pytest.mark.parametrize('options', LAYOUTS, ids=str)
def test_8_bits_in_every_order(options):
  values = VALUES[..., :3].astype(np.uint8)
  picture = read(tiff(values, photometric='rgb', **options))
  np.testing.assert_array_equal(picture.pixels, values)


@pytest.mark.parametrize(
  'options', [{}, {'rowsperstrip': 41}, {'rowsperstrip': 1}], ids=str
)
def test_channels_in_separate_planes(options):
  values = VALUES[..., :3].transpose(2, 0, 1)
  data = tiff(values, photometric='rgb', planarconfig='separate', **options)
  np.testing.assert_array_equal(read(data).pixels, VALUES[..., :3])
  odd = tiff(values, photometric='rgb', planarconfig='separate', rowsperstrip=9)
  with pytest.raises(ValueError, match='a.tif: .*separate planes'):
    read(odd)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [2, 4])
def test_alpha_that_is_multiplied_in_is_taken_out(channels, dtype):
  top = np.iinfo(dtype).max
  values = VALUES[..., :channels].astype(dtype)
  values[..., -1] |= top // 2  # so that little is lost
  alpha = values[..., -1:].astype(float) / top
  stored = np.round(values[..., :-1] * alpha).astype(dtype)
  data = tiff(
    np.concatenate([stored, values[..., -1:]], axis=-1),
    photometric='minisblack' if channels == 2 else 'rgb',
    extrasamples=[1],
  )
  found = read(data).pixels
  assert found.dtype == dtype
  assert np.abs(found.astype(int) - values).max() <= 1


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_a_channel_of_no_stated_meaning_is_alpha_and_said(dtype):
  values = VALUES.astype(dtype)
  picture = read(tiff(values, photometric='rgb', extrasamples=[0]))
  np.testing.assert_array_equal(picture.pixels, values)
  assert picture.notes == ('its extra channel is taken as alpha',)
  values[..., 3] = 0  # which would hide all
  picture = read(tiff(values, photometric='rgb', extrasamples=[0]))
  np.testing.assert_array_equal(picture.pixels, values[..., :3])
  assert picture.notes == ('1 extra channel left out',)
  five = np.concatenate([VALUES, VALUES[..., :1]], axis=-1).astype(dtype)
  picture = read(tiff(five, photometric='rgb', extrasamples=[2, 0]))
  np.testing.assert_array_equal(picture.pixels, five[..., :4])
  assert picture.notes == ('1 extra channel left out',)


@pytest.mark.parametrize('bits', [10, 12, 14])
@pytest.mark.parametrize('channels', [1, 3])
def test_bits_between_8_and_16_reach_white(bits, channels):
  values = VALUES[:9, :11, :channels] >> 16 - bits
  values[0, :2, 0] = 0, 2**bits - 1
  shifts = np.arange(bits - 1, -1, -1)
  unpacked = (values.reshape(9, -1, 1) >> shifts & 1).astype(np.uint8)
  rows = np.packbits(unpacked.reshape(9, -1), axis=1)
  # A file of bytes, whose directory then tells of samples.
  data = bytearray(tiff(rows, metadata=None))
  with tifffile.TiffFile(io.BytesIO(data)) as file:
    tags = file.pages[0].tags
    for name, value in (
      ('ImageWidth', 11),
      ('BitsPerSample', bits),
      ('SamplesPerPixel', channels),
      ('PhotometricInterpretation', 1 if channels == 1 else 2),
    ):
      place = tags[name].valueoffset
      data[place : place + 2] = value.to_bytes(2, 'little')
  picture = read(bytes(data))
  expected = np.round(values * (65535 / (2**bits - 1)))
  np.testing.assert_array_equal(picture.pixels, expected)
  assert picture.notes == ()


@pytest.mark.parametrize('channels', [4, 5])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_cmyk_becomes_rgb_and_keeps_its_alpha(dtype, channels):
  values = np.zeros((6, 7, channels), dtype)
  values[..., 0] = np.iinfo(dtype).max  # cyan
  values[..., 4:] = np.iinfo(dtype).max // 2
  extra = [2] if channels == 5 else None
  picture = read(tiff(values, photometric='separated', extrasamples=extra))
  assert picture.pixels.dtype == np.uint8
  assert picture.pixels[0, 0, :3].tolist() == [0, 255, 255]
  assert picture.pixels[0, 0, 3:].tolist() == [127] * (channels - 4)
  said = ' '.join(picture.notes)
  assert 'without an ICC profile' in said
  assert ('16 bits became 8' in said) == (dtype == np.uint16)


@pytest.mark.parametrize(
  ('values', 'why'),
  [
    (VALUES[..., :3].astype(np.float32), 'floating-point'),
    (VALUES[..., 0].astype(np.float64), 'floating-point'),
    (VALUES[..., :3].astype(np.int32), '32 bits'),
    (VALUES[..., :3].astype(np.int16), 'signed'),
    (VALUES[..., 0].astype(np.uint64), '64 bits'),
  ],
  ids=['float32', 'float64', 'int32', 'int16', 'uint64'],
)
def test_pixels_of_no_known_range_are_refused_for_that(values, why):
  kind = 'rgb' if values.ndim == 3 else 'minisblack'
  for read_ in (pictures.read, reading.read_rgb):
    with pytest.raises(ValueError, match=f'^a.tif: .*{why}.*no known range'):
      read_(tiff(values, photometric=kind), 'a.tif')


def test_another_kind_of_tiff_is_named():
  data = tiff(VALUES[..., :3], photometric='cielab')
  with pytest.raises(ValueError, match='bits 16/16/16, photometric 8'):
    reading.read_rgb(data, 'a.tif')


@pytest.mark.parametrize('options', LAYOUTS[:5], ids=str)
def test_a_tiff_that_is_cut_off_is_one_line(options):
  data = tiff(VALUES, photometric='rgb', extrasamples=[2], **options)
  for end in (9, 100, len(data) // 2, len(data) - 40):
    with pytest.raises(ValueError, match='^a.tif: not a readable image'):
      pictures.read(data[:end], 'a.tif')


def test_channels_without_number_are_refused():
  data = tiff(deep(5, 6, 17), photometric='rgb', planarconfig='contig')
  with pytest.raises(ValueError, match='a TIFF of 17 channels'):
    reading.image_size(data, '')


def test_training_sees_the_rounded_high_byte():
  data = tiff(VALUES[..., :3], photometric='rgb')
  rounded = ((VALUES[..., :3].astype(int) + 128) // 257).astype(np.uint8)
  np.testing.assert_array_equal(reading.read_rgb(data, ''), rounded)


def test_a_compression_that_others_use_is_read():
  values = VALUES[..., 0]
  for name in ('tiff_lzw', 'packbits', 'tiff_adobe_deflate', 'zstd'):
    data = encode(Image.fromarray(values), 'TIFF', compression=name)
    np.testing.assert_array_equal(read(data).pixels[..., 0], values)


@pytest.mark.parametrize('is_below', [False, True])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_the_picture_is_taken_and_not_its_thumbnail(dtype, is_below):
  values = VALUES[..., :3].astype(dtype)
  stream = io.BytesIO()
  with tifffile.TiffWriter(stream) as file:
    file.write(
      values[::4, ::4],
      photometric='rgb',
      subfiletype=1,
      extratags=[(315, 2, 8, 'An name', True)],
      subifds=int(is_below),
      metadata=None,
    )
    file.write(values, photometric='rgb', metadata=None)
  picture = read(stream.getvalue())
  np.testing.assert_array_equal(picture.pixels, values)
  assert picture.notes == ()
  assert b'An name' in picture.exif
