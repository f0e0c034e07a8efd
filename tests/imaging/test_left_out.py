"""What of a file the result does not have: one line names it."""

from PIL import Image
import pytest

from srgan_jax.imaging import png
from tests.support.image_files import noise, read, with_chunks


@pytest.mark.parametrize('kind', [b'oFFs', b'pCAL', b'sCAL', b'sTER'])
def test_chunks_of_a_png(kind):
  image = Image.fromarray(noise(16, 24))
  chunks = png.Chunk(kind, b'\0'), png.Chunk(b'tIME', bytes(7))
  picture = read(with_chunks(image, *chunks))
  assert picture.notes == (f'chunks are left out ({kind.decode()})',)
