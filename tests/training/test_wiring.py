"""From a configuration's fields to what a run is made of; nothing trains."""

import dataclasses

import jax.numpy as jnp
import pytest

from srgan_jax.data import caching, resident, tfdata
from srgan_jax.training import run as run_lib
from srgan_jax.training import validation
from tests.support import small
from tests.support.repository import tiny_config

DATA = {
  'batch_size': 8,
  'seed': 5,
  'data.augment': False,
  'data.edge': 'mirror',
  'data.crops_per_image': 3,
  'data.placement': 'sharded',
  'data.cache_gib': 0.25,
}
LOADER = {
  'seed': 5,
  'batch_size': 8,
  'crop_size': 32,
  'scale': 4,
  'augment': False,
  'edge': 'mirror',
  'crops_per_image': 3,
}


@pytest.fixture
def vgg_file(tmp_path):
  path = tmp_path / 'vgg16.safetensors'
  scales = (('conv1_2', 0.1), ('conv2_2', 0.1))
  return str(small.save_vgg(path, feature_scale=scales))


def rates(stage):
  return [float(stage.schedule(step)) for step in range(stage.steps)]


def test_the_objectives_are_the_configs(tmp_path, vgg_file):
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
  pretrain, gan = run_lib.Run(config, tmp_path / 'run').stages
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


def test_the_contents_are_each_stages_own(tmp_path, vgg_file):
  config = tiny_config(
    **{
      'stages.gan.content': 'vgg22',
      'perceptual.weights': vgg_file,
    }
  )
  pretrain, gan = run_lib.Run(config, tmp_path / 'run').stages
  assert pretrain.objective.content_layer is None
  assert gan.objective.content_layer == 'conv2_2'


@pytest.mark.parametrize(
  ('schedule', 'expected'),
  [
    ('constant', [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ('cosine', [0.5, 1.0, 1.0, 0.853553, 0.5, 0.146447]),
  ],
)
def test_the_learning_rates_are_the_configs(tmp_path, schedule, expected):
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
  pretrain, gan = run_lib.Run(config, tmp_path / 'run').stages
  assert rates(pretrain) == pytest.approx(
    [0.25 * x for x in expected], rel=1e-5
  )
  falls = [1 / 3, 2 / 3, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]
  assert rates(gan) == pytest.approx([0.75 * x for x in falls])


@pytest.mark.parametrize('init', ['he', 'icnr'])
def test_the_networks_are_the_configs(tmp_path, init):
  config = tiny_config(
    **{
      'model.blocks': 3,
      'model.channels': 8,
      'model.init': init,
      'model.skip_connections': False,
      'model.discriminator_channels': 2,
    }
  )
  run = run_lib.Run(config, tmp_path / 'run')
  generator = run.generator
  assert (generator.blocks, generator.channels) == (3, 8)
  assert generator.init_scheme == init and not generator.skip_connections
  assert run.discriminator.channels == 2


@pytest.mark.parametrize('kind', ['resident', 'tfdata'])
def test_the_loaders_settings_are_the_configs(tmp_path, monkeypatch, kind):
  calls = []

  def loader(*arguments, **settings):
    calls.append((arguments, settings))

  name = 'ResidentLoader' if kind == 'resident' else 'TfDataLoader'
  module = resident if kind == 'resident' else tfdata
  monkeypatch.setattr(module, name, loader)
  config = tiny_config(**DATA, **{'data.loader': kind})
  run = run_lib.Run(config, tmp_path / 'run')
  [(arguments, settings)] = calls
  if kind == 'resident':
    assert arguments == (run.source, run.mesh)
    assert settings == LOADER | {'placement': 'sharded'}
  else:
    [cached] = arguments
    assert isinstance(cached, caching.CachedSource)
    assert cached._source is run.source and cached._budget == 2**28
    assert settings == LOADER


@pytest.mark.parametrize('edge', ['clamp', 'mirror'])
def test_validation_resizes_with_the_configs_edge(tmp_path, monkeypatch, edge):
  edges = []
  make_pair = validation.make_pair

  def spy(name, image, edge):
    edges.append(edge)
    return make_pair(name, image, edge)

  monkeypatch.setattr(validation, 'make_pair', spy)
  config = tiny_config(**{'data.validation': 'hold-out:1', 'data.edge': edge})
  run_lib.Run(config, tmp_path / 'run')
  assert edges == [edge]


@pytest.mark.parametrize(
  ('precision', 'dtype', 'passes'),
  [('float32', 'f32', 'HIGHEST'), ('bfloat16', 'bf16', 'DEFAULT')],
)
def test_the_networks_compute_in_the_configs_precision(
  tmp_path, monkeypatch, vgg_file, precision, dtype, passes
):
  """G, D and VGG, forwards and backwards, in the update that a run compiles."""

  class LoweredError(Exception):
    """Instead of the first update."""

  def make_update(*arguments, **settings):
    update = original(*arguments, **settings)

    def lower(*arguments):
      raise LoweredError(update.lower(*arguments).as_text())

    return lower

  original = run_lib.make_update
  monkeypatch.setattr(run_lib, 'make_update', make_update)
  config = tiny_config(
    precision=precision,
    allow_random_generator=True,
    **{
      'stages.pretrain.steps': 0,
      'stages.gan.content': 'vgg22',
      'perceptual.weights': vgg_file,
      'data.loader': 'resident',
    },
  )
  with pytest.raises(LoweredError) as lowered:
    run_lib.Run(config, tmp_path / 'run').train()
  convolutions = [
    line
    for line in str(lowered.value).splitlines()
    if ' = stablehlo.convolution(' in line
  ]
  assert len(convolutions) > 50
  for line in convolutions:
    operands = line.rpartition(' : ')[2].partition(' -> ')[0]
    assert operands.count(f'x{dtype}>') == 2, line
    assert line.count(f'precision {passes}') == 2 or (
      passes == 'DEFAULT' and 'precision' not in line
    ), line
