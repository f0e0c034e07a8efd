"""A generator that goes on towards its own back-projected SR."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from srgan_jax import imaging, upscaling, weights
from srgan_jax.data import opening
from srgan_jax.data.batch import Batch
from srgan_jax.evaluation.benchmarks import make_pair
from srgan_jax.models.generator import Generator
from srgan_jax.training import step as step_lib
from srgan_jax.training.run import Run
from srgan_jax.training.setup import Setup
from srgan_jax.training.teacher import Teacher
from tests.support import networks, repository, small


def away(upscaler, source):
  """How far SR of parts of photos, made smaller, is from the LR: the RMS."""
  pairs = [make_pair(str(i), source.read(i)[:96, :96]) for i in range(4)]
  errors = [
    imaging.imresize(upscaler(lr := pair.lr / np.float32(255)), 1 / 4) - lr
    for pair in pairs
  ]
  return np.sqrt(np.mean([np.mean(np.square(error)) for error in errors]))


def test_it_is_back_projected_where_the_lr_is_known():
  generator = Generator(1, 4, init_scheme='he')
  lr = np.random.default_rng(0).random((2, 12, 12, 3), np.float32)
  variables = networks.init(generator, 0, jnp.asarray(lr))
  sr = np.asarray(networks.infer(generator, variables, lr))
  taught = np.asarray(jax.jit(Teacher(generator, variables, '').__call__)(lr))
  for ours, before, given in zip(taught, sr, lr, strict=True):
    unit = (before.clip(-1, 1) + 1) / 2
    missing = given - imaging.imresize(unit, 1 / 4)
    expected = 2 * (unit + imaging.imresize(missing, 4)) - 1
    inside = np.s_[16:-16, 16:-16]
    np.testing.assert_allclose(ours, expected[inside], atol=1e-5)
    assert np.abs(expected - before)[inside].max() > 0.1


def test_the_teachers_sr_is_learnt_in_place_of_the_hr():
  lr = np.random.default_rng(1).random((2, 12, 12, 3), np.float32)
  batch = Batch(lr=jnp.asarray(lr), hr=jnp.zeros((2, 48, 48, 3)))
  state = small.pretrain_state()
  variables = state.generator.variables
  teacher = Teacher(small.GENERATOR, variables, '')
  step = functools.partial(
    step_lib.pretrain_step,
    perceptual=None,
    objective=step_lib.Objective(freeze_batch_norm=True),
    teacher=teacher,
  )
  _, metrics = jax.jit(step)(state, batch)
  sr = teacher.inside(networks.infer(small.GENERATOR, variables, batch.lr))
  expected = np.mean((sr - jax.jit(teacher.__call__)(batch.lr)) ** 2)
  assert float(metrics['content']) == pytest.approx(float(expected), rel=1e-5)


def test_a_run_brings_sr_nearer_to_the_lr(tmp_path):
  path = tmp_path / 'theirs.safetensors'
  generator = Generator(1, 4)
  weights.save_generator(
    path,
    networks.init(generator, 3, jnp.zeros((1, 12, 12, 3))),
    architecture={'blocks': 1, 'channels': 4},
    training={'label': 'srgan-theirs', 'licence': 'CC0-1.0'},
  )
  config = repository.tiny_config(
    crop_size=48,
    **{
      'stages.gan.steps': 0,
      'stages.pretrain.content': 'consistent',
      'stages.pretrain.init_generator': str(path),
      'stages.pretrain.learning_rate': 1e-2,
      'stages.pretrain.steps': 30,
    },
  )
  setup = Setup(config)
  assert setup.stages[0].method == 'srgan-theirs'
  Run(setup, tmp_path / 'run').train()
  after = tmp_path / 'run' / 'generator.safetensors'
  source = opening.open_source(config.data.source, min_size=48)
  # Of random weights; each update sees four crops.
  far, near = (away(upscaling.load(file), source) for file in (path, after))
  assert near < 0.95 * far
  _, ours, metadata = weights.load_generator(after)
  stated = metadata['training']
  assert (stated['label'], stated['licence']) == ('srgan-theirs', 'CC0-1.0')
  # Normalised as it is used: the statistics stay.
  _, theirs, _ = weights.load_generator(path)
  jax.tree.map(
    np.testing.assert_array_equal, ours['batch_stats'], theirs['batch_stats']
  )


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({}, 'pretrain.init_generator, which is not given'),
    (
      {'stages.pretrain.init_generator': 'srgan'},
      'config.crop_size is 32: .* at least 48',
    ),
    (
      {'stages.pretrain.content': 'mse', 'stages.gan.content': 'consistent'},
      "stages.gan.content must be one of mse, vgg22, vgg54, not 'consistent'",
    ),
  ],
)
def test_what_cannot_be_learnt_is_refused(fields, message):
  config = {'stages.pretrain.content': 'consistent', **fields}
  with pytest.raises(ValueError, match=message):
    Setup(repository.tiny_config(**config))
