"""Pictures of an object store, here one in memory, as those of a folder."""

import types

import fsspec
from fsspec.implementations.memory import MemoryFileSystem
import numpy as np
import pytest

from srgan_jax.data import image_files, opening, tfds
from tests.support.training_pictures import encode, picture, write_tar

PICTURES = {'b/2.png': picture(2), '1.png': picture(1), 'b/3.png': picture(3)}


@pytest.fixture
def store(tmp_path):
  memory = fsspec.filesystem('memory')
  for name, pixels in PICTURES.items():
    memory.pipe(f'/bucket/photos/{name}', encode(pixels))
  memory.pipe('/bucket/photos/notes.txt', b'no picture')
  for number, names in enumerate([['1.png'], ['b/2.png', 'b/3.png']]):
    path = tmp_path / f'{number}.tar'
    write_tar(path, {name: encode(PICTURES[name]) for name in names})
    memory.pipe(f'/bucket/tars/{number}.tar', path.read_bytes())
  yield memory
  memory.rm('/bucket', recursive=True)


@pytest.mark.parametrize(
  ('spec', 'prefix'),
  [
    ('folder:memory://bucket/photos', ('', '', '')),
    ('folder:memory://bucket/photos/', ('', '', '')),
    ('tar:memory://bucket/tars/*.tar', ('0.tar/', '1.tar/', '1.tar/')),
  ],
)
def test_a_store_is_a_source(store, spec, prefix):
  source = opening.open_source(spec, min_size=16)
  names = ['1.png', 'b/2.png', 'b/3.png']
  assert source.names == [p + n for p, n in zip(prefix, names, strict=True)]
  for i, name in enumerate(names):
    np.testing.assert_array_equal(source.read(i), PICTURES[name])
    np.testing.assert_array_equal(source.sizes[i], PICTURES[name].shape[:2])


@pytest.mark.parametrize(
  ('spec', 'message'),
  [
    ('folder:memory://bucket/none', 'no image file'),
    ('tar:memory://bucket/none/*.tar', 'no file matches memory://bucket/none'),
    ('tar:memory://bucket/none.tar', 'bucket/none.tar: no such file$'),
    ('folder:nowhere://bucket', 'nowhere://bucket: Protocol not known'),
    ('tar:memory://bucket/photos/notes.txt', 'not a complete tar file'),
    ('folder:zip://a.png::memory://b.zip', r'chained URLs \(::\) are not read'),
    ('tar:simplecache::memory://b.tar', r'chained URLs \(::\) are not read'),
    ('folder:file:///nowhere', 'no such folder: /nowhere'),
  ],
)
def test_what_is_not_there_is_one_line(store, spec, message):
  with pytest.raises(ValueError, match=message) as caught:
    opening.open_source(spec, min_size=16)
  assert '\n' not in str(caught.value)


class Refusal(Exception):
  """As those of aiohttp and gcsfs, which are no OSErrors."""


class Unreliable(MemoryFileSystem):
  """The store in memory, as `unreliable://`, which refuses `calls`."""

  protocol = 'unreliable'
  calls: tuple[str, ...] = ()

  @classmethod
  def _strip_protocol(cls, path):
    return super()._strip_protocol(path.removeprefix('unreliable:/'))

  def _refuse(self, call, path):
    if call in self.calls and path.endswith(('1.png', '1.tar')):
      raise Refusal('503, message=Service\nUnavailable')

  def ukey(self, path):
    self._refuse('ukey', path)
    return super().ukey(path)

  def _open(self, path, *arguments, **settings):
    self._refuse('open', path)
    file = super()._open(path, *arguments, **settings)
    read = lambda *size: self._refuse('read', path) or file.read(*size)
    return types.SimpleNamespace(read=read, seek=file.seek, close=file.close)


@pytest.fixture
def refuse(store, monkeypatch):
  """Has `unreliable://` refuse calls from here on."""
  fsspec.register_implementation('unreliable', Unreliable, clobber=True)
  return lambda *calls: monkeypatch.setattr(Unreliable, 'calls', calls)


@pytest.mark.parametrize('call', ['open', 'read'])
def test_the_next_picture_stands_in_for_one_that_a_store_refuses(refuse, call):
  spec = 'folder:unreliable://bucket/photos'
  source = opening.open_source(spec, min_size=16)
  refuse(call)
  refused = r'unreliable://.*/1.png: 503, message=Service Unavailable; the next'
  with pytest.warns(UserWarning, match=refused):
    index, image = source.read_or_next(0)
  assert index == 1
  np.testing.assert_array_equal(image, PICTURES['b/2.png'])
  with pytest.warns(UserWarning, match=r'1 of 3 .* 1\.png \(unreadable: .*503'):
    assert len(opening.open_source(spec, min_size=16)) == 2


@pytest.mark.parametrize(
  ('call', 'spec'),
  [
    ('ukey', 'folder:unreliable://bucket/photos'),
    ('ukey', 'tar:unreliable://bucket/tars/*.tar'),
    ('open', 'tar:unreliable://bucket/tars/1.tar'),
    ('read', 'tar:unreliable://bucket/tars/1.tar'),
  ],
)
def test_what_a_store_refuses_at_the_start_is_one_line(refuse, call, spec):
  refuse(call)
  with pytest.raises(ValueError, match=r'/1.*: 503, message=Serv') as caught:
    opening.open_source(spec, min_size=16)
  assert '\n' not in str(caught.value)
  assert 'not a complete tar' not in str(caught.value)


def test_a_name_with_letters_of_patterns_is_a_name(store, tmp_path):
  tar = store.cat('/bucket/tars/0.tar')
  (tmp_path / 'a [1]').mkdir()
  (tmp_path / 'a [1]' / 'p.tar').write_bytes(tar)
  store.pipe('/bucket/a [1]/p.tar', tar)
  for folder in (tmp_path, f'file://{tmp_path}', 'memory://bucket'):
    source = opening.open_source(f'tar:{folder}/a [1]/p.tar', min_size=16)
    assert source.names == ['p.tar/1.png']


def test_a_changed_file_has_another_stamp(store):
  before = image_files.stamp('memory://bucket/photos/1.png')
  store.pipe('/bucket/photos/1.png', encode(picture(7)))
  assert image_files.stamp('memory://bucket/photos/1.png') != before


def test_a_record_that_tfds_cannot_read_is_an_os_error(monkeypatch):
  class Records(list):
    def __getitem__(self, index):
      raise Refusal('a damaged chunk')

  monkeypatch.setattr(tfds, '_prepared', lambda name: None)
  monkeypatch.setattr(tfds, '_stamp', lambda builder: '')
  monkeypatch.setattr(tfds, '_records', lambda *_: ('hr', Records([1])))
  [entry] = tfds.find('photos')
  with pytest.raises(OSError, match='record 0: a damaged chunk'):
    entry.open()


def test_a_tfds_set_prepared_anew_in_a_store_is_another():
  """TFDS reaches stores without fsspec, by paths of its own."""

  def stamp(mtime):
    class File(str):
      def stat(self):
        return types.SimpleNamespace(length=9, mtime=mtime)

    files = [File('gs://x/set/dataset_info.json'), File('gs://x/set/1')]
    folder = types.SimpleNamespace(iterdir=lambda: files)
    return tfds._stamp(types.SimpleNamespace(data_path=folder))

  assert stamp(1) == stamp(1) != stamp(2)
