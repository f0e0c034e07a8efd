"""The resident loader: the tf.data loader's bytes, wherever pictures lie."""

import itertools
import tracemalloc

import jax
import numpy as np
import pytest

from srgan_jax import runtime, sharding
from srgan_jax.data import resident
from tests.support.training_pictures import Pictures, assert_same, plain_batches

SETTINGS = {'seed': 3, 'batch_size': 8, 'crop_size': 32}


def batches(count, source=None, start_step=0, **changes):
  """The first crops of a loader on the mesh of two devices."""
  mesh = sharding.make_mesh(SETTINGS['batch_size'])
  loader = resident.ResidentLoader(
    source or Pictures(), mesh, **SETTINGS | changes
  )
  cut = jax.jit(loader.crops)
  result = []
  for drawn in itertools.islice(loader.batches(start_step), count):
    crops = cut(loader.pictures, sharding.shard_batch(drawn, mesh))
    result.append(jax.tree.map(np.asarray, crops))
  return result


def plain(count, source=None, **changes):
  return plain_batches(source or Pictures(), count, **SETTINGS | changes)


@pytest.mark.parametrize('placement', ['auto', 'replicated', 'sharded'])
@pytest.mark.parametrize(
  'changes',
  [
    {},
    {'start_step': 7, 'crops_per_image': 2},
    {'crop_size': 16, 'augment': False},
  ],
  ids=str,
)
def test_crops_are_those_that_are_drawn(placement, changes):
  crops = batches(5, placement=placement, **changes)
  assert_same(crops, plain(5, **changes))


@pytest.mark.parametrize('placement', ['replicated', 'sharded'])
def test_pictures_of_another_size_that_stand_in_for_broken_ones(placement):
  class Broken(Pictures):
    def __init__(self):
      super().__init__(8)
      self.sizes[3] = 400, 300

    def read_or_next(self, index):
      return super().read_or_next(4 if index == 3 else index)

  crops = batches(4, Broken(), placement=placement)
  assert_same(crops, plain(4, Broken()))


def test_pictures_longer_than_a_row_and_a_batch_of_few():
  class Large(Pictures):
    def __init__(self):
      super().__init__(3)
      rng = np.random.default_rng(0)
      self.pictures[1] = rng.integers(0, 256, (130, 1501, 3), np.uint8)
      self.sizes[1] = 130, 1501

  for placement in ('replicated', 'sharded'):
    assert_same(batches(5, Large(), placement=placement), plain(5, Large()))


def test_memory_is_at_most_a_tenth_more_than_the_pictures(shared_data):
  """Of 300x300 pictures, the shared data's smallest."""
  sizes = np.full((1000, 2), 300)
  rows = resident._rows_needed(sizes).sum()
  assert rows * resident._ROW <= 1.1 * 1000 * 300 * 300 * 3
  part = resident._deal(sizes, 8)
  assert np.bincount(part).tolist() == [125] * 8


def test_each_device_holds_its_share_alone():
  mesh = sharding.make_mesh(8)
  loader = resident.ResidentLoader(
    Pictures(), mesh, **SETTINGS, placement='sharded'
  )
  shards = loader.pictures.rows.addressable_shards
  assert len({shard.device for shard in shards}) == 2
  whole = resident._rows_needed(Pictures().sizes).sum()
  assert all(shard.data.shape[0] < 0.7 * whole for shard in shards)


def test_while_they_are_decoded_pictures_are_held_once():
  class Decoded(Pictures):
    def __init__(self):
      super().__init__(40)
      self.sizes[:] = 400, 400

    def read_or_next(self, index):
      return index, np.full((400, 400, 3), index, np.uint8)

  source = Decoded()
  tracemalloc.start()  # NumPy's arrays, and not what the devices hold
  batches(1, source)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 1.5 * 40 * 400 * 400 * 3


class Unread(Pictures):
  """5.6 GiB of pictures, none of which is decoded."""

  def __init__(self):
    super().__init__(20)
    self.sizes[:] = 10_000, 10_000

  def read_or_next(self, index):
    raise AssertionError('too late')


@pytest.mark.parametrize(
  ('placement', 'device', 'host', 'message'),
  [
    ('replicated', 6, None, "5.59 GiB of each device's .* has 4.8 GiB"),
    ('auto', 1, None, "2.79 GiB of each device's .* has 0.8 GiB"),
    # The array itself, and on CPU its copies on the two devices.
    ('replicated', 9, 3, "16.8 GiB of this machine's memory, .* 3 GiB"),
    ('sharded', 9, 3, "11.2 GiB of this machine's memory, .* 3 GiB"),
  ],
)
def test_pictures_that_do_not_fit_are_not_decoded(
  monkeypatch, placement, device, host, message
):
  free = host and host * 2**30
  monkeypatch.setattr(runtime, 'free_memory', lambda: free)
  monkeypatch.setattr(resident, '_device_memory', lambda mesh: device * 2**30)
  with pytest.raises(ValueError, match=message):
    batches(1, Unread(), placement=placement)


def test_automatic_placement_is_whole_in_half_of_a_device(monkeypatch):
  whole = resident._rows_needed(Pictures().sizes).sum() * resident._ROW
  mesh = sharding.make_mesh(8)
  for room, is_split in ((2 * whole, False), (2 * whole - 1, True)):
    monkeypatch.setattr(resident, '_device_memory', lambda mesh, m=room: m)
    loader = resident.ResidentLoader(Pictures(), mesh, **SETTINGS)
    shard = loader.pictures.rows.addressable_shards[0].data
    assert (shard.nbytes < whole) == is_split


def test_a_crop_larger_than_a_picture_is_refused():
  with pytest.raises(ValueError, match='smaller than crop_size 512'):
    batches(1, crop_size=512)
