"""The one door to image files: which, how large, and what a folder holds."""

import io
import os
import struct
import threading
import warnings

import numpy as np
from PIL import EpsImagePlugin, Image
import pytest

from srgan_jax.imaging import (
  boxes,
  finding,
  ifd,
  opening,
  pictures,
  reading,
)
from tests.support.image_files import (
  encode,
  noise,
  png_of,
  skip_unless_written,
)

SIZED = [reading.read_rgb, reading.image_size]


def large(side: int) -> bytes:
  """A PNG of one bit, small as a file."""
  return png_of(side, side, 1, 0, bytes((side // 8 + 1) * side))


def icon(data: bytes) -> bytes:
  """An ICO that calls its picture 256 pixels wide."""
  entry = struct.pack('<BBBBHHII', 0, 0, 0, 0, 1, 32, len(data), 22)
  return b'\0\0\1\0\1\0' + entry + data


@pytest.mark.parametrize('read', SIZED)
@pytest.mark.parametrize('wrap', [bytes, icon])
def test_too_many_pixels_are_refused_before_they_are_decoded(
  wrap, read, monkeypatch
):
  data = wrap(large(20_000))
  monkeypatch.setattr('PIL.ImageFile.ImageFile.load', None)
  with pytest.raises(
    ValueError,
    match='^x: .*20000x20000 pixels are over the limit of .* megapixels',
  ):
    read(data, 'x', opening.MAX_MEGAPIXELS)


def test_a_limit_can_be_lifted():
  data = large(2000)
  with pytest.raises(ValueError, match='2000x2000 pixels'):
    reading.read_rgb(data, 'x', 3.9)
  assert reading.read_rgb(data, 'x', 4).shape == (2000, 2000, 3)


def test_icons_are_read():
  for read in (pictures.read, lambda *args: reading.image_size(*args, None)):
    # Although no other size is refused.
    with pytest.raises(ValueError, match='5000x5000 pixels are over the limit'):
      read(icon(large(5000)), '')
  for options in ({}, {'bitmap_format': 'bmp'}):
    data = encode(Image.new('RGB', (48, 48), (9, 99, 199)), 'ICO', **options)
    assert pictures.read(data, '').pixels[0, 0, :3].tolist() == [9, 99, 199]


@pytest.mark.parametrize('read', [pictures.read, *SIZED])
def test_no_other_program_is_started(read, tmp_path, monkeypatch):
  path = tmp_path / 'a.png'
  path.write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n')
  monkeypatch.setattr(EpsImagePlugin, 'Ghostscript', None)
  with Image.open(path) as image:  # it is one
    assert image.format == 'EPS'
  with pytest.raises(
    ValueError, match='a.png: .*PostScript, whatever its name'
  ):
    read(path, 'a.png')


def test_pillows_own_warnings_and_limit_are_held_back(recwarn, monkeypatch):
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
  with warnings.catch_warnings():
    warnings.simplefilter('always')
    filters = list(warnings.filters)
    broken = b'Exif\0\0II*\0\x08\0\0\0\1\0\x0f\1\2\0\xff\0\0\0\xff\xff\0\0'
    data = encode(Image.fromarray(noise(90, 90)), 'JPEG', exif=broken)
    assert pictures.read(data, '').pixels.shape == (90, 90, 3)
    assert list(warnings.filters) == filters
  assert not recwarn.list and Image.MAX_IMAGE_PIXELS == 100


def test_many_threads_leave_pillow_as_it_was():
  data = encode(Image.fromarray(noise(9, 9)))
  before = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
  threads = [
    threading.Thread(
      target=lambda: [reading.read_rgb(data, '') for _ in range(50)]
    )
    for _ in range(8)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


# --- folders ---


def put(path, form='PNG'):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new('RGB', (4, 4)).save(path, form)


def test_every_kind_of_picture_is_found_or_named(tmp_path):
  for suffix in ('jpg', 'TIF', 'jp2', 'tga', 'avif', 'jfif'):
    (tmp_path / f'a.{suffix}').write_bytes(b'')
  others = {'b.jxl': 'djxl', 'c.CR2': 'raw converter', 'd.eps': 'drawings'}
  others |= {'h.mp4': 'srgan_jax.video'}
  heif = () if 'HEIF' in opening.formats() else ('e.heic', 'f.HEIC')
  for name in (*others, *heif, 'g.txt', '._i.jxl', '.j.png', 'README'):
    (tmp_path / name).write_bytes(b'')
  put(tmp_path / 'k')
  others |= {'/k': 'no ending'}
  found = finding.find(tmp_path)
  names = {os.path.basename(path) for path in found.files}
  assert names >= {'a.jpg', 'a.TIF', 'a.tga', 'a.jfif'}
  assert names <= {
    f'a.{s}' for s in ('jpg', 'TIF', 'jp2', 'tga', 'avif', 'jfif')
  }
  lines = finding.describe(found.passed_over)
  for name, why in others.items():
    (line,) = (line for line in lines if name in line)
    assert why in line and line.startswith('1 passed over')
  if heif:
    (line,) = (line for line in lines if 'pillow-heif' in line)
    assert line.startswith('2 passed over') and 'f.HEIC' in line
  assert not any(n in ' '.join(lines) for n in ('g.txt', 'README', 'i.jxl'))
  assert not any(item.is_fault for item in found.passed_over)


@pytest.mark.parametrize(
  ('name', 'why'),
  [
    ('clip.MP4', 'no image format that is read; python -m srgan_jax.video'),
    ('a.CR2', 'no image format that is read; a raw converter'),
    ('a.svg', 'no image format that is read; they are drawings'),
    ('a.png', 'no image format that is read$'),
  ],
)
def test_what_is_not_read_says_what_reads_it(name, why, tmp_path):
  (tmp_path / name).write_bytes(b'\0\0\0\x18ftypisom and more')
  with pytest.raises(ValueError, match=f'{name}: not a readable image: {why}'):
    pictures.read(tmp_path / name, str(tmp_path / name))


def test_links_are_followed_once_and_loops_end(tmp_path):
  outside, root = tmp_path / 'outside', tmp_path / 'root'
  put(outside / 'a.png')
  put(root / 'z' / 'b.png')
  (outside / 'back').symlink_to(root)
  for name, target in (
    ('link', outside),
    ('link2', outside),
    ('again', root / 'z'),
    ('self', root),
    ('up', tmp_path),
    ('loop.png', root / 'loop.png'),
    ('dead.png', root / 'none.png'),
  ):
    (root / name).symlink_to(target)
  os.mkfifo(root / 'pipe.png')
  found = finding.find(root)
  names = [os.path.relpath(path, root) for path in found.files]
  assert names == ['link/a.png', 'z/b.png']
  faults = {os.path.basename(item.path): item for item in found.passed_over}
  assert faults.keys() == {'loop.png', 'dead.png', 'pipe.png'}
  assert all(item.is_fault for item in faults.values())


def test_a_locked_folder_is_named(tmp_path, monkeypatch):
  put(tmp_path / 'a.png')
  put(tmp_path / 'locked' / 'b.png')
  scan = os.scandir

  def scandir(path):
    if str(path).endswith('locked'):
      raise PermissionError(13, 'Permission denied', path)
    return scan(path)

  monkeypatch.setattr(os, 'scandir', scandir)
  found = finding.find(tmp_path)
  assert [os.path.basename(path) for path in found.files] == ['a.png']
  (item,) = found.passed_over
  assert item == (str(tmp_path / 'locked'), 'Permission denied', True)


def test_bits_that_pillow_drops_are_named():
  values = np.arange(48, dtype=np.uint16).reshape(4, 4, 3) * 1000
  data = b'P6\n# by hand\n4 4\n65535\n' + values.astype('>u2').tobytes()
  assert pictures.read(data, '').notes == ('its 16 bits a channel became 8',)
  data = b'P6\n4 4\n255\n' + bytes(48)
  assert pictures.read(data, '').notes == ()
  if 'AVIF' in opening.formats():
    data = bytearray(encode(Image.fromarray(noise(16, 16)), 'AVIF'))
    place = data.index(b'pixi') + 9
    data[place : place + 3] = bytes([10]) * 3
    data[data.index(b'av1C') + 6] |= 1 << 6
    assert '10 bits' in pictures.read(bytes(data), '').notes[0]


@pytest.mark.parametrize(
  ('data', 'why'),
  [
    (b'', 'empty'),
    (b'\xff\x0a' + bytes(90), 'JPEG XL'),
    (b'\n<!DOCTYPE html><title>404</title>', 'a web page'),
    (b'version https://git-lfs.github.com/spec/v1', 'a Git LFS pointer'),
    (b'\0\0\0\x1cftypheic' + bytes(90), 'HEIF'),
    (struct.pack('>4sH6xHIIHH', b'8BPS', 1, 3, 8, 8, 16, 3), 'a PSD of more'),
    (bytes(90), 'no image format that is read'),
  ],
  ids=['empty', 'jxl', 'html', 'lfs', 'heic', 'psd', 'zeros'],
)
def test_a_picture_of_another_kind_than_its_name_is_named(data, why):
  if why == 'HEIF' and 'HEIF' in opening.formats():
    pytest.skip('pillow-heif is installed')
  with pytest.raises(ValueError, match=f'^a.jpg: not a readable image: {why}'):
    reading.read_rgb(data, 'a.jpg')


def test_a_compression_that_is_not_decoded_is_named():
  data = encode(Image.new('L', (8, 8)), 'TIFF', compression='tiff_lzw')
  lzw, webp = (struct.pack('<HHIH', 259, 3, 1, kind) for kind in (5, 50001))
  with pytest.raises(ValueError, match=r'decoder error.*compression 50001'):
    reading.read_rgb(data.replace(lzw, webp), 'a.tif')


def test_damaged_boxes_refuse_no_avif():
  skip_unless_written('AVIF')
  data = bytearray(encode(Image.fromarray(noise(16, 16)), 'AVIF'))
  for count in (b'ipma', b'ipco'):
    broken = bytearray(data)
    place = broken.index(count)
    broken[place + 8 : place + 12] = b'\xff' * 4
    assert boxes.read(io.BytesIO(broken))[1] == 8


def test_fields_that_share_one_place_take_no_more_memory(monkeypatch):
  monkeypatch.setattr(ifd, '_MOST_BYTES', 10_000)
  form = ifd.Form('<', False)
  fields = {tag: ifd.Field(7, 900, bytes(900)) for tag in range(50)}
  data = bytearray(b'II*\0' + struct.pack('<I', 8) + ifd.build(form, fields, 8))
  for entry in range(50):
    data[10 + 12 * entry + 8 : 10 + 12 * entry + 12] = struct.pack('<I', 700)
  found = ifd.read(io.BytesIO(data), form, 8)
  assert len(found) == 11
  with pytest.raises(ValueError, match='a TIFF whose fields lie upon'):
    reading.image_size(bytes(data[:2000]), '')
  ring = b'II*\0\x08\0\0\0' + struct.pack('<HI', 0, 8)  # follows itself
  assert ifd.pages(io.BytesIO(ring), form, 8) == [8]


def test_a_stream_is_closed_in_every_case():
  for data in (encode(Image.fromarray(noise(4, 4))), b'nothing', large(9)[:30]):
    stream = io.BytesIO(data)
    try:
      reading.read_rgb(stream, '')
    except ValueError:
      pass
    assert stream.closed
