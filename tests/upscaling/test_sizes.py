"""Results of any size, and where they go without an output."""

import numpy as np
from PIL import Image
import pytest

from srgan_jax import imaging, upscale, upscaling
from srgan_jax.imaging import resize
from srgan_jax.upscaling import batch, planning
from srgan_jax.upscaling.sizes import Size
from tests.support import repository
from tests.support.upscaling import noise


@pytest.fixture
def photo(tmp_path):
  path = tmp_path / 'photo.png'
  Image.fromarray(noise(6, 9, 3)).save(path)
  return path


@pytest.mark.parametrize(
  ('size', 'expected', 'passes'),
  [
    (Size(), (24, 36), 1),
    (Size(1), (6, 9), 1),
    (Size(3), (18, 27), 1),
    (Size(8), (48, 72), 2),
    (Size(16), (96, 144), 2),
    (Size(64), (384, 576), 3),
    (Size(2.5), (15, 23), 1),
    (Size(width=20), (13, 20), 1),
    (Size(height=100), (100, 150), 3),
    (Size(width=36, height=7), (7, 36), 1),
  ],
  ids=str,
)
def test_a_size_says_what_becomes_of_a_picture(size, expected, passes):
  assert size.of(6, 9) == expected
  assert size.passes(6, 9) == passes
  assert size.most_pixels(6, 9) >= 54 * 16**passes


def test_a_scale_is_what_its_digits_say():
  """1.1 and 2.2 are a little more as floats."""
  assert Size(1.1).of(100, 200) == (110, 220)
  assert Size(2.2).of(50, 101) == (110, 223)


def test_other_sizes_are_the_exact_resize_of_the_networks(model):
  upscaler = upscaling.load(model)
  image, shares = noise(6, 9, 3), []
  x3 = Size(3).upscale(upscaler, image, shares.append)
  np.testing.assert_array_equal(x3, imaging.imresize(upscaler(image), 3 / 4))
  x8 = Size(8).upscale(upscaler, image, shares.append)
  x16 = upscaler(upscaler(image))
  np.testing.assert_array_equal(x8, imaging.imresize(x16, 1 / 2))
  assert sum(shares) == pytest.approx(2)
  x4 = Size().upscale(upscaler, image, lambda share: None)
  np.testing.assert_array_equal(x4, upscaler(image))


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_a_resize_to_lengths_is_that_by_their_scale(dtype):
  image = noise(13, 17, 3).astype(dtype)
  for scale in (1 / 4, 3 / 4, 1, 2, 4):
    by_scale = imaging.imresize(image, scale)
    to = resize.imresize_to(image, *by_scale.shape[:2])
    if 13 * scale % 1 == 17 * scale % 1 == 0:
      np.testing.assert_array_equal(to, by_scale)
    assert to.shape == by_scale.shape and to.dtype == dtype
  assert resize.imresize_to(image, 3, 100).shape == (3, 100, 3)
  with pytest.raises(ValueError, match='at least 1'):
    resize.imresize_to(image, 0, 3)


@pytest.mark.parametrize(
  ('options', 'name', 'size'),
  [
    ([], 'photo_x4.png', (36, 24)),
    (['--scale', '2'], 'photo_x2.png', (18, 12)),
    (['--width', '20'], 'photo_w20.png', (20, 13)),
    (['--suffix=-large', '--format', 'jpg'], 'photo-large.jpg', (36, 24)),
    (['-o', 'out', '--suffix=-x'], 'out/photo-x.png', (36, 24)),
    (['-o', 'out.png', '--height', '50'], 'out.png', (75, 50)),
  ],
)
def test_a_result_gets_its_name_and_size(
  photo, model, tmp_path, monkeypatch, options, name, size
):
  monkeypatch.chdir(tmp_path)
  assert not upscale.main([photo.name, '--model', str(model), *options])
  with Image.open(tmp_path / name) as result:
    assert result.size == size


def test_a_folders_results_lie_in_one_beside_it(
  photo, model, tmp_path, monkeypatch
):
  (tmp_path / 'trip' / 'day').mkdir(parents=True)
  photo.rename(tmp_path / 'trip' / 'day' / 'photo.png')
  monkeypatch.chdir(tmp_path / 'trip')
  assert not upscale.main(['.', '--model', str(model)])
  assert (tmp_path / 'trip_x4' / 'day' / 'photo.png').exists()


def test_the_limit_counts_what_lies_between(photo, model, tmp_path, capsys):
  big = tmp_path / 'big.png'
  Image.fromarray(noise(75, 75, 3)).save(big)
  arguments = [str(big), '--model', str(model), '--max-megapixels', '1']
  assert upscale.main([*arguments, '--scale', '5']) == 1
  error = capsys.readouterr().err
  assert 'become 2 megapixels, over' in error
  assert '--max-megapixels 2 lifts it' in error


_LIGHT = """
import importlib, sys
for name in ('demo', 'evaluate', 'export', 'hub', 'upscale', 'video'):
  command = importlib.import_module(f'srgan_jax.{name}')
  for option in ('--help', '--version', '--list-models'):
    print(name, option, flush=True)
    try:
      command.main([option])
    except SystemExit as end:
      assert not end.code
    assert not {'jax', 'numpy', 'PIL'} & set(sys.modules)
"""


def test_help_imports_no_jax():
  result = repository.run_python('-c', _LIGHT)
  assert result.returncode == 0, result.stdout + result.stderr


def test_a_picture_of_several_tiles_says_how_long_it_takes(photo, tmp_path):
  plan = planning.plan([photo], tmp_path / 'out', None, size=Size())
  said, moments = [], iter([0.0, 100.0, 130.0, 160.0, 190.0])

  def upscaler(image, progress):
    for _ in range(4):  # 30 s each, and 70 s of compiling in the first
      progress(image[..., 0].size / 4)
    return image.repeat(4, 0).repeat(4, 1)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(batch.time, 'monotonic', lambda: next(moments, 190.0))
    batch.Batch(plan.jobs, say=said.append).run(upscaler)
  assert said == [f'{photo}: about 1 min to go']
  assert plan.jobs[0].status == 'done'
