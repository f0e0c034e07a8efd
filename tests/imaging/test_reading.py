"""Reading image files: every mode, orientation, and every way to be broken."""

import io
import struct

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile, PngImagePlugin
import pytest

from srgan_jax.imaging import pictures, png, reading
from tests.support.image_files import (
  BLACK,
  BLUE,
  GREEN,
  RED,
  WHITE,
  encode,
  huge,
  noise,
  oriented,
  palette,
  png_of,
  read,
  row,
  turned,
  write,
)

MODES = {
  'rgb': (encode(row('RGB', [RED, (1, 2, 3)])), [RED, (1, 2, 3)]),
  'gray': (encode(row('L', [0, 7, 255])), [BLACK, (7, 7, 7), WHITE]),
  'one bit': (encode(row('1', [0, 255])), [BLACK, WHITE]),
  'palette': (palette(), [RED, GREEN, BLUE]),
  'palette, one index transparent': (palette(1), [RED, WHITE, BLUE]),
  'palette, alpha per index': (
    palette(bytes([255, 0, 51])),
    [RED, WHITE, (204, 204, 255)],
  ),
  'rgba': (
    encode(row('RGBA', [(*RED, 255), (*RED, 0), (0, 0, 0, 51)])),
    [RED, WHITE, (204, 204, 204)],
  ),
  'gray with alpha': (
    encode(row('LA', [(7, 255), (7, 0)])),
    [(7, 7, 7), WHITE],
  ),
  'rgb, one colour transparent': (
    encode(row('RGB', [RED, GREEN]), transparency=RED),
    [WHITE, GREEN],
  ),
  'gray, one level transparent': (
    encode(row('L', [7, 8]), transparency=7),
    [WHITE, (8, 8, 8)],
  ),
  'cmyk': (
    encode(row('CMYK', [(0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 0, 255)]), 'TIFF'),
    [WHITE, (0, 255, 255), BLACK],
  ),
  # v / 257 rounded half up; Pillow's own conversion clips at 255.
  '16 bit': (
    encode(
      Image.fromarray(
        np.array([[0, 128, 129, 256, 40 * 257, 65535]], np.uint16)
      )
    ),
    [(v, v, v) for v in (0, 0, 1, 1, 40, 255)],
  ),
  '16 bit, big endian': (
    encode(
      Image.frombytes('I;16B', (2, 1), struct.pack('>2H', 257, 65535)), 'TIFF'
    ),
    [(1, 1, 1), WHITE],
  ),
  '16 bit, 0 is white': (
    encode(
      Image.fromarray(np.array([[0, 257, 65535]], np.uint16)),
      'TIFF',
      tiffinfo={ExifTags.Base.PhotometricInterpretation: 0},
    ),
    [WHITE, (254, 254, 254), BLACK],
  ),
  '32 bit within 16': (
    encode(Image.fromarray(np.array([[0, 65535]], np.int32)), 'TIFF'),
    [BLACK, WHITE],
  ),
}


@pytest.mark.parametrize('interlaced', [False, True])
@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_one_level_of_a_gray_png_is_transparent(bits, interlaced):
  most = 2**bits - 1
  # A row of two pixels, white and black, each a pass where they interlace.
  white, black = most << 8 - bits, 0
  rows = bytes([0, white, 0, black] if interlaced else [0, white])
  rows += bytes([0] if bits == 8 and not interlaced else [])
  for key, opacity in ((most, [0, 255]), (0, [255, 0]), (None, None)):
    found = png.Chunk(b'tRNS', struct.pack('>H', key or 0))
    data = png_of(2, 1, bits, 0, rows, *[found] * (key is not None),
                  interlaced=interlaced)  # fmt: skip
    picture = read(data)
    with Image.open(io.BytesIO(data)) as image:
      of_pillow = pictures.from_image(image)
    np.testing.assert_array_equal(of_pillow.pixels, picture.pixels)
    assert picture.pixels[0, :, 0].tolist() == [255, 0]
    shown = reading.read_rgb(data, '')[0, :, 0].tolist()
    if opacity:
      assert picture.pixels[0, :, 1].tolist() == opacity
      assert shown == ([255, 0] if key else [255, 255])
    else:
      assert picture.pixels.shape[-1] == 1 and shown == [255, 0]


@pytest.mark.parametrize('level', [3, 255])
def test_the_key_of_few_bits_may_be_scaled_already(level):
  # Pillow 12 leaves it as stored; the next may not.
  chunk = png.Chunk(b'tRNS', struct.pack('>H', 3))
  image = Image.open(io.BytesIO(png_of(2, 1, 2, 0, b'\0\xc0', chunk)))
  image.info['transparency'] = level
  assert reading.of_image(image).pixels[0].tolist() == [[255, 0], [0, 255]]
  assert image.info['transparency'] == level


@pytest.mark.parametrize('name', MODES)
def test_every_mode_becomes_rgb(name):
  data, pixels = MODES[name]
  image = reading.read_rgb(data, name)
  assert image.dtype == np.uint8
  np.testing.assert_array_equal(image, np.array([pixels]))
  assert reading.image_size(data, name) == image.shape[:2]


def test_a_cmyk_jpeg_keeps_its_colours():
  data = encode(Image.new('CMYK', (16, 16), (255, 0, 255, 0)), 'JPEG')
  image = reading.read_rgb(data, 'x.jpg').astype(int)
  assert image.shape == (16, 16, 3)
  assert np.abs(image - GREEN).max() <= 4


def test_path_bytes_and_stream_give_the_same(tmp_path):
  pixels = noise(5, 7)
  data = encode(Image.fromarray(pixels))
  (tmp_path / 'a.png').write_bytes(data)
  stream = io.BytesIO(data)
  for file in (tmp_path / 'a.png', str(tmp_path / 'a.png'), data, stream):
    image = reading.read_rgb(file, 'a.png')
    np.testing.assert_array_equal(image, pixels)
  assert stream.closed
  image[0, 0] = 0  # the caller's own


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'TIFF', 'WEBP'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation_is_applied_and_its_tag_dropped(form, orientation):
  pixels = np.zeros((24, 40, 3), np.uint8)
  pixels[:8, :16] = 255  # one bright corner, unlike in height and width
  data = oriented(pixels, form, orientation)
  expected = turned(pixels, orientation).astype(int)
  picture = read(data)
  for image in (reading.read_rgb(data, form), picture.pixels):
    assert image.shape == expected.shape
    assert np.abs(image - expected).max() <= (8 if form == 'JPEG' else 0)
  assert reading.image_size(data, form) == expected.shape[:2]
  with Image.open(io.BytesIO(write(picture, form))) as image:
    assert image.getexif().get(ExifTags.Base.Orientation, 1) == 1


def with_chunk_behind_the_pixels(data: bytes, kind: bytes) -> bytes:
  """The PNG with its chunk of this kind moved to its end."""
  position = data.index(kind) - 4
  length = struct.unpack('>I', data[position : position + 4])[0] + 12
  chunk = data[position : position + length]
  end = len(data) - 12  # the IEND chunk
  return data[:position] + data[position + length : end] + chunk + data[end:]


def test_a_png_orientation_behind_the_pixels_is_seen():
  data = oriented(noise(6, 9), 'PNG', 6)
  data = with_chunk_behind_the_pixels(data, b'eXIf')
  assert reading.read_rgb(data, 'late').shape == (9, 6, 3)
  assert reading.image_size(data, 'late') == (9, 6)


@pytest.mark.parametrize('form', ['PNG', 'JPEG', 'TIFF', 'GIF', 'BMP', 'WEBP'])
def test_the_size_is_read_without_the_pixels(form, monkeypatch):
  info = PngImagePlugin.PngInfo()
  info.add_text('date', 'today')
  options = {'pnginfo': info} if form == 'PNG' else {}
  data = encode(Image.fromarray(noise(30, 50)), form, **options)
  if form == 'PNG':
    data = with_chunk_behind_the_pixels(data, b'tEXt')  # as ImageMagick's

  loaded = []
  load = ImageFile.ImageFile.load
  monkeypatch.setattr(
    ImageFile.ImageFile, 'load', lambda self: loaded.append(1) or load(self)
  )
  assert reading.image_size(data, form) == (30, 50)
  assert not loaded
  reading.read_rgb(data, form)
  assert loaded


def test_pixels_under_broken_exif_are_read():
  data = encode(
    Image.fromarray(noise(16, 24)), 'JPEG', exif=b'Exif\0\0MM\0*\xff'
  )
  assert reading.read_rgb(data, 'x').shape == (16, 24, 3)
  assert reading.image_size(data, 'x') == (16, 24)


def test_the_first_frame_of_an_animation_is_read():
  frames = [Image.new('RGB', (4, 3), colour) for colour in (RED, BLUE)]
  data = encode(frames[0], 'GIF', save_all=True, append_images=frames[1:])
  image = reading.read_rgb(data, 'x.gif')
  np.testing.assert_array_equal(image, np.full((3, 4, 3), RED))


def cut_short(form: str) -> bytes:
  data = encode(Image.fromarray(noise(64, 64)), form)
  return data[: len(data) // 2]


def bad_checksum() -> bytes:
  data = bytearray(encode(Image.fromarray(noise(64, 64))))
  data[len(data) // 2] ^= 255
  return bytes(data)


BROKEN = {
  'truncated jpeg': cut_short('JPEG'),
  'truncated png': cut_short('PNG'),
  'damaged png': bad_checksum(),
  'empty': b'',
  'text': b'not found\n',
  'header only': encode(Image.fromarray(noise(8, 8)))[:20],
  'huge': huge(),
  'float': encode(Image.fromarray(np.zeros((2, 2), np.float32)), 'TIFF'),
  '32 bit': encode(Image.fromarray(np.full((2, 2), 70000, np.int32)), 'TIFF'),
}


@pytest.mark.parametrize('name', BROKEN)
def test_a_broken_file_is_one_line_with_its_name(name):
  with pytest.raises(
    ValueError, match='^some/name.png: not a readable image'
  ) as e:
    reading.read_rgb(BROKEN[name], 'some/name.png')
  assert '\n' not in str(e.value)
  assert ' at 0x' not in str(e.value)  # no addresses of Python's objects


@pytest.mark.parametrize('name', ['empty', 'text', 'header only', 'huge'])
def test_a_broken_header_is_one_line_with_its_name(name):
  with pytest.raises(ValueError, match='^some/name.png: not a readable image'):
    reading.image_size(BROKEN[name], 'some/name.png')


def test_a_missing_file_is_one_line_with_its_name(tmp_path):
  with pytest.raises(ValueError, match='^a.png: .*No such file or directory$'):
    reading.read_rgb(tmp_path / 'a.png', 'a.png')


def test_lab_is_converted_without_a_word_of_a_profile():
  lab = ImageCms.profileToProfile(
    Image.fromarray(noise(8, 8)),
    ImageCms.createProfile('sRGB'),
    ImageCms.createProfile('LAB'),
    outputMode='LAB',
  )
  assert read(encode(lab, 'TIFF')).notes == ('LAB became sRGB',)
