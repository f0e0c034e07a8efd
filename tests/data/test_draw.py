"""Every crop is a function of (seed, step); cut() knows where pictures end."""

import collections

import numpy as np
import pytest

from srgan_jax.data import draw as draw_lib
from srgan_jax.data.draw import cut, draw

# 23 pictures of many sizes, most of them no multiple of 4.
SIZES = np.array([(96 + 37 * i % 304, 96 + 53 * i % 304) for i in range(23)])
SETTINGS = {'sizes': SIZES, 'batch_size': 8, 'crop_size': 96}


def draws(steps, seed=0, **changes):
  return [draw(seed, step, **SETTINGS | changes) for step in steps]


def test_several_crops_of_an_image_are_drawn_in_a_row():
  once = draws(range(3))
  thrice = draws(range(9), crops_per_image=3)
  for step, drawn in enumerate(thrice):
    np.testing.assert_array_equal(drawn.image, once[step // 3].image)
  # Places and symmetries are the step's own.
  assert not np.array_equal(thrice[0].y, thrice[1].y)
  assert_same(thrice[0], once[0])
  np.testing.assert_array_equal(
    thrice[2].symmetry, draw(0, 2, **SETTINGS).symmetry
  )


def assert_same(a: draw_lib.Draw, b: draw_lib.Draw) -> None:
  for x, y in zip(a, b, strict=True):
    np.testing.assert_array_equal(x, y)


def test_a_draw_depends_on_nothing_but_seed_and_step():
  forwards = draws(range(20))
  draw_lib._permutation.cache_clear()
  backwards = draws(reversed(range(20)))[::-1]
  for a, b in zip(forwards, backwards, strict=True):
    assert_same(a, b)


# Worked out from the definition by a Philox4x64-10 written in plain Python.
PINNED = {
  'image': [8, 14, 15, 2, 3, 22, 11, 10],
  'y': [256, 152, 160, 0, 108, 104, 20, 36],
  'x': [4, 16, 24, 80, 100, 80, 168, 184],
  'symmetry': [3, 3, 6, 7, 7, 6, 2, 5],
}


def test_the_stream_is_pinned():
  """Another stream here: no earlier run could be resumed or repeated."""
  drawn = draw(42, 1000, **SETTINGS)
  assert {k: v.tolist() for k, v in drawn._asdict().items()} == PINNED
  assert {field.dtype for field in drawn} == {np.dtype('int32')}


def test_seeds_and_steps_differ():
  seen = {tuple(np.concatenate(d)) for d in draws(range(50))}
  seen |= {tuple(np.concatenate(d)) for d in draws(range(50), seed=1)}
  assert len(seen) == 100


def test_any_integer_seed_will_do():
  for seed in (-1, 2**63, 2**64 - 1):
    draw(seed, 10**9, **SETTINGS)


def test_pictures_of_a_batch_are_distinct_and_an_epoch_has_no_repeats():
  # 23 pictures in batches of 8: two batches an epoch, seven pictures dropped.
  for epoch in range(10):
    a, b = draws([2 * epoch, 2 * epoch + 1])
    assert len({*a.image, *b.image}) == 16


def test_every_picture_is_drawn_about_as_often():
  count = collections.Counter(
    image for d in draws(range(2000)) for image in d.image.tolist()
  )
  expected = 2000 * 8 / 23  # each epoch draws 16 of 23: sd is about 15
  assert set(count) == set(range(23))
  assert max(abs(n - expected) for n in count.values()) < 5 * 15


@pytest.mark.parametrize('batch_size', [23, 24, 46, 60])
def test_few_pictures_are_spread_evenly_over_a_batch(batch_size):
  most = -(-batch_size // 23)
  firsts = set()
  for d in draws(range(20), batch_size=batch_size):
    count = collections.Counter(d.image.tolist())
    assert sum(count.values()) == batch_size
    assert max(count.values()) <= most
    assert min(count[i] for i in range(23)) >= batch_size // 23
    firsts.add(int(d.image[0]))
    if batch_size >= 46:  # no permutation is used twice
      assert d.image[:23].tolist() != d.image[23:46].tolist()
  assert len(firsts) > 5  # each batch is shuffled anew


def test_one_picture():
  drawn = draw(0, 3, sizes=[(200, 300)], batch_size=16, crop_size=96)
  assert drawn.image.tolist() == [0] * 16
  assert len(set(zip(drawn.y.tolist(), drawn.x.tolist(), strict=True))) > 8


def test_positions_are_on_the_grid_inside_and_even():
  # 103 x 120, cropped to 100 x 120: y in {0, 4}, x in {0, 4, ..., 24}.
  ys, xs = collections.Counter(), collections.Counter()
  for step in range(500):
    d = draw(0, step, sizes=[(103, 120)] * 8, batch_size=8, crop_size=96)
    ys.update(d.y.tolist())
    xs.update(d.x.tolist())
  for count, values in ((ys, [0, 4]), (xs, list(range(0, 25, 4)))):
    assert sorted(count) == values  # both ends occur, nothing else does
    expected = 4000 / len(values)
    chi2 = sum((n - expected) ** 2 / expected for n in count.values())
    assert chi2 < 22.5  # p = 0.001 for six degrees of freedom


def test_a_picture_of_the_crop_size_has_one_position():
  d = draw(0, 0, sizes=[(96, 99)] * 8, batch_size=8, crop_size=96)
  assert not d.y.any() and not d.x.any()


def test_symmetries_are_even_and_independent_of_the_position():
  count = collections.Counter()
  for step in range(1000):
    d = draw(0, step, sizes=[(100, 96)] * 8, batch_size=8, crop_size=96)
    count.update(zip(d.y.tolist(), d.symmetry.tolist(), strict=True))
  assert sorted(count) == [(y, s) for y in (0, 4) for s in range(8)]
  chi2 = sum((n - 500) ** 2 / 500 for n in count.values())
  assert chi2 < 37.7  # p = 0.001 for fifteen degrees of freedom


def test_without_augmentation_only_the_symmetry_changes():
  for step in range(5):
    plain = draw(0, step, **SETTINGS, augment=False)
    turned = draw(0, step, **SETTINGS)
    assert plain.symmetry.tolist() == [0] * 8
    assert_same(plain, turned._replace(symmetry=plain.symmetry))


@pytest.mark.parametrize(
  'changes, why',
  [
    ({'crop_size': 90}, 'crop_size 90 is not a positive multiple of 4'),
    ({'crop_size': 0}, 'crop_size 0 is not a positive multiple'),
    ({'crop_size': 400}, 'smaller than crop_size 400'),
    ({'batch_size': 0}, 'cannot draw 0 crops'),
    ({'sizes': np.zeros((0, 2), np.int32)}, 'of 0 pictures'),
  ],
)
def test_bad_arguments_are_refused(changes, why):
  with pytest.raises(ValueError, match=why):
    draw(0, 0, **SETTINGS | changes)


def test_the_picture_that_is_too_small_is_named():
  sizes = SIZES.copy()
  sizes[5] = 300, 95
  with pytest.raises(ValueError, match='picture 5 is 300x95, smaller'):
    draws(range(20), sizes=sizes)


# cut() against an index of every pixel, each worked out on its own.


def reference_cut(image, y, x, crop_size):
  def index(length, start):
    i = np.arange(start - 8, start + crop_size + 8)
    return np.clip(i, 0, length // 4 * 4 - 1)

  rows, columns = index(image.shape[0], y), index(image.shape[1], x)
  return image[rows][:, columns]


IMAGE = np.random.default_rng(1).integers(0, 256, (65, 83, 3), np.uint8)
# Cropped to 64 x 80; crops of 32 start at up to 32 and 48.
CORNERS = [(0, 0), (0, 48), (32, 0), (32, 48)]
NEAR = [(4, 44), (28, 4)]
INSIDE = [(8, 8), (24, 40), (16, 20)]


@pytest.mark.parametrize('y, x', CORNERS + NEAR + INSIDE)
def test_cut(y, x):
  crop = cut(IMAGE, y, x, crop_size=32)
  assert crop.shape == (48, 48, 3)
  assert crop.dtype == np.uint8
  np.testing.assert_array_equal(crop, reference_cut(IMAGE, y, x, 32))
  np.testing.assert_array_equal(crop[8:-8, 8:-8], IMAGE[y : y + 32, x : x + 32])


@pytest.mark.parametrize('crop_size', [4, 8])
def test_cut_of_a_picture_no_larger_than_the_crop(crop_size):
  image = IMAGE[: crop_size + 1, :crop_size]
  crop = cut(image, 0, 0, crop_size=crop_size)
  expected = reference_cut(image, 0, 0, crop_size)
  np.testing.assert_array_equal(crop, expected)


def test_a_crop_is_a_copy():
  image = IMAGE.copy()
  for y, x in ((8, 8), (0, 0)):
    cut(image, y, x, crop_size=32)[:] = 0
  np.testing.assert_array_equal(image, IMAGE)


def test_positions_start_again_where_a_picture_is_smaller():
  for y, x, y_real, x_real in ((36, 0, 0, 0), (100, 96, 28, 44)):
    np.testing.assert_array_equal(
      cut(IMAGE, y, x, crop_size=32), cut(IMAGE, y_real, x_real, crop_size=32)
    )


def test_cut_refuses_a_picture_that_is_smaller():
  with pytest.raises(ValueError, match='65x83 is smaller than crop_size 68'):
    cut(IMAGE, 0, 0, crop_size=68)
