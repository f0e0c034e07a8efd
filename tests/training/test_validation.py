"""What a run keeps and says of images that it does not train on."""

import json
import math
import shutil

import jax
import numpy as np
from PIL import Image
import pytest

from srgan_jax import upscaling, weights
from srgan_jax.data import opening
from srgan_jax.evaluation import niqe
from srgan_jax.models.generator import Generator
from srgan_jax.paper import curves
from srgan_jax.training import validation
from srgan_jax.training.run import Run
from tests.support import repository, setups


def test_the_best_generator_is_kept_with_its_step(tmp_path, monkeypatch):
  config = repository.tiny_config(
    validate_every=1,
    keep_best_by='psnr_y',
    **{
      'data.validation': 'hold-out:1',
      'stages.pretrain.steps': 4,
      'stages.gan.steps': 0,
    },
  )
  figures = iter([20.0, 22.0, 21.0, 22.0])
  kept = []

  def score(self, name, upscaler):
    kept.append(jax.device_get(upscaler._params))
    return {'psnr_y': next(figures)}, np.zeros((4, 4, 3), np.uint8)

  monkeypatch.setattr(validation.Validation, 'score', score)
  Run(setups.of(config), tmp_path / 'run').train()
  path = tmp_path / 'run' / 'generator_pretrain_best.safetensors'
  _, variables, metadata = weights.load_generator(path)
  training = metadata['training']
  assert training['steps'] == 2 and training['figures'] == {'psnr_y': 22.0}
  ours = upscaling.Upscaler(Generator(1, 4), variables)._params
  jax.tree.map(np.testing.assert_array_equal, ours, kept[1])


@pytest.mark.parametrize(
  ('by', 'figures', 'best'),
  [
    ('psnr_y', [20.0, math.inf, 22.0, math.inf], 2),
    ('niqe', [math.nan, 5.0, math.nan, 6.0], 2),
  ],
)
def test_figures_that_are_not_finite_are_null(
  tmp_path, monkeypatch, by, figures, best
):
  """PSNR of equal images, NIQE of flat ones: JSON has no such numbers."""
  left = iter(figures)
  names = property(lambda self: [by])
  score = lambda *_: ({by: next(left)}, np.zeros((4, 4, 3), np.uint8))
  monkeypatch.setattr(validation.Validation, 'names', names)
  monkeypatch.setattr(validation.Validation, 'score', score)
  config = repository.tiny_config(
    validate_every=1,
    log_every=9,
    keep_best_by=by,
    **{
      'data.validation': f'folder:{repository.PHOTOS}/validation',
      'stages.pretrain.steps': 4,
      'stages.gan.steps': 0,
    },
  )
  Run(setups.of(config), tmp_path).train()
  text = (tmp_path / 'metrics.jsonl').read_text()
  refuse = pytest.fail  # NaN and Infinity, which Python would write and read
  lines = [json.loads(x, parse_constant=refuse) for x in text.splitlines()]
  assert [line[by] for line in lines if by in line] == [
    value if math.isfinite(value) else None for value in figures
  ]
  path = tmp_path / 'generator_pretrain_best.safetensors'
  assert weights.load(path, 'generator')[1]['training']['steps'] == best
  assert b'NaN' not in (data := path.read_bytes()) and b'Infinity' not in data
  *_, last = curves.read_metrics(tmp_path / 'metrics.jsonl')
  assert (by in last) == math.isfinite(figures[-1])


def test_the_best_on_other_images_is_not_the_best(tmp_path, caplog):
  """Whatever it scored there: the images were replaced between two runs."""
  caplog.set_level('INFO')
  names = [path.name for path in (repository.PHOTOS / 'validation').iterdir()]
  held = tmp_path / 'held'
  held.mkdir()

  def run(name, steps):
    for old in held.iterdir():
      old.unlink()
    shutil.copy(repository.PHOTOS / 'validation' / name, held)
    config = repository.tiny_config(
      keep_best_by='psnr_y',
      validate_every=1,
      **{
        'data.validation': f'folder:{held}',
        'stages.pretrain.steps': steps,
        'stages.gan.steps': 0,
      },
    )
    Run(setups.of(config), tmp_path / 'run').train()
    path = tmp_path / 'run' / 'generator_pretrain_best.safetensors'
    return weights.load(path, 'generator')[1]['training']

  first = run(names[0], 1)
  second = run(names[1], 2)
  assert (first['steps'], second['steps']) == (1, 2)
  assert first['validation_images'] != second['validation_images']
  assert 'was the best on other images' in caplog.text
  # And of the same images the first would have stayed, if it was better.
  assert run(names[1], 3)['validation_images'] == second['validation_images']
  assert caplog.text.count('was the best on other images') == 1


def test_the_best_of_lost_updates_is_not_the_best(
  tmp_path, monkeypatch, caplog
):
  """Killed after step 4, it goes on from step 2, and never has it again."""
  caplog.set_level('INFO')
  figures = iter([20.0, 21.0, 25.0, 24.0, 22.0, 21.5])

  def score(self, name, upscaler):
    return {'psnr_y': next(figures)}, np.zeros((4, 4, 3), np.uint8)

  def run(steps):
    config = repository.tiny_config(
      save_every=2,
      validate_every=1,
      keep_best_by='psnr_y',
      **{
        'data.validation': f'folder:{repository.PHOTOS}/validation',
        'stages.pretrain.steps': steps,
        'stages.gan.steps': 0,
      },
    )
    Run(setups.of(config), folder).train()
    _, metadata = weights.load(best, 'generator')
    return metadata['training']['steps']

  monkeypatch.setattr(validation.Validation, 'score', score)
  folder = tmp_path / 'run'
  best = folder / 'generator_pretrain_best.safetensors'
  assert run(4) == 3
  shutil.rmtree(folder / 'checkpoints' / 'pretrain' / '4')
  assert run(4) == 3  # 22.0, the best of those that count
  assert caplog.text.count('the best at step 3, which was lost') == 1


def test_figures_stay_where_an_ended_run_is_asked_for_none(tmp_path):
  def run(**changes):
    lengths = {'stages.pretrain.steps': 2, 'stages.gan.steps': 0}
    config = repository.tiny_config(**lengths, **changes)
    Run(setups.of(config), tmp_path / 'run').train()
    return path.read_bytes()

  path = tmp_path / 'run' / 'generator.safetensors'
  held = f'folder:{repository.PHOTOS}/validation'
  trained = run(**{'data.validation': held})
  assert trained == run()
  path.write_bytes(b'damaged')
  run()
  assert weights.load(path, 'generator')[1]['training']['steps'] == 2


def test_a_smaller_distance_is_better():
  for name in ('lpips_alex', 'dists', 'niqe'):
    assert validation.is_better(name, 0.2, 0.3)
  assert not validation.is_better('lpips_alex', 0.3, 0.3)
  assert validation.is_better('ssim_y', 0.3, 0.2)
  assert validation.is_better('psnr_y', -1.0, None)
  assert validation.is_better('niqe', 9.0, math.nan)
  assert not validation.is_better('niqe', math.nan, 9.0)


def test_what_cannot_be_measured_stops_no_run(tmp_path):
  """NIQE needs texture: of the originals before a run, of SR never."""
  photo = np.random.default_rng(0).integers(0, 256, (96, 192, 3), np.uint8)
  Image.fromarray(photo).save(tmp_path / 'photo.png')
  metric = niqe.Niqe(np.zeros(36), np.eye(36))
  judge = lambda: validation.Validation(
    opening.open_source(f'folder:{tmp_path}', min_size=48), [metric]
  )
  flat = lambda lr: np.full((4 * len(lr), 4 * lr.shape[1], 3), 128, np.uint8)
  figures, _ = judge().score('flat', flat)
  assert math.isnan(figures['niqe']) and figures['psnr_y'] > 0
  Image.fromarray(photo[::-1]).save(tmp_path / 'second.png')
  repeated = lambda lr: lr.repeat(4, axis=0).repeat(4, axis=1)
  networks = iter([flat, repeated])
  figures, _ = judge().score('flat once', lambda lr: next(networks, flat)(lr))
  assert math.isnan(figures['niqe'])  # and not the other image's alone
  (tmp_path / 'second.png').unlink()
  Image.fromarray(photo[:, :96]).save(tmp_path / 'photo.png')
  with pytest.raises(ValueError, match=r'^photo.*: niqe needs two blocks'):
    judge()
