"""Pictures of every kind and damage, and films that grow."""

import pytest

from tests.stress import pictures, sizes
from tests.support.videos import needs_ffmpeg


def test_nothing_is_lost_of_a_nasty_folder():
  rows = list(pictures.attack(short=True))
  assert dict(row.cells for row in rows)['upscaled'] > 40
  assert not [row for row in rows if row.fault]


@needs_ffmpeg
def test_memory_does_not_grow_with_a_film():
  pytest.importorskip('av', reason='needs the extra video')
  rows = list(sizes.attack(short=True))
  assert len(rows) == 3
  assert not [row for row in rows if row.fault]
