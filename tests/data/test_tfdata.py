"""The tf.data loader: the draw's crops and no others, on however many hosts."""

import importlib.util
import itertools
import time

import numpy as np
import pytest

from srgan_jax.data import tfdata
from tests.support import repository
from tests.support.training_pictures import Pictures, assert_same, plain_batches

SETTINGS = {'seed': 3, 'batch_size': 8, 'crop_size': 32}


def take(count, source=None, **changes):
  """The first batches, and the pipeline stopped."""
  batches = tfdata.batches(source or Pictures(), **SETTINGS | changes)
  result = list(itertools.islice(batches, count))
  batches.close()
  return result


@pytest.fixture(scope='module')
def first_six():
  return take(6)


@pytest.mark.parametrize(
  'changes',
  [
    {},
    {'start_step': 4},
    {'augment': False},
    {'seed': 4},
    {'crops_per_image': 3},
  ],
  ids=str,
)
def test_batches_are_the_crops_that_are_drawn(changes):
  expected = plain_batches(Pictures(), 6, **SETTINGS | changes)
  source = Pictures()
  assert_same(take(6, source, **changes, threads=1), expected)
  if 'crops_per_image' in changes:  # they are kept between the steps
    assert len(source.reads) < 8 * 6


@pytest.mark.parametrize('threads', [1, 7])
def test_threads_change_nothing(threads, first_six):
  class Uneven(Pictures):
    def read(self, index):
      time.sleep(0.01 * (index % 3 == 0))  # others overtake it
      return super().read(index)

  assert_same(take(6, Uneven(), threads=threads), first_six)


@pytest.mark.parametrize('shard_count', [2, 4])
def test_the_shards_of_all_hosts_are_the_global_batch(shard_count, first_six):
  shards = [
    take(3, shard_index=i, shard_count=shard_count) for i in range(shard_count)
  ]
  whole = [
    {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    for parts in zip(*shards, strict=True)
  ]
  assert_same(whole, first_six[:3])


def test_a_host_reads_only_its_own_pictures():
  # Within an epoch (100 steps here, and it reads ahead by about ten) each
  # picture is one host's.
  reads = []
  for shard in range(2):
    source = Pictures(400)
    settings = {'batch_size': 4, 'shard_index': shard, 'shard_count': 2}
    take(20, source, **settings)
    assert len(set(source.reads)) >= 40
    reads.append(set(source.reads))
  assert not reads[0] & reads[1]


def test_bad_arguments_are_refused_before_anything_runs():
  with pytest.raises(ValueError, match='crop_size 30 is not a positive multi'):
    tfdata.batches(Pictures(), **SETTINGS | {'crop_size': 30})


def test_without_tensorflow_it_is_refused_at_once(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(ImportError, match="'tfdata' takes TensorFlow"):
    tfdata.TfDataLoader(Pictures(), **SETTINGS)


def test_an_error_in_a_thread_arrives_as_it_was_raised():
  source = Pictures()
  source.read = lambda index: None  # what no code expects
  with pytest.raises(AttributeError, match="'NoneType' .* 'shape'"):
    take(1, source)
  source.read = lambda index: source.pictures[index][:20]
  with pytest.raises(ValueError, match='is smaller than crop_size 32') as e:
    take(1, source)
  assert '\n' not in str(e.value)


def test_a_closed_pipeline_reads_no_more():
  source = Pictures()
  batches = tfdata.batches(source, **SETTINGS)
  next(batches)
  batches.close()
  count = len(source.reads)
  time.sleep(0.2)
  assert len(source.reads) == count
  with pytest.raises(StopIteration):
    next(batches)


PROGRAM = """
import sys, time
import numpy as np
from srgan_jax.data import tfdata
from srgan_jax.data.source import Entry, Source

class Slow(Source):
  def __init__(self):
    super().__init__('memory:', [Entry('x', None)], [(64, 64)], [0])
  def read(self, index):
    end = time.perf_counter() + 0.01
    while time.perf_counter() < end:
      pass
    return np.zeros((64, 64, 3), np.uint8)

assert not {'tensorflow', 'tensorflow_datasets'} & set(sys.modules)
batches = tfdata.batches(Slow(), seed=0, batch_size=4, crop_size=32)
next(batches)
print('done')
"""


def test_a_program_ends_while_its_pipeline_runs_and_prints_no_noise():
  environment = {
    name: value
    for name, value in repository.environment().items()
    if not name.startswith('TF_')
  }
  run = repository.run_python('-c', PROGRAM, env=environment, timeout=300)
  assert run.returncode == 0
  assert run.stdout == 'done\n'
  assert run.stderr == ''
