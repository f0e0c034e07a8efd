"""The run as a whole: its stages, its files, its refusals."""

import json
import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from srgan_jax import upscaling, weights
from srgan_jax.data import resident
from srgan_jax.training import checkpoints
from srgan_jax.training import step as step_lib
from srgan_jax.training.run import Run
from srgan_jax.training.setup import Setup
from tests.support import repository, setups, small
from tests.support.training_pictures import encode, picture


def assert_within(ours, theirs, tolerance):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=tolerance), ours, theirs
  )


@pytest.fixture
def photos(tmp_path):
  folder = tmp_path / 'photos'
  folder.mkdir()
  for i in range(2):
    (folder / f'{i}.png').write_bytes(encode(picture(i, 50, 61 + i)))
  return folder


def _lines(workdir):
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def test_both_stages_leave_their_files(tmp_path, photos, caplog):
  caplog.set_level(logging.INFO, 'srgan_jax')
  workdir = tmp_path / 'run'
  validated = {'data.validation': f'folder:{photos}', 'validate_every': 1}
  Run(setups.of(repository.tiny_config(**validated)), workdir).train()
  assert json.loads((workdir / 'config.json').read_text())['seed'] == 0

  lines = _lines(workdir)
  assert [line['stage'] for line in lines] == ['pretrain'] * 3 + ['gan'] * 3
  for line in lines:
    if 'loss' in line:
      assert {'images_per_s', 'input_wait', 'learning_rate'} <= line.keys()
    else:
      assert {'psnr_y', 'ssim_y', 'psnr_paper', 'ssim_paper'} <= line.keys()
  assert {'d_real', 'd_fake', 'content'} <= lines[-2].keys()

  for stage in ('pretrain', 'gan'):
    assert list((workdir / 'tensorboard' / stage).glob('events.*'))
    with Image.open(workdir / f'samples/{stage}_0000002.png') as sample:
      assert sample.mode == 'RGB'
  assert (workdir / 'samples' / 'comparison.png').exists()

  for name, label in (
    ('generator_pretrain', 'srresnet-mse'),
    ('generator', 'srgan-mse'),
  ):
    path = workdir / f'{name}.safetensors'
    generator, _, metadata = weights.load_generator(path)
    assert (generator.blocks, generator.channels) == (1, 4)
    training = metadata['training']
    assert training['label'] == label and training['steps'] == 2
    assert training['config']['batch_size'] == 4
    assert training['inputs']['images'] == 10
    assert training['figures'].keys() == {
      'psnr_y', 'ssim_y', 'psnr_paper', 'ssim_paper',
    }  # fmt: skip
    sr = upscaling.load(path)(np.zeros((5, 7, 3), np.uint8))
    assert sr.shape == (20, 28, 3) and sr.dtype == np.uint8


@pytest.fixture(scope='module')
def two_stages(tmp_path_factory):
  """A run with a moving average, and what G was when each stage began."""
  begun = []

  class Spy(Setup):
    def create_state(self, stage, variables):
      state = super().create_state(stage, variables)
      begun.append(jax.device_get(state.generator.variables))
      return state

  run = Run(
    Spy(repository.tiny_config(ema_decay=0.9)),
    tmp_path_factory.mktemp('two_stages'),
  )
  run.train()
  return run, tuple(begun)


def test_the_gan_stage_begins_with_the_average_that_srresnet_left(two_stages):
  run, (first, second) = two_stages
  path = run.folder / 'generator_pretrain.safetensors'
  _, left, _ = weights.load_generator(path)
  jax.tree.map(np.testing.assert_array_equal, second, left)
  changed = jax.tree.map(lambda a, b: np.any(a != b), first, second)
  assert all(changed['batch_stats']['block_0']['norm_0'].values())


def test_what_each_stage_leaves_is_the_average(two_stages):
  run, _ = two_stages
  for stage in run.setup.stages:
    state = run.setup.place_state(stage, None)
    folder = run.folder / 'checkpoints' / stage.name
    saved = checkpoints.Checkpoints(folder, run.setup.placement)
    state, _ = saved.restore(2, state)
    saved.close()
    _, ours, _ = weights.load_generator(run.folder / stage.file_name)
    jax.tree.map(np.testing.assert_array_equal, ours, dict(state.ema))
    last = state.generator.variables['params']['conv_in']['kernel']
    assert np.any(ours['params']['conv_in']['kernel'] != last)


@pytest.mark.parametrize(
  ('field', 'changes'),
  [
    ('init_generator', {'stages.gan.learning_rate': 1e-12}),
    (
      'stages.pretrain.init_generator',
      {'stages.gan.steps': 0, 'stages.pretrain.learning_rate': 1e-12},
    ),
  ],
)
def test_a_stage_goes_on_from_a_trained_generator(
  two_stages, tmp_path, field, changes
):
  path = two_stages[0].folder / 'generator_pretrain.safetensors'
  changes = changes | {field: str(path), 'seed': 1}
  Run(setups.of(repository.tiny_config(**changes)), tmp_path).train()
  has_srresnet = (tmp_path / 'generator_pretrain.safetensors').exists()
  assert has_srresnet == (field != 'init_generator')
  _, ours, _ = weights.load_generator(tmp_path / 'generator.safetensors')
  _, theirs, _ = weights.load_generator(path)
  assert_within(ours['params'], theirs['params'], 1e-9)
  with pytest.raises(ValueError, match='has 4 channels, .* is 8'):
    Setup(repository.tiny_config(**changes, **{'model.channels': 8}))


def _logged(workdir):
  timed = ('images_per_s', 'input_wait')
  return [
    {k: v for k, v in line.items() if k not in timed}
    for line in _lines(workdir)
  ]


def test_resident_images_and_several_steps_a_call_train_the_same(tmp_path):
  lengths = {'stages.pretrain.steps': 7, 'stages.gan.steps': 0, 'log_every': 4}
  Run(setups.of(repository.tiny_config(**lengths)), tmp_path / 'plain').train()
  changed = repository.tiny_config(
    steps_per_call=3, **lengths | {'data.loader': 'resident'}
  )
  Run(setups.of(changed), tmp_path / 'fast').train()
  plain, fast = (_logged(tmp_path / name) for name in ('plain', 'fast'))
  assert [line['step'] for line in plain] == [4, 7]
  for ours, theirs in zip(fast, plain, strict=True):
    # XLA compiles the loop's sums in another order.
    assert ours.pop('stage') == theirs.pop('stage')
    assert ours == pytest.approx(theirs, rel=1e-4)
  ours, theirs = (
    weights.load_generator(tmp_path / name / 'generator.safetensors')[1]
    for name in ('fast', 'plain')
  )
  # Adam's first updates have the size of the rate, whatever the gradient's.
  assert_within(ours, theirs, 1e-4)


def test_several_steps_a_call_resume_exactly(tmp_path, monkeypatch):
  def run(workdir, **lengths):
    config = repository.tiny_config(
      steps_per_call=3,
      log_every=4,
      save_every=50,
      **{
        'data.loader': 'resident',
        'stages.gan.steps': 0,
        'stages.pretrain.schedule': 'constant',
      }
      | lengths,
    )
    Run(setups.of(config), workdir).train()

  run(tmp_path / 'whole', **{'stages.pretrain.steps': 8})
  run(tmp_path / 'parts', **{'stages.pretrain.steps': 4})
  run(tmp_path / 'parts', **{'stages.pretrain.steps': 8})
  whole, parts = (
    (tmp_path / name / 'generator.safetensors').read_bytes()
    for name in ('whole', 'parts')
  )
  assert whole == parts
  assert _logged(tmp_path / 'whole') == _logged(tmp_path / 'parts')

  # What has ended decodes no photos for the device again.
  monkeypatch.setattr(resident, 'ResidentLoader', None)
  run(tmp_path / 'whole', **{'stages.pretrain.steps': 8})
  assert (tmp_path / 'whole' / 'generator.safetensors').read_bytes() == whole


def test_what_a_loader_refuses_is_said_before_training(tmp_path, monkeypatch):
  def refuse(*arguments, **settings):
    raise ValueError('too many pictures')

  monkeypatch.setattr(resident, 'ResidentLoader', refuse)
  with pytest.raises(ValueError, match='too many pictures'):
    Run(
      Setup(repository.tiny_config(**{'data.loader': 'resident'})),
      tmp_path / 'run',
    )


def test_batch_norm_per_device_leaves_a_generator_of_the_usual_shape(tmp_path):
  def run(steps):
    config = repository.tiny_config(
      batch_norm='per_device',
      ema_decay=0.9,
      **{
        'stages.pretrain.steps': steps,
        'stages.gan.steps': 0,
        'data.validation': f'folder:{repository.PHOTOS}/validation',
        'data.loader': 'resident',
      },
    )
    Run(setups.of(config), tmp_path / 'run').train()

  run(2)
  run(3)
  path = tmp_path / 'run' / 'generator.safetensors'
  _, variables, metadata = weights.load_generator(path)
  assert metadata['training']['config']['batch_norm'] == 'per_device'
  assert variables['batch_stats']['block_0']['norm_0']['mean'].shape == (4,)
  with pytest.raises(ValueError, match='batch_norm .*per_device.* before'):
    config = repository.tiny_config(ema_decay=0.9)
    config.stages.pretrain.steps, config.stages.gan.steps = 3, 0
    Run(Setup(config), tmp_path / 'run')


def test_a_vgg_content_loss_trains_and_labels_what_it_is(tmp_path):
  path = small.save_vgg(tmp_path / 'vgg16.safetensors')
  config = repository.tiny_config(
    **{
      'stages.gan.content': 'vgg22',
      'perceptual.weights': str(path),
      'stages.gan.steps': 1,
      'stages.pretrain.steps': 0,
      'allow_random_generator': True,
    }
  )
  workdir = tmp_path / 'run'
  Run(Setup(config), workdir).train()
  _, _, metadata = weights.load_generator(workdir / 'generator.safetensors')
  assert metadata['training']['label'] == 'srgan-vgg16-conv2_2'
  config.loss.pixel_weight, config.stages.pretrain.steps = 0.1, 1
  labels = [stage.label for stage in Setup(config).stages]
  assert labels == ['srresnet-mse', 'srgan-vgg16-conv2_2-mse']

  config.stages.gan.content = 'vgg54'
  with pytest.raises(ValueError, match='conv5_3'):
    Setup(config)


@pytest.mark.parametrize(
  ('every', 'kept'),
  [
    (3, 'its last checkpoint is of step 3'),
    (9, 'the stage has no checkpoint yet'),
  ],
)
def test_not_a_number_stops_the_run_and_names_step_and_term(
  tmp_path, monkeypatch, every, kept
):
  step = step_lib.pretrain_step

  def poisoned(state, batch, perceptual, objective):
    new, metrics = step(state, batch, perceptual, objective)
    bad = state.generator.step == 4
    return new, metrics | {'content': jnp.where(bad, jnp.nan, 1.0)}

  monkeypatch.setattr(step_lib, 'pretrain_step', poisoned)
  config = repository.tiny_config(
    steps_per_call=3,
    save_every=every,
    log_every=9,
    **{'stages.pretrain.steps': 9},
  )
  run = Run(Setup(config), tmp_path)
  with pytest.raises(FloatingPointError) as caught:
    run.train()
  assert str(caught.value) == f'pretrain step 5: content is nan; {kept}'
  saved = [p.name for p in (tmp_path / 'checkpoints/pretrain').iterdir()]
  assert ('3' in saved) == (every == 3) and '6' not in saved


def test_a_gan_stage_goes_on_against_a_trained_discriminator(two_stages):
  first = two_stages[0].folder
  config = repository.tiny_config(
    init_generator=str(first / 'generator.safetensors'),
    init_discriminator=str(first / 'discriminator.safetensors'),
  )
  again = Setup(config)
  stage = again.stages[-1]
  ours = again.create_state(stage, again.initial).discriminator.variables
  config.init_discriminator = ''
  new = Setup(config).create_state(stage, again.initial).discriminator.variables
  _, saved, metadata = weights.load_discriminator(
    first / 'discriminator.safetensors'
  )
  assert metadata['training']['steps'] == 2
  jax.tree.map(np.testing.assert_array_equal, ours, saved)
  assert not np.array_equal(
    ours['params']['conv_1']['kernel'], new['params']['conv_1']['kernel']
  )
  config.init_discriminator = str(first / 'discriminator.safetensors')
  config.crop_size = 48
  with pytest.raises(ValueError, match="'image_size': 32.* 'image_size': 48"):
    Setup(config)


@pytest.mark.parametrize(
  ('field', 'name'),
  [
    ('init_generator', 'generator.safetensors'),
    ('init_discriminator', 'discriminator.safetensors'),
    ('stages.pretrain.init_generator', 'generator_pretrain.safetensors'),
    ('perceptual.weights', 'generator_pretrain_best.safetensors'),
  ],
)
def test_a_run_does_not_write_over_what_it_reads(
  two_stages, tmp_path, field, name
):
  kept = tmp_path / 'kept.safetensors'
  if (given := two_stages[0].folder / name).exists():
    shutil.copy(given, kept)
  workdir = tmp_path / 'run'
  workdir.mkdir()
  (workdir / name).symlink_to(kept)
  keeps_best = {'keep_best_by': 'psnr_y', 'data.validation': 'hold-out:1'}
  config = repository.tiny_config(**{field: str(kept)}, **keeps_best)
  with pytest.raises(ValueError, match=f'config.{field} is {kept}, .*/{name}:'):
    Run(Setup(config), workdir)
  assert [path.name for path in workdir.iterdir()] == [name]


def test_a_run_says_what_it_is_about_to_do(tmp_path):
  config = repository.tiny_config(**{'stages.gan.steps': 3000})
  said = Run(Setup(config), tmp_path / 'here').describe()
  assert '2 x cpu, float32' in said
  assert f'10 of {config.data.source}' in said
  assert f'folder: {tmp_path / "here"}' in said
  assert 'pretrain: 2 updates' in said and 'gan: 3,000 updates' in said
  assert 'has no effect' not in said
  assert not (tmp_path / 'here').exists()
  config.loss.pixel_weight, config.perceptual.layer = 0.1, 'conv2_2'
  said = Run(Setup(config), tmp_path / 'here').describe()
  for field in ('loss.pixel_weight', 'perceptual.layer'):
    assert f'config.{field} has no effect: no stage has a VGG' in said
