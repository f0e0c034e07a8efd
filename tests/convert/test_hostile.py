"""Hostile files: refused in one line, within 5 seconds and 256 MiB."""

import pytest

from srgan_jax.convert.readers import rehearsal
from tests.stress import hostile_files, readers

pytest.importorskip('h5py', reason='h5py is not installed')


@pytest.fixture(scope='module')
def rows():
  """Of all kinds, by name; the readers run in a process of their own."""
  return {row.cells[0]: row for row in readers.attack()}


@pytest.mark.parametrize('kind', hostile_files.kinds())
def test_a_hostile_file_is_refused_cheaply(rows, kind):
  assert not rows[kind].fault, rows[kind]


@pytest.mark.parametrize(
  ('kind', 'expected'),
  [
    # As deep as this process would just take, or just not.
    ('a key of 110,000 nested tuples', 'too much time or memory'),
    ('a shape of 80,000 numbers of 963 digits', 'of shape'),
  ],
)
def test_the_other_process_stops_before_this_one(tmp_path, kind, expected):
  path = tmp_path / 'x.pth'
  hostile_files.kinds()[f'old PyTorch: {kind}'].write(path)
  with pytest.raises(ValueError, match=expected) as info:
    rehearsal.rehearse('torch_files', path)
  assert len(str(info.value)) <= 1000


@pytest.mark.parametrize(
  ('change', 'fault'),
  [
    ({}, ''),
    ({'seconds': 6.0}, 'too slow'),
    ({'peak': 2**29}, 'too much memory'),
    ({'message': 'x: a\nb'}, 'a message of 6 letters'),
    ({'message': ''}, 'it was read'),
    ({'fault': 'KeyError: 1'}, 'KeyError: 1'),
  ],
)
def test_what_is_not_right_is_a_fault(change, fault):
  found = {'seconds': 0.1, 'peak': 0, 'message': 'x: no', 'fault': ''} | change
  assert readers.judge(**found) == fault
