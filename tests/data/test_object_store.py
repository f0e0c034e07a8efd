"""Pictures of an object store, here one in memory, as those of a folder."""

import types

import fsspec
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
    ('folder:nowhere://bucket', 'nowhere://bucket: Protocol not known'),
    ('tar:memory://bucket/photos/notes.txt', 'not a complete tar file'),
  ],
)
def test_what_is_not_there_is_one_line(store, spec, message):
  with pytest.raises(ValueError, match=message) as caught:
    opening.open_source(spec, min_size=16)
  assert '\n' not in str(caught.value)


def test_a_changed_file_has_another_stamp(store):
  before = image_files.stamp('memory://bucket/photos/1.png')
  store.pipe('/bucket/photos/1.png', encode(picture(7)))
  assert image_files.stamp('memory://bucket/photos/1.png') != before


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
