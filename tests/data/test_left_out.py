"""What a source passes over: counted and named, at no cost in memory."""

from concurrent import futures
import io
import os
import tarfile
import threading
import time
import tracemalloc

import numpy as np
import pytest

from srgan_jax.data import image_files, opening, source, tars
from tests.support.training_pictures import encode, picture, write_tar


def open_warned(spec, **settings):
  """The source, and the text of its one warning."""
  with pytest.warns(UserWarning) as caught:
    opened = opening.open_source(spec, min_size=40, **settings)
  assert len(caught) == 1
  message = str(caught[0].message)
  assert '\n' not in message
  return opened, message


def test_a_pipe_in_a_folder_is_named_and_not_read(tmp_path):
  (tmp_path / 'a.png').write_bytes(encode(picture(1)))
  os.mkfifo(tmp_path / 'b.png')
  (tmp_path / 'c.png').symlink_to(tmp_path / 'nowhere.png')
  found, message = open_warned(f'folder:{tmp_path}')  # and ends
  assert found.names == ['a.png']
  assert 'left out 2 of 3 pictures' in message
  assert 'b.png (no regular file)' in message
  assert 'c.png (a link that leads nowhere)' in message


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
  (tmp_path / 'a.png').write_bytes(encode(picture(1)))
  (tmp_path / 'secret').mkdir()
  scandir = os.scandir

  def refuse(path):
    if str(path).endswith('secret'):
      raise PermissionError(13, 'Permission denied', str(path))
    return scandir(path)

  monkeypatch.setattr(os, 'scandir', refuse)
  _, message = open_warned(f'folder:{tmp_path}')
  assert 'secret (Permission denied)' in message


def add(archive, name, kind=tarfile.REGTYPE, data=b'', link=''):
  member = tarfile.TarInfo(name)
  member.type, member.size, member.linkname = kind, len(data), link
  archive.addfile(member, io.BytesIO(data))


def test_what_lies_in_tars_is_named(tmp_path):
  with tarfile.open(tmp_path / 'a.tar', 'w') as archive:
    add(archive, 'a.png', data=encode(picture(1)))
    add(archive, 'sym.png', tarfile.SYMTYPE, link='a.png')
    add(archive, 'hard.png', tarfile.LNKTYPE, link='a.png')
    add(archive, 'pipe.png', tarfile.FIFOTYPE)
    add(archive, 'device', tarfile.CHRTYPE)
    add(archive, 'more.tar.gz', data=b'x')
    add(archive, 'folder', tarfile.DIRTYPE)
    add(archive, 'folder.png', tarfile.DIRTYPE)
    add(archive, 'x.target.jpg', data=encode(picture(2)))
    add(archive, 'y.tar.jpg', data=encode(picture(2)))
    add(archive, 'x.target.txt', data=b'a label')
    add(archive, 'a.txt', data=b'a label')
    add(archive, 'bad.png', data=b'no picture')
  write_tar(tmp_path / 'b.tar', {})
  os.mkfifo(tmp_path / 'c.tar')
  found, message = open_warned(f'tar:{tmp_path}/*.tar')
  assert found.names == ['a.tar/a.png', 'a.tar/x.target.jpg', 'a.tar/y.tar.jpg']
  assert 'left out 8 of 11 pictures' in message
  for each in (
    'a.tar/sym.png (a link)',
    'a.tar/hard.png (a link)',
    'a.tar/pipe.png (no regular file)',
    'a.tar/device (no regular file)',
    'a.tar/more.tar.gz (a tar inside a tar)',
    'b.tar (an empty tar)',
    'c.tar (no regular file)',
    'a.tar/bad.png (unreadable: not a readable image',
  ):
    assert each in message
  assert 'a.txt' not in message


def test_tars_behind_each_other_are_one_tar(tmp_path):
  for name in 'abc':
    write_tar(tmp_path / name, {f'{name}.png': encode(picture(ord(name)))})
  joined = b''.join((tmp_path / name).read_bytes() for name in 'abc')
  (tmp_path / 'a.tar').write_bytes(joined)
  found = opening.open_source(f'tar:{tmp_path}/a.tar', min_size=40)
  assert found.names == ['a.tar/a.png', 'a.tar/b.png', 'a.tar/c.png']
  for index, name in enumerate('abc'):
    np.testing.assert_array_equal(found.read(index), picture(ord(name)))
  (tmp_path / 'a.tar').write_bytes(joined + b'more')
  found, message = open_warned(f'tar:{tmp_path}/a.tar')
  assert len(found) == 3 and 'a.tar (bytes behind its end)' in message


def test_a_picture_of_too_many_pixels_is_left_out_undecoded(tmp_path):
  (tmp_path / 'a.png').write_bytes(encode(picture(1)))
  (tmp_path / 'large.png').write_bytes(encode(picture(1, 1001, 1000)))
  found, message = open_warned(f'folder:{tmp_path}', max_megapixels=1)
  assert found.names == ['a.png']
  assert 'large.png (1001x1000, more than 1 megapixels)' in message


def test_pixels_in_decoding_are_limited():
  pixels, lock = source._Pixels(100), threading.Lock()
  taken, most = 0, []

  def decode(count):
    nonlocal taken
    with pixels.take(count):
      with lock:
        taken += count
        most.append(taken)
      time.sleep(0.01)
      with lock:
        taken -= count

  with futures.ThreadPoolExecutor(6) as pool:
    list(pool.map(decode, (60, 30, 250, 40, 60, 10)))
  assert len(most) == 6 and max(most) == 250
  assert sorted(most)[-2] <= 100


@pytest.mark.parametrize('place', [0.0, 0.5, 1.0])
def test_another_photo_of_the_same_size_is_another(tmp_path, place):
  rng = np.random.default_rng(0)
  data = bytearray(encode(rng.integers(0, 256, (400, 500, 3), np.uint8), 'BMP'))
  header = 64

  def mark():
    (tmp_path / 'a.bmp').write_bytes(data)
    return opening.open_source(f'folder:{tmp_path}', min_size=40).marks.tolist()

  before = mark()
  assert mark() == before
  data[int(header + place * (len(data) - header - 1))] ^= 1
  assert mark() != before


def test_an_index_of_many_members_is_small(tmp_path):
  count = 3000
  with tarfile.open(tmp_path / 'a.tar', 'w') as archive:
    for i in range(count):
      add(archive, f'folder/picture_{i:06}.png')
      add(archive, f'folder/link_{i:06}.png', tarfile.SYMTYPE, link='x')
  tracemalloc.start()
  try:
    left_out = image_files.LeftOut()
    entries = tars.find(f'{tmp_path}/a.tar', left_out)
    held, peak = tracemalloc.get_traced_memory()
  finally:
    tracemalloc.stop()
  assert len(entries) == left_out.count == count
  # 100,000 members take 60 MB at most, whatever is passed over.
  assert held / count < 600 and peak / count < 900


def header(name, kind=tarfile.REGTYPE, size=0):
  member = tarfile.TarInfo(name)
  member.type = kind
  block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
  block[124:136] = (size % 2**96).to_bytes(12, 'big')
  block[124] = 0xFF if size < 0 else 0x80
  block[148:156] = b' ' * 8
  block[148:156] = b'%06o\0 ' % sum(block)
  return bytes(block)


@pytest.mark.parametrize(
  ('content', 'why'),
  [
    (header('a', tarfile.GNUTYPE_LONGNAME, 2**40), 'a header of'),
    (header('a', tarfile.XHDTYPE, 2**33), 'a header of'),
    (header('a', tarfile.GNUTYPE_LONGNAME, -512), 'a header of -512'),
    (3000 * (header('a', b'L', 5) + b'a.png' + bytes(507)), 'recursion'),
    # The size leads back to where it stands.
    (header('b.png') + header('a.png', size=-512), 'a member of -512 bytes'),
    (header('a.png') + 512 * b'x', 'no header at byte 512'),
    (
      header('a', b'x', 512) + b'25 GNU.sparse.map=1,x,3,4\n' + bytes(486),
      'invalid (literal|header)',  # Python 3.11.7 and 3.11.2
    ),
  ],
  ids=range(7),
)
def test_a_hostile_tar_is_one_line(content, why, tmp_path):
  (tmp_path / 'a.tar').write_bytes(content + header('b.png') + bytes(1024))
  with pytest.raises(ValueError, match=f'not a complete tar .*{why}') as raised:
    opening.open_source(f'tar:{tmp_path}/a.tar', min_size=4)
  assert '\n' not in str(raised.value)
