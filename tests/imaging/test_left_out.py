"""What of a file the result does not have: one line names it."""

import io

from PIL import Image
import pytest

from srgan_jax.imaging import pictures, png
from tests.support.image_files import encode, noise, read, with_chunks, write

CREDENTIALS = b'\0\0\0\x14jumbmanifest_abc'
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
