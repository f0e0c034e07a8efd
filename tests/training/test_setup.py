"""From a configuration's fields to networks, stages and programs."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from srgan_jax import weights
from srgan_jax.models.generator import Generator
from srgan_jax.speed.timed_calls import Synthetic
from srgan_jax.training import program
from srgan_jax.training.setup import Setup
from tests.support import networks, small
from tests.support.repository import tiny_config


@pytest.fixture
def vgg_file(tmp_path):
  path = tmp_path / 'vgg16.safetensors'
  scales = (('conv1_2', 0.1), ('conv2_2', 0.1))
  return str(small.save_vgg(path, feature_scale=scales))


def rates(stage):
  return [float(stage.schedule(step)) for step in range(stage.steps)]


def test_nothing_is_written_and_no_data_is_opened(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  setup = Setup(tiny_config(**{'data.source': 'folder:/nowhere'}))
  setup.create_state(setup.stages[-1], setup.initial)
  assert not list(pathlib.Path().iterdir())


def test_the_objectives_are_the_configs(vgg_file):
  config = tiny_config(
    ema_decay=0.75,
    precision='bfloat16',
    **{
      'loss.content_reduction': 'sum_channels',
      'loss.tv_weight': 0.25,
      'loss.adversarial_weight': 0.5,
      'loss.pixel_weight': 0.125,
      'stages.pretrain.content': 'vgg22',
      'stages.gan.content': 'vgg54',
      'stages.gan.freeze_batch_norm': True,
      'perceptual.layer': 'conv1_2',
      'perceptual.weights': vgg_file,
    },
  )
  pretrain, gan = Setup(config).stages
  shared = {
    'content_layer': 'conv1_2',
    'content_reduction': 'sum_channels',
    'pixel_weight': 0.125,
    'ema_decay': 0.75,
    'dtype': jnp.dtype('bfloat16'),
    'axis': None,
  }
  ours = dataclasses.asdict(pretrain.objective)
  del ours['adversarial_weight']  # a GAN's
  assert ours == shared | {'tv_weight': 0.25, 'freeze_batch_norm': False}
  assert dataclasses.asdict(gan.objective) == shared | {
    'adversarial_weight': 0.5,
    'tv_weight': 0.0,
    'freeze_batch_norm': True,
  }


def test_a_network_at_hand_stands_for_the_file():
  network = small.perceptual().replace(source='at hand')
  config = tiny_config(
    **{
      'stages.gan.content': 'vgg22',
      'perceptual.layer': 'conv2_2',
      'perceptual.weights': 'no.file',
    }
  )
  setup = Setup(config, network)
  assert setup.stage('gan').content.perceptual.source == 'at hand'
  assert setup.placed_perceptual(setup.stage('pretrain')) is None


@pytest.mark.parametrize(
  ('schedule', 'expected'),
  [
    ('constant', [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ('cosine', [0.5, 1.0, 1.0, 0.853553, 0.5, 0.146447]),
  ],
)
def test_the_learning_rates_are_the_configs(schedule, expected):
  config = tiny_config(
    **{
      'stages.pretrain.steps': 6,
      'stages.pretrain.learning_rate': 0.25,
      'stages.pretrain.schedule': schedule,
      'stages.pretrain.warmup': 2,
      'stages.gan.steps': 9,
      'stages.gan.learning_rate': 0.75,
      'stages.gan.warmup': 3,
      'stages.gan.boundaries': (5, 7),
    }
  )
  pretrain, gan = Setup(config).stages
  assert rates(pretrain) == pytest.approx(
    [0.25 * x for x in expected], rel=1e-5
  )
  falls = [1 / 3, 2 / 3, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]
  assert rates(gan) == pytest.approx([0.75 * x for x in falls])


def test_the_networks_are_the_configs():
  config = tiny_config(
    **{
      'model.blocks': 3,
      'model.channels': 8,
      'model.init': 'icnr',
      'model.skip_connections': False,
      'model.discriminator_channels': 2,
    }
  )
  setup = Setup(config)
  generator = setup.generator
  assert (generator.blocks, generator.channels) == (3, 8)
  assert generator.init_scheme == 'icnr' and not generator.skip_connections
  assert setup.discriminator.channels == 2


def test_another_length_takes_the_same_program(monkeypatch):
  traced = []
  make_pictures = program.make_pictures

  def spy(*arguments):
    traced.append(arguments)
    return make_pictures(*arguments)

  monkeypatch.setattr(program, 'make_pictures', spy)
  config = tiny_config(**{'stages.gan.steps': 0})
  setup = Setup(config)
  loader = Synthetic(config)
  config.stages.pretrain.steps, config.stages.pretrain.learning_rate = 9, 0.5
  longer = setup.reschedule(config)
  assert rates(longer.stages[0])[0] == 0.5 and len(setup.stages) == 1
  assert setup.stages[0].steps == 2 and longer.stages[0].steps == 9
  rows = jax.tree.map(lambda x: x[None], next(loader.batches()))
  for each in (setup, longer):
    stage = each.stages[0]
    update = each.update(stage, loader)
    _, metrics = update(
      each.place_state(stage, None), rows, np.float32([0.1]), None, None
    )
    assert np.isfinite(metrics['loss'])
  assert len(traced) == 1


@pytest.mark.parametrize(
  ('precision', 'dtype', 'passes'),
  [('float32', 'f32', 'HIGHEST'), ('bfloat16', 'bf16', 'DEFAULT')],
)
def test_the_networks_compute_in_the_configs_precision(
  vgg_file, precision, dtype, passes
):
  """G, D and VGG, forwards and backwards, in the update that a run compiles."""
  config = tiny_config(
    precision=precision,
    **{'stages.gan.content': 'vgg22', 'perceptual.weights': vgg_file},
  )
  setup, loader = Setup(config), Synthetic(config)
  stage = setup.stage('gan')
  lowered = setup.update(stage, loader).lower(
    jax.eval_shape(lambda: setup.create_state(stage, None)),
    jax.tree.map(lambda x: x[None], next(loader.batches())),
    np.zeros(1, np.float32),
    None,
    stage.content.perceptual,
  )
  convolutions = [
    line
    for line in lowered.as_text().splitlines()
    if ' = stablehlo.convolution(' in line
  ]
  assert len(convolutions) > 50
  for line in convolutions:
    operands = line.rpartition(' : ')[2].partition(' -> ')[0]
    assert operands.count(f'x{dtype}>') == 2, line
    assert line.count(f'precision {passes}') == 2 or (
      passes == 'DEFAULT' and 'precision' not in line
    ), line


def test_a_generator_of_others_stays_that_network(tmp_path):
  path = tmp_path / 'theirs.safetensors'
  generator = Generator(1, 4, init_scheme='he', output='tanh')
  lr = jnp.zeros((1, 8, 8, 3))
  weights.save_generator(
    path,
    networks.init(generator, 0, lr),
    architecture={'blocks': 1, 'channels': 4, 'output': 'tanh'},
    training={},
  )
  setup = Setup(tiny_config(init_generator=str(path)))
  assert setup.generator == generator.clone(init_scheme='small')
  assert setup.upscaler(setup.initial)._generator.output == 'tanh'
