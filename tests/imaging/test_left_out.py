"""What of a file the result does not have: one line names it."""

import contextlib
import io
import struct

from PIL import Image
import pytest

from srgan_jax.imaging import opening, pictures, png
from tests.support.image_files import (
  encode,
  noise,
  read,
  skip_unless_written,
  with_chunks,
  write,
)

CREDENTIALS = b'\0\0\0\x14jumbmanifest_abc'
C2PA = bytes.fromhex('d8fec3d61b0e483c92975828877ec481')
NO_CREDENTIALS = 'its content credentials are left out'


@pytest.mark.parametrize('kind', [b'oFFs', b'pCAL', b'sCAL', b'sTER'])
def test_chunks_of_a_png(kind):
  image = Image.fromarray(noise(16, 24))
  chunks = png.Chunk(kind, b'\0'), png.Chunk(b'tIME', bytes(7))
  picture = read(with_chunks(image, *chunks))
  assert picture.notes == (f'chunks are left out ({kind.decode()})',)


def test_content_credentials_of_a_tiff():
  image = Image.fromarray(noise(16, 24))
  data = encode(image, 'TIFF', tiffinfo={0xCD41: CREDENTIALS})
  with Image.open(io.BytesIO(data)) as opened:
    of_pillow = pictures.from_image(opened)
  for picture in (read(data), of_pillow):
    assert NO_CREDENTIALS in picture.notes
    assert CREDENTIALS not in write(picture, 'TIFF')


@pytest.mark.parametrize('options', [{}, {'lossless': True}, {'xmp': b'<x/>'}])
def test_chunks_of_a_webp(options):
  skip_unless_written('WEBP')
  plain = encode(Image.fromarray(noise(16, 24)), 'WEBP', **options)
  assert not read(plain).notes
  size = len(CREDENTIALS)
  data = plain + struct.pack('<4sI', b'C2PA', size) + CREDENTIALS
  data = data[:4] + struct.pack('<I', len(data) - 8) + data[8:]
  note = 'chunks of an unknown kind are left out (C2PA)'
  assert read(data).notes == (note,)
  for length in range(len(plain), len(data)):  # cut off: Pillow may refuse it
    with contextlib.suppress(ValueError):
      read(data[:length])


@pytest.mark.parametrize('form', ['AVIF', 'JPEG2000'])
def test_content_credentials_in_boxes(form):
  if form not in opening.formats():
    pytest.skip(f'Pillow without {form}')
  plain = encode(Image.fromarray(noise(16, 24)), form)
  for uuid, notes in ((C2PA, (NO_CREDENTIALS,)), (bytes(16), ())):
    box = struct.pack('>I4s', 8 + 16 + len(CREDENTIALS), b'uuid') + uuid
    assert read(plain + box + CREDENTIALS).notes == notes


@pytest.mark.parametrize(
  ('records', 'notes'),
  [
    (b'\0\1\0\4\0\0\0\x50\0\0', ()),
    (
      b'\0\1\0\4\0\0\0\x50\0\2\0\6\0\0\0\1\0a\0\3\0\6\0\0\0\1\0b\0\0',
      ("Ducky's comment is left out", "Ducky's copyright is left out"),
    ),
    (b'\0\3\xff', ()),
  ],
)
def test_texts_of_photoshops_export_for_the_web(records, notes):
  body = b'Ducky' + records
  segment = struct.pack('>HH', 0xFFEC, len(body) + 2) + body
  data = encode(Image.fromarray(noise(16, 24)), 'JPEG', extra=segment)
  assert read(data).notes == notes


@pytest.mark.parametrize('frames', [1, 2])
@pytest.mark.parametrize(
  'options', [{}, {'progressive': True}, {'restart_marker_blocks': 1}]
)
def test_bytes_behind_a_jpegs_pictures(frames, options):
  first, *others = (Image.fromarray(noise(40, 40, seed)) for seed in (0, 1))
  if frames == 1:
    data, notes = encode(first, 'JPEG', **options), ()
  else:
    data = encode(first, 'MPO', save_all=True, append_images=others, **options)
    notes = ('the first of 2 frames or pages',)
  assert read(data).notes == notes
  assert read(data + bytes(9)).notes == notes  # which say nothing
  behind = b'PK\3\4' + b'archive' * 10
  note = '74 bytes behind its end are left out'
  assert read(data + behind).notes == (*notes, note)
