"""Folders, tar files and TFDS sets: one way to read them, and their faults."""

from concurrent import futures
import os
import pathlib
import threading
import warnings

import numpy as np
from PIL import Image
import pytest

from srgan_jax.data import opening, tfds
from srgan_jax.data.source import CachedSource
from tests.support.training_pictures import encode, picture, write_tar


def body_broken(seed: int) -> bytes:
  """A PNG with a good header and half of its pixels."""
  data = encode(picture(seed))
  return data[: len(data) // 2]


def write(root: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
  for name, data in files.items():
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
  return root


# In the order of their names, which is not the order they are written in.
PICTURES = {
  'b/y.PNG': encode(picture(3, 41, 52)),
  'a.png': encode(picture(1)),
  'b.bmp': encode(picture(2, 60, 44), 'BMP'),
  'b/c/z.tiff': encode(picture(4), 'TIFF'),
}
NAMES = ['a.png', 'b.bmp', 'b/c/z.tiff', 'b/y.PNG']
IN_ORDER = [picture(1), picture(2, 60, 44), picture(4), picture(3, 41, 52)]
NO_PICTURES = {
  'notes.txt': b'x',
  '._a.png': b'metadata of macOS',
  'b/.hidden.png': PICTURES['a.png'],
}


@pytest.fixture
def folder(tmp_path):
  return write(tmp_path / 'pictures', PICTURES | NO_PICTURES)


@pytest.fixture
def tar(tmp_path):
  write_tar(tmp_path / 'one.tar', PICTURES | NO_PICTURES)
  return tmp_path / 'one.tar'


def assert_holds(source, names, pictures):
  assert source.names == names
  assert len(source) == len(names)
  assert source.sizes.dtype == np.int32
  sizes = [image.shape[:2] for image in pictures]
  np.testing.assert_array_equal(source.sizes, sizes)
  for index, expected in enumerate(pictures):
    image = source.read(index)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected)


def test_folder(folder):
  source = opening.open_source(f'folder:{folder}', min_size=40)
  assert_holds(source, NAMES, IN_ORDER)
  with pytest.raises(IndexError):
    source.read(4)


def test_several_tars_in_order(tmp_path):
  for tar, first in (('2.tar', 2), ('1.tar', 0)):
    members = {NAMES[i]: PICTURES[NAMES[i]] for i in (first + 1, first)}
    write_tar(tmp_path / tar, members)
  source = opening.open_source(f'tar:{tmp_path}/*.tar', min_size=40)
  tars = ['1.tar', '1.tar', '2.tar', '2.tar']
  names = [f'{tar}/{name}' for tar, name in zip(tars, NAMES, strict=True)]
  assert_holds(source, names, IN_ORDER)


def test_paths_are_relative_to_the_working_directory(
  tar, folder, monkeypatch, tmp_path
):
  monkeypatch.chdir(tmp_path)
  opened = [
    opening.open_source(spec, min_size=40)
    for spec in ('folder:pictures', 'tar:one.tar')
  ]
  monkeypatch.chdir('/')  # of the moment of opening
  for source in opened:
    np.testing.assert_array_equal(source.read(0), IN_ORDER[0])


def test_linked_folders_are_followed_and_loops_end(folder, tmp_path):
  other = write(tmp_path / 'other', {'d.png': PICTURES['a.png']})
  (folder / 'linked').symlink_to(other)
  (other / 'up').symlink_to(folder)
  source = opening.open_source(f'folder:{folder}', min_size=40)
  assert source.names == [*NAMES, 'linked/d.png']


def test_many_threads_read_the_same(tar):
  source = opening.open_source(f'tar:{tar}', min_size=40)
  order = np.random.default_rng(0).integers(0, 4, 200).tolist()
  with futures.ThreadPoolExecutor(8) as pool:
    for index, image in zip(order, pool.map(source.read, order), strict=True):
      np.testing.assert_array_equal(image, IN_ORDER[index])


# What cannot be used is left out, or said.


def test_unusable_pictures_are_left_out_in_one_warning(folder):
  write(
    folder, {f'small{i:02}.png': encode(picture(i, 9, 50)) for i in range(9)}
  )
  write(folder, {'s.jpg': b'no picture', 'zz.png': encode(picture(0, 90, 39))})
  with pytest.warns(UserWarning) as caught:
    source = opening.open_source(f'folder:{folder}', min_size=40)
  assert source.names == NAMES
  assert len(caught) == 1
  message = str(caught[0].message)
  assert f'folder:{folder}: left out 11 of 15 pictures' in message
  assert 'smaller than 40x40' in message
  assert 's.jpg (unreadable: not a readable image: no image format' in message
  assert 'small08.png (9x50, smaller' in message
  assert 'zz.png' not in message  # ten names, then a count
  assert message.endswith(' and 1 more')
  assert '\n' not in message


def test_broken_pixels_are_replaced_by_the_next_picture(tmp_path):
  files = {'a.png': body_broken(0), 'b.png': body_broken(1)}
  files |= {'c.png': PICTURES['a.png'], 'd.png': body_broken(2)}
  write(tmp_path, files)
  source = opening.open_source(f'folder:{tmp_path}', min_size=40)
  assert len(source) == 4  # their headers are fine
  with pytest.warns(UserWarning) as caught:
    for index in (0, 3, 1, 2, 0, 3):  # d.png: around the end
      np.testing.assert_array_equal(source.read(index), picture(1))
  messages = [str(warning.message) for warning in caught]
  assert len(messages) == 3  # each is named once
  for message, name in zip(messages, ('a.png', 'b.png', 'd.png'), strict=True):
    assert message.startswith(f'folder:{tmp_path}: {name}: not a readable')


def test_no_readable_pixels_is_an_error(tmp_path):
  write(tmp_path, {'a.png': body_broken(0), 'b.png': body_broken(1)})
  source = opening.open_source(f'folder:{tmp_path}', min_size=40)
  with pytest.warns(UserWarning, match='not a readable image'):
    with pytest.raises(ValueError, match='none of 2 pictures can be read'):
      source.read(1)


@pytest.mark.parametrize(
  'spec', ['', 'folder', 'folder:', 'zip:x.zip', '/data', 'tfds:', 'tfds::a']
)
def test_a_malformed_spec_lists_the_forms(spec):
  with pytest.raises(
    ValueError, match=f'{spec!r} is not of the form tfds:NAME'
  ):
    opening.open_source(spec, min_size=40)


def assert_refused(spec: str, why: str) -> None:
  with warnings.catch_warnings():
    warnings.simplefilter('error')  # the error says it all
    with pytest.raises(ValueError, match=why) as raised:
      opening.open_source(spec, min_size=40)
  assert str(raised.value).startswith(spec)
  assert '\n' not in str(raised.value)


def test_an_empty_source_says_why(tmp_path):
  assert_refused(f'folder:{tmp_path}/none', 'no such folder')
  assert_refused(f'tar:{tmp_path}/*.tar', 'no file matches')
  write(tmp_path, {'a.txt': b'x'})
  assert_refused(f'folder:{tmp_path}', r'no image file \(.*\.bmp, ')
  write_tar(tmp_path / 'x.tar', {'a.txt': b'x'})
  assert_refused(f'tar:{tmp_path}/x.tar', r'no image file \(.*\.bmp, ')
  write(tmp_path, {'a.png': encode(picture(0, 39, 90)), 'b.jpg': b'x'})
  assert_refused(
    f'folder:{tmp_path}',
    r'none of 2 pictures can be used: a.png \(39x90, smaller than 40x40\), '
    r'b.jpg \(unreadable: not a readable image: ',
  )


@pytest.mark.parametrize('compression', ['gz', 'bz2', 'xz'])
def test_a_compressed_tar_is_refused(compression, tmp_path):
  path = tmp_path / 'x.tar'  # whatever its name says
  write_tar(path, PICTURES, f'w:{compression}')
  assert_refused(f'tar:{path}', f'{path}: a compressed tar has no random acc')


def test_a_damaged_tar_is_refused(tar, tmp_path):
  data = tar.read_bytes()
  write(tmp_path, {'cut.tar': data[: len(data) // 2], 'text.tar': b'x' * 999})
  for name in ('cut.tar', 'text.tar'):
    assert_refused(f'tar:{tmp_path}/{name}', f'{name}: not a complete tar file')


# The cache.


def test_the_cache_keeps_what_came_first_within_its_budget(tar):
  source = opening.open_source(f'tar:{tar}', min_size=40)
  reads = []
  read = source.read
  source.read = lambda index: reads.append(index) or read(index)
  room = picture(1).nbytes + picture(2, 60, 44).nbytes
  cached = CachedSource(source, room / 2**30)
  assert_holds(cached, source.names, IN_ORDER)
  assert reads == [0, 1, 2, 3]
  assert cached.bytes_kept == room
  assert_holds(cached, source.names, IN_ORDER)
  assert reads == [0, 1, 2, 3, 2, 3]
  with pytest.raises(ValueError, match='read-only'):
    cached.read(0)[0] = 0


def test_a_picture_that_two_threads_decode_is_counted_once(tar):
  source = opening.open_source(f'tar:{tar}', min_size=40)
  read = source.read
  both = threading.Barrier(2, timeout=60)
  source.read = lambda index: both.wait() >= 0 and read(index)
  cached = CachedSource(source, 1)
  with futures.ThreadPoolExecutor(2) as pool:
    list(pool.map(cached.read, [0, 0]))
  assert cached.bytes_kept == picture(1).nbytes


def test_the_shared_training_pictures(shared_data):
  source = opening.open_source(
    f'tar:{shared_data}/train/train-00-of-06.tar', min_size=96
  )
  assert len(source) == 431
  assert source.names[0] == 'train-00-of-06.tar/bsds500_test/104055.jpg'
  assert source.read(0).shape == (*source.sizes[0], 3)


# TFDS sets, built from the photos that the package ships.

PHOTOS = sorted(
  (pathlib.Path(opening.__file__).parents[1] / 'assets').glob(
    'validation/*.png'
  )
)


@pytest.fixture(scope='module')
def tfds_sets(tmp_path_factory):
  """Sets with `hr`, with `image`, with neither, and one in TFRecord."""
  import tensorflow_datasets as tfds

  def build(name: str, key: str, file_format: str) -> pathlib.Path:
    # Not registered: it is found by its files alone, as a set whose code is
    # elsewhere.
    class Photos(tfds.core.GeneratorBasedBuilder, skip_registration=True):
      VERSION = tfds.core.Version('1.0.0')

      def _info(self):
        image = tfds.features.Image()
        features = {key: image, 'lr': image, 'label': tfds.features.Text()}
        return tfds.core.DatasetInfo(
          builder=self, features=tfds.features.FeaturesDict(features)
        )

      def _split_generators(self, dl_manager):
        return {'train': self._generate_examples()}

      def _generate_examples(self):
        for i, photo in enumerate(PHOTOS):
          yield i, {key: str(photo), 'lr': str(photo), 'label': photo.name}

    Photos.name = name
    builder = Photos(data_dir=root, file_format=file_format)
    builder.download_and_prepare()
    return pathlib.Path(builder.data_path)

  root = tmp_path_factory.mktemp('tfds')
  tfds.core.add_data_dir(root)
  tfds.disable_progress_bar()
  build('srgan_hr', 'hr', 'array_record')
  build('srgan_image', 'image', 'array_record')
  build('srgan_other', 'depth', 'array_record')
  build('srgan_tfrecord', 'hr', 'tfrecord')
  return root


@pytest.mark.parametrize('name', ['srgan_hr', 'srgan_image', 'srgan_hr:1.0.0'])
def test_tfds(name, tfds_sets):
  source = opening.open_source(f'tfds:{name}', min_size=40)
  assert len(source) == len(PHOTOS) == len(set(source.names))
  photos = [np.asarray(Image.open(path).convert('RGB')) for path in PHOTOS]
  found = set()
  for i in range(len(source)):  # TFDS shuffles when it prepares
    image = source.read(i)
    assert image.shape == (*source.sizes[i], 3)
    found |= {
      j for j, photo in enumerate(photos) if np.array_equal(image, photo)
    }
  assert found == set(range(len(PHOTOS)))


def test_tfds_split(tfds_sets):
  spec = 'tfds:srgan_hr:train[1:]'
  source = opening.open_source(spec, min_size=40)
  assert len(source) == len(PHOTOS) - 1
  whole = opening.open_source('tfds:srgan_hr', min_size=40)
  np.testing.assert_array_equal(source.read(0), whole.read(1))
  assert_refused('tfds:srgan_hr:test', "cannot open 'test'")
  assert_refused('tfds:srgan_hr:train[:0]', 'TFDS cannot open')


def test_tfds_as_tfrecord_is_refused_with_what_to_run(tfds_sets):
  path = tfds_sets / 'srgan_tfrecord' / '1.0.0'
  assert_refused(
    'tfds:srgan_tfrecord',
    f'prepared as tfrecord, .*; delete {path} and prepare it .* by: python -c '
    r".*tfds.builder\('srgan_tfrecord', file_format='array_record'\)",
  )


def test_tfds_without_the_data_says_what_to_run(tfds_sets):
  assert_refused('tfds:no_such_set', "TFDS knows no data set 'no_such_set'")
  assert_refused(
    'tfds:div2k/bicubic_x4',
    r"is not prepared; prepare it by: python -c .*'div2k/bicubic_x4', ",
  )
  assert_refused('tfds:div2k:9.9.9', 'TFDS cannot open')


def test_tfds_without_an_image_is_refused(tfds_sets):
  assert_refused(
    'tfds:srgan_other', "no image feature 'hr' or 'image', only depth, label"
  )


def test_a_tfds_set_prepared_anew_is_another(tfds_sets):
  stamp = lambda: tfds.find('srgan_hr')[0].stamp
  before = stamp()
  assert stamp() == before
  record = next(tfds_sets.glob('srgan_hr/*/*.array_record*'))
  os.utime(record, (0, 0))
  assert stamp() != before


def test_a_picture_of_another_size_than_it_was_is_broken(folder):
  source = opening.open_source(f'folder:{folder}', min_size=40)
  write(folder, {'a.png': encode(picture(1, 60, 70))})
  with pytest.warns(UserWarning, match=r'a\.png: was 40x50 .* and is 60x70; '):
    index, image = source.read_or_next(0)
  assert index == 1
  np.testing.assert_array_equal(image, IN_ORDER[1])


def test_a_large_sources_headers_are_read_once(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  monkeypatch.setattr(opening, '_CACHED_FROM', 2)
  scan, scanned = opening._scan, []
  monkeypatch.setattr(
    opening,
    '_scan',
    lambda entries: scanned.append(len(entries)) or scan(entries),
  )
  folder = tmp_path / 'photos'
  folder.mkdir()
  for i, size in enumerate([(40, 30), (50, 60)]):
    Image.new('RGB', size).save(folder / f'{i}.png')
  (folder / 'broken.png').write_bytes(b'no picture')

  def sizes():
    with pytest.warns(UserWarning, match='broken.png'):
      source = opening.open_source(f'folder:{folder}', min_size=16)
    return source.sizes.tolist()

  assert sizes() == sizes() == [[30, 40], [60, 50]]
  assert scanned == [3, 1]  # the broken one, lest the fault was a passing one
  Image.new('RGB', (41, 31)).save(folder / '0.png')
  assert sizes() == [[31, 41], [60, 50]]
  assert scanned == [3, 1, 3]
  for path in (tmp_path / 'cache').rglob('*.npy'):
    path.write_bytes(b'cut off')
  assert sizes() == [[31, 41], [60, 50]]
