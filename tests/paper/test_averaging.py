"""The mean of several generators' weights, and what it is not made of."""

import jax
import numpy as np
import pytest

from srgan_jax import weights
from srgan_jax.data import batch, draw, loader, opening
from srgan_jax.models.generator import Generator
from srgan_jax.paper import averaging
from srgan_jax.weights import architecture
from tests.support import networks, repository, small

PHOTOS = f'folder:{repository.PHOTOS / "train"}'


def save(
  path,
  seed,
  label='srgan-mse',
  generator=small.GENERATOR,
  apart=False,
  **stated,
):
  """A generator some way from one start, or from another."""
  start, way = (
    small.network_state(generator, n).variables for n in (int(apart), 10 + seed)
  )
  weights.save_generator(
    path,
    jax.tree.map(lambda x, y: x + 0.2 * y, start, way),
    architecture=architecture.of_generator(generator),
    training={'label': label, 'steps': seed, **stated},
  )
  return str(path)


def test_the_mean_of_three_and_where_it_comes_from(tmp_path, capsys):
  files = [save(tmp_path / f'{i}.safetensors', seed=i) for i in range(3)]
  output = tmp_path / 'mean.safetensors'
  averaging.main([*files, '-o', str(output), '--dtype=float16'])
  assert capsys.readouterr().out == f'wrote {output}: the mean of 3\n'
  parts = [weights.load_generator(file)[1] for file in files]
  _, mean, metadata = weights.load_generator(output)
  jax.tree.map(
    lambda ours, *theirs: np.testing.assert_allclose(
      ours, np.mean(theirs, axis=0), rtol=1e-3, atol=1e-6
    ),
    mean,
    *parts,
  )
  assert metadata['dtype'] == 'float16'
  assert metadata['training'] == {
    'label': 'srgan-mse',
    'mean_of': [{'label': 'srgan-mse', 'steps': i} for i in range(3)],
  }


def test_labels_may_differ(tmp_path):
  files = [
    save(tmp_path / f'{label}.safetensors', seed, label)
    for seed, label in enumerate(['srgan', 'srresnet', 'srgan'])
  ]
  output = tmp_path / 'mean.safetensors'
  averaging.main([*files, '-o', str(output)])
  training = weights.load_generator(output)[2]['training']
  assert training['label'] == 'srgan + srresnet'


@pytest.mark.parametrize(
  ('stated', 'expected'),
  [
    (
      [{'licence': 'CC BY-NC 4.0: research', 'author': 'Ada'}] * 2,
      {'licence': 'CC BY-NC 4.0: research', 'author': 'Ada'},
    ),
    (
      [{'licence': 'MIT', 'author': 'Ada'}, {'licence': 'CC0', 'author': 'Bo'}],
      {'licence': 'of its parts: MIT + CC0', 'author': 'Ada + Bo'},
    ),
    (
      [{'licence': 'MIT'}, {'licence': None, 'author': 'Bo'}],
      {'licence': 'of its parts: MIT + not stated', 'author': 'Bo'},
    ),
    ([{'back_project': 1}, {'back_project': 1}], {'back_project': 1}),
    ([{'back_project': 1}, {}], {}),
    ([{'back_project': 1}, {'back_project': 2}], {}),
    ([{'figures': {'x': 1}, 'steps': 5}] * 2, {}),
  ],
)
def test_what_is_said_of_the_parts_is_said_of_the_mean(stated, expected):
  assert averaging.describe(stated) == expected


def test_a_mean_without_labels_has_none(tmp_path):
  files = [
    save(tmp_path / f'{i}.safetensors', i, label='', back_project=1)
    for i in range(2)
  ]
  output = tmp_path / 'mean.safetensors'
  averaging.main([*files, '-o', str(output)])
  training = weights.load_generator(output)[2]['training']
  assert training.keys() == {'back_project', 'mean_of'}


def test_batch_statistics_are_measured_on_photos(tmp_path, monkeypatch):
  monkeypatch.setattr(averaging, '_CROPS', 24)
  files = [save(tmp_path / f'{i}.safetensors', seed=i) for i in range(2)]
  output = tmp_path / 'mean.safetensors'
  averaging.main([*files, '-o', str(output), '--data', PHOTOS])
  generator, mean, metadata = weights.load_generator(output)

  # By its own statistics or by those of that batch: the same images.
  source = opening.open_source(PHOTOS, min_size=96)
  drawn = draw.draw(0, 0, sizes=source.sizes, batch_size=24, crop_size=96)
  crops = loader.host_batch(source, drawn, crop_size=96)
  lr = batch.make_batch(**crops).lr
  expected, _ = networks.train(generator, mean, lr)
  actual = networks.infer(generator, mean, lr)
  np.testing.assert_allclose(actual, expected, atol=1e-4)
  assert metadata['training']['statistics'] == {
    'crops': 24,
    'images': len(source),
  }


def test_batch_statistics_are_measured_in_float32():
  """Accelerators would take TF32 or bfloat16, unless asked for more."""
  generator = small.GENERATOR
  variables = small.network_state(generator, 0).variables
  crops = np.zeros((4, 48, 48, 3), np.uint8)
  lowered = averaging.measure.lower(
    generator, variables, crops, np.zeros(4, np.int32)
  )
  convolutions = [
    line
    for line in lowered.as_text().splitlines()
    if ' = stablehlo.convolution(' in line
  ]
  assert len(convolutions) == 4  # those before a batch normalisation
  for line in convolutions:
    assert line.count('precision HIGHEST') == 2, line


def test_photos_that_are_not_there_leave_no_file(tmp_path):
  files = [save(tmp_path / f'{i}.safetensors', seed=i) for i in range(2)]
  output = tmp_path / 'mean.safetensors'
  with pytest.raises(SystemExit, match='average_generators: .*nowhere'):
    averaging.main([*files, '-o', str(output), '--data=folder:nowhere'])
  assert not output.exists()


@pytest.mark.parametrize(
  ('other', 'message'),
  [
    ({'apart': True}, 'were trained apart'),
    ({'generator': Generator(2, 4)}, "has the architecture {'blocks': 2"),
    (None, 'takes two generators or more'),
  ],
)
def test_what_has_no_mean_is_refused(tmp_path, other, message):
  files = [save(tmp_path / 'a.safetensors', seed=0)]
  if other is not None:
    files.append(save(tmp_path / 'b.safetensors', seed=1, **other))
  output = tmp_path / 'mean.safetensors'
  with pytest.raises(SystemExit, match=message):
    averaging.main([*files, '-o', str(output)])
  assert not output.exists()
