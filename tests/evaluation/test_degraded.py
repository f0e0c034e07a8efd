"""LR that suffered what photos do: the same for everybody, in a given order."""

import io
import json

import numpy as np
from PIL import Image
import pytest

from srgan_jax import evaluate
from srgan_jax.evaluation import benchmarks, degraded, methods, score
from tests.support import repository

# NumPy 2.4, `np.random.default_rng([zlib.crc32(b'a'), 0])`.
GOLDEN = [138, 133, 136, 119, 130, 137, 129, 138, 120, 131, 119, 122]


def pair(lr, name='a'):
  return benchmarks.Pair(name, np.zeros((4, 4, 3), np.uint8), lr)


def degrade(lr, text, name='a'):
  return degraded.degrade(pair(lr, name), degraded.parse(text)).lr


def photo():
  return np.asarray(
    Image.open(repository.PHOTOS / 'validation' / 'cat.png').convert('RGB')
  )[:90, :101]


@pytest.mark.parametrize('levels', [3, 10])
def test_noise_has_its_deviation_and_is_the_names_own(levels):
  gray = np.full((100, 120, 3), 128, np.uint8)
  noisy = degrade(gray, f'noise{levels}')
  noise = noisy - 128.0
  assert noise.std() == pytest.approx(np.hypot(levels, 12**-0.5), rel=0.02)
  assert abs(noise.mean()) < 0.1
  channels = noise.reshape(-1, 3)
  assert np.abs(np.corrcoef(channels.T) - np.eye(3)).max() < 0.03
  np.testing.assert_array_equal(degrade(gray, f'noise{levels}'), noisy)
  assert (degrade(gray, f'noise{levels}', 'b') != noisy).mean() > 0.5
  twice = degrade(gray, f'noise{levels},noise{levels}') - 128.0
  assert twice.std() == pytest.approx(2**0.5 * levels, rel=0.03)


def test_the_drawn_noise_stays_what_it_was():
  """NumPy's PCG64 and its ziggurat: figures of others stay comparable."""
  gray = np.full((1, 4, 3), 128, np.uint8)
  assert degrade(gray, 'noise10').ravel().tolist() == GOLDEN


def test_noise_is_clipped_and_does_not_wrap():
  for level in (0, 255):
    flat = np.full((40, 40, 3), level, np.uint8)
    assert np.abs(degrade(flat, 'noise20').astype(int) - level).max() < 128


def test_jpeg_is_pillows_with_chroma_at_half_size():
  lr = photo()
  ours = degrade(lr, 'jpeg50')
  file = io.BytesIO()
  Image.fromarray(lr).save(file, 'JPEG', quality=50, subsampling='4:2:0')
  np.testing.assert_array_equal(ours, np.asarray(Image.open(file)))
  errors = [
    np.abs(degrade(lr, f'jpeg{q}') - lr.astype(float)).mean()
    for q in (95, 75, 50)
  ]
  assert 0 < errors[0] < errors[1] < errors[2]


def test_the_order_is_the_given_one():
  lr = photo()
  first, second = degrade(lr, 'noise10,jpeg30'), degrade(lr, 'jpeg30,noise10')
  np.testing.assert_array_equal(
    first, degrade(degrade(lr, 'noise10'), 'jpeg30')
  )
  rough = lambda x: np.abs(np.diff(x.astype(int), axis=1)).mean()
  assert rough(second) > rough(first) + 2  # the noise went in last


@pytest.mark.parametrize(
  'text', ['', 'jpeg', 'jpeg0', 'jpeg96', 'noise300', 'blur2', 'jpeg75;noise10']
)
def test_other_steps_are_refused(text):
  with pytest.raises(ValueError, match='is not jpeg1 to'):
    degraded.parse(text)


def test_the_command_scores_what_came_of_it(tmp_path, capsys):
  folder, out = tmp_path / 'HR', tmp_path / 'out.json'
  folder.mkdir()
  Image.fromarray(photo()).save(folder / 'a.png')
  arguments = ['--model', 'bicubic', '--hr', str(folder), '--json', str(out)]
  assert evaluate.main([*arguments, '--degrade', 'noise10,jpeg75']) == 0
  said = capsys.readouterr().out
  assert 'made by imresize, noise10, jpeg75\n' in said
  result = json.loads(out.read_text())
  assert result['degrade'] == ['noise10', 'jpeg75']
  clean = benchmarks.Benchmark(folder)[0]
  lr = degrade(clean.lr, 'noise10,jpeg75')
  sr = methods.bicubic(benchmarks.Pair('a', clean.hr, lr))
  assert result['images']['a']['y'] == score(sr, clean.hr, 'y')
  assert evaluate.main(arguments) == 0
  assert json.loads(out.read_text())['degrade'] == []


def test_finished_images_are_not_degraded(tmp_path, capsys):
  Image.fromarray(photo()).save(tmp_path / 'a.png')
  arguments = ['--sr', str(tmp_path), '--hr', str(tmp_path)]
  assert evaluate.main([*arguments, '--degrade', 'jpeg75']) == 1
  assert 'is upscaled already' in capsys.readouterr().err
