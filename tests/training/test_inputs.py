"""From a configuration's fields to the pictures of a run."""

import jax
import numpy as np
import pytest

from srgan_jax import sharding
from srgan_jax.data import draw as draw_lib
from srgan_jax.data.loader import host_batch
from srgan_jax.imaging import reading
from srgan_jax.training.inputs import Inputs
from tests.support.repository import tiny_config


def open_inputs(config):
  return Inputs(config, sharding.make_mesh(config.batch_size))


@pytest.mark.parametrize('kind', ['resident', 'tfdata'])
@pytest.mark.parametrize('placement', ['sharded', 'replicated'])
def test_the_crops_are_the_configs(kind, placement):
  config = tiny_config(
    seed=5,
    batch_size=8,
    **{
      'data.loader': kind,
      'data.augment': False,
      'data.crops_per_image': 3,
      'data.placement': placement,
    },
  )
  inputs = open_inputs(config)
  loader = inputs.loader
  rows = sharding.shard_batch(next(loader.batches(4)), sharding.make_mesh(8))
  ours = jax.jit(loader.crops)(loader.pictures, rows)
  drawn = draw_lib.draw(
    5,
    4,
    sizes=inputs.source.sizes,
    batch_size=8,
    crop_size=32,
    augment=False,
    crops_per_image=3,
  )
  expected = host_batch(inputs.source, drawn, crop_size=32)
  for name, values in expected.items():
    np.testing.assert_array_equal(ours[name], values)


@pytest.mark.parametrize(('gib', 'decodes'), [(0.25, 10), (0.0, 11)])
def test_pictures_are_kept_within_the_configs_memory(monkeypatch, gib, decodes):
  read = []
  read_rgb = reading.read_rgb

  def spy(file, name):
    read.append(name)
    return read_rgb(file, name)

  monkeypatch.setattr(reading, 'read_rgb', spy)
  config = tiny_config(**{'data.loader': 'tfdata', 'data.cache_gib': gib})
  # One thread: two may decode a picture that neither finds kept yet.
  batches = open_inputs(config).loader._batches(threads=1)
  for _ in range(6):  # 24 crops of 10 pictures
    next(batches)
  batches.close()
  assert len(read) == decodes if gib else len(read) >= decodes


def test_photos_held_out_are_validated_on_and_not_trained_on():
  every = open_inputs(tiny_config()).source
  inputs = open_inputs(tiny_config(**{'data.validation': 'hold-out:3'}))
  names = [pair.name for pair in inputs.validation._pairs]
  source = inputs.source
  assert len(names) == 3 and len(source) == len(every) - 3
  assert sorted([*names, *source.names]) == sorted(every.names)
  for i, name in enumerate(source.names):
    place = every.names.index(name)
    assert tuple(source.sizes[i]) == tuple(every.sizes[place])
    np.testing.assert_array_equal(source.read(i), every.read(place))


@pytest.mark.parametrize('count', ['0', '10', 'x', ''])
def test_a_wrong_number_held_out_is_refused(count):
  config = tiny_config(**{'data.validation': f'hold-out:{count}'})
  with pytest.raises(
    ValueError, match=f'hold-out:{count}.*of the 10 .*at most 9'
  ):
    open_inputs(config)
