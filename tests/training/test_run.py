"""The run as a whole: its stages, its files, its refusals."""

import json
import logging
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from srgan_jax import upscaling, weights
from srgan_jax.data import resident
from srgan_jax.models.generator import Generator
from srgan_jax.training import checkpoints, config_files, validation
from srgan_jax.training import config as config_lib
from srgan_jax.training import run as run_lib
from srgan_jax.training import step as step_lib
from tests.support import repository, small

CONFIGS = ('srresnet_mse', 'srresnet_vgg22', 'mse', 'vgg22', 'vgg54')


@pytest.fixture
def photos(tmp_path):
  folder = tmp_path / 'photos'
  folder.mkdir()
  rng = np.random.default_rng(0)
  for index in range(2):
    image = rng.integers(0, 256, (50, 61 + index, 3), np.uint8)
    Image.fromarray(image).save(folder / f'{index}.png')
  return folder


@pytest.mark.parametrize('name', CONFIGS)
def test_a_columns_config_is_the_papers(name):
  config = config_files.load(name)
  config_lib.check(config)
  assert config.batch_size == 16 and config.crop_size == 96
  assert config.stages.pretrain.steps == 1_000_000
  assert config.stages.pretrain.learning_rate == 1e-4
  assert config.stages.pretrain.schedule == 'constant'
  assert config.model.blocks == 16 and config.model.channels == 64
  is_gan = not name.startswith('srresnet')
  assert config.stages.gan.steps == (200_000 if is_gan else 0)
  if is_gan:
    assert config.stages.gan.learning_rate == 1e-4
    assert config.stages.gan.boundaries == (100_000,)
    assert config.stages.gan.content == name
    assert config.stages.pretrain.content == 'mse'
    assert config.loss.adversarial_weight == 1e-3
  else:
    assert config.stages.pretrain.content == name.removeprefix('srresnet_')
  assert config.loss.tv_weight == (2e-8 if name == 'srresnet_vgg22' else 0)


def test_every_default_field_has_a_comment():
  lines = (repository.ROOT / 'configs' / 'default.py').read_text().splitlines()
  fields = [i for i, line in enumerate(lines) if line.startswith('  config.')]
  assert len(fields) > 30
  for i in fields:
    above = lines[i - 1].strip()
    shares = above.startswith('config.') and 'ConfigDict()' not in lines[i]
    assert above.startswith('#') or shares or 'ConfigDict()' in lines[i], lines[
      i
    ]


def test_both_stages_leave_their_files(tmp_path, photos, caplog):
  caplog.set_level(logging.INFO, 'srgan_jax')
  workdir = tmp_path / 'run'
  config = repository.tiny_config(
    **{'data.validation': f'folder:{photos}', 'validate_every': 1}
  )
  run_lib.Run(config, workdir).train()
  assert json.loads((workdir / 'config.json').read_text())['seed'] == 0

  lines = [
    json.loads(line)
    for line in (workdir / 'metrics.jsonl').read_text().splitlines()
  ]
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

  class Run(run_lib.Run):
    def create_state(self, stage, variables):
      state = super().create_state(stage, variables)
      begun.append(jax.device_get(state.generator.variables))
      return state

  run = Run(
    repository.tiny_config(ema_decay=0.9), tmp_path_factory.mktemp('two_stages')
  )
  run.train()
  return run, tuple(begun)


def test_the_gan_stage_begins_with_the_average_that_srresnet_left(two_stages):
  run, (first, second) = two_stages
  path = run.workdir / 'generator_pretrain.safetensors'
  _, left, _ = weights.load_generator(path)
  jax.tree.map(np.testing.assert_array_equal, second, left)
  changed = jax.tree.map(lambda a, b: np.any(a != b), first, second)
  assert all(changed['batch_stats']['block_0']['norm_0'].values())


def test_what_each_stage_leaves_is_the_average(two_stages):
  run, _ = two_stages
  for stage in run.stages:
    state = run.placement.place(jax.device_get(run.create_state(stage, None)))
    folder = run.workdir / 'checkpoints' / stage.name
    saved = checkpoints.Checkpoints(folder, run.placement)
    state, _ = saved.restore(2, state)
    saved.close()
    _, ours, _ = weights.load_generator(run.workdir / stage.file_name)
    jax.tree.map(np.testing.assert_array_equal, ours, dict(state.ema))
    last = state.generator.variables['params']['conv_in']['kernel']
    assert np.any(ours['params']['conv_in']['kernel'] != last)


def test_a_gan_config_shares_a_trained_srresnet(tmp_path):
  first = tmp_path / 'srresnet'
  run_lib.Run(repository.tiny_config(**{'stages.gan.steps': 0}), first).train()
  shared = first / 'generator_pretrain.safetensors'
  workdir = tmp_path / 'gan'
  config = repository.tiny_config(
    init_generator=str(shared), **{'stages.gan.learning_rate': 1e-12}
  )
  run_lib.Run(config, workdir).train()
  assert not (workdir / 'generator_pretrain.safetensors').exists()
  _, ours, _ = weights.load_generator(workdir / 'generator.safetensors')
  _, theirs, _ = weights.load_generator(shared)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9),
    ours['params'],
    theirs['params'],
  )
  with pytest.raises(ValueError, match='has 4 channels, .* is 8'):
    run_lib.Run(
      repository.tiny_config(
        init_generator=str(shared), **{'model.channels': 8}
      ),
      tmp_path / 'other',
    )


def test_a_generator_of_others_stays_that_network(tmp_path):
  path = tmp_path / 'theirs.safetensors'
  generator = Generator(1, 4, init_scheme='he', output='tanh')
  lr = jnp.zeros((1, 8, 8, 3))
  weights.save_generator(
    path,
    generator.init(jax.random.key(0), lr, train=False),
    architecture={'blocks': 1, 'channels': 4, 'output': 'tanh'},
    training={},
  )
  workdir = tmp_path / 'gan'
  run = run_lib.Run(repository.tiny_config(init_generator=str(path)), workdir)
  assert run.generator == generator.clone(init_scheme='small')
  assert run._upscaler(run.initial)._generator.output == 'tanh'
  run.weights.write_generator(
    'generator.safetensors', run.stages[-1], 0, run.initial, {}
  )
  ours, *_ = weights.load_generator(workdir / 'generator.safetensors')
  assert ours == generator.clone(init_scheme='small')


def test_an_srresnet_stage_goes_on_from_a_trained_generator(tmp_path):
  first = tmp_path / 'first'
  run_lib.Run(repository.tiny_config(**{'stages.gan.steps': 0}), first).train()
  path = first / 'generator.safetensors'
  workdir = tmp_path / 'second'
  config = repository.tiny_config(
    seed=1,
    **{
      'stages.gan.steps': 0,
      'stages.pretrain.init_generator': str(path),
      'stages.pretrain.learning_rate': 1e-12,
    },
  )
  run_lib.Run(config, workdir).train()
  _, ours, _ = weights.load_generator(workdir / 'generator.safetensors')
  _, theirs, _ = weights.load_generator(path)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9),
    ours['params'],
    theirs['params'],
  )


def _logged(workdir):
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  timed = ('images_per_s', 'input_wait')
  return [
    {k: v for k, v in json.loads(line).items() if k not in timed}
    for line in lines
  ]


def test_resident_images_and_several_steps_a_call_train_the_same(tmp_path):
  lengths = {'stages.pretrain.steps': 7, 'stages.gan.steps': 0, 'log_every': 4}
  run_lib.Run(repository.tiny_config(**lengths), tmp_path / 'plain').train()
  changed = repository.tiny_config(
    steps_per_call=3, **lengths | {'data.loader': 'resident'}
  )
  run_lib.Run(changed, tmp_path / 'fast').train()
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
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), ours, theirs
  )


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
    run_lib.Run(config, workdir).train()

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
    run_lib.Run(
      repository.tiny_config(**{'data.loader': 'resident'}), tmp_path / 'run'
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
    run_lib.Run(config, tmp_path / 'run').train()

  run(2)
  run(3)
  path = tmp_path / 'run' / 'generator.safetensors'
  _, variables, metadata = weights.load_generator(path)
  assert metadata['training']['config']['batch_norm'] == 'per_device'
  assert variables['batch_stats']['block_0']['norm_0']['mean'].shape == (4,)
  with pytest.raises(ValueError, match='batch_norm .*per_device.* before'):
    config = repository.tiny_config(ema_decay=0.9)
    config.stages.pretrain.steps, config.stages.gan.steps = 3, 0
    run_lib.Run(config, tmp_path / 'run')


def test_photos_held_out_are_validated_on_and_not_trained_on(tmp_path):
  every = run_lib.Run(repository.tiny_config(), tmp_path / 'every').source
  held_out = {'data.validation': 'hold-out:3'}
  run = run_lib.Run(repository.tiny_config(**held_out), tmp_path / 'run')
  names = [pair.name for pair in run.validation._pairs]
  assert len(names) == 3 and len(run.source) == len(every) - 3
  assert sorted([*names, *run.source.names]) == sorted(every.names)
  for i, name in enumerate(run.source.names):
    place = every.names.index(name)
    assert tuple(run.source.sizes[i]) == tuple(every.sizes[place])
    np.testing.assert_array_equal(run.source.read(i), every.read(place))


@pytest.mark.parametrize('count', ['0', '10', 'x', ''])
def test_a_wrong_number_held_out_is_refused(tmp_path, count):
  config = repository.tiny_config(**{'data.validation': f'hold-out:{count}'})
  with pytest.raises(ValueError, match=f'hold-out:{count}.* 1 to 9 of the 10'):
    run_lib.Run(config, tmp_path / 'run')


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
  run_lib.Run(config, tmp_path / 'run').train()
  path = tmp_path / 'run' / 'generator_pretrain_best.safetensors'
  _, variables, metadata = weights.load_generator(path)
  training = metadata['training']
  assert training['steps'] == 2 and training['figures'] == {'psnr_y': 22.0}
  ours = upscaling.Upscaler(Generator(1, 4), variables)._params
  jax.tree.map(np.testing.assert_array_equal, ours, kept[1])


def test_a_smaller_lpips_is_better():
  assert validation.is_better('lpips_alex', 0.2, 0.3)
  assert not validation.is_better('lpips_alex', 0.3, 0.3)
  assert validation.is_better('ssim_y', 0.3, 0.2)
  assert validation.is_better('psnr_y', -1.0, None)


def test_a_gan_stage_goes_on_against_a_trained_discriminator(
  tmp_path, two_stages
):
  run, _ = two_stages
  first = run.workdir
  config = repository.tiny_config(
    init_generator=str(first / 'generator.safetensors'),
    init_discriminator=str(first / 'discriminator.safetensors'),
  )
  again = run_lib.Run(config, tmp_path / 'second')
  stage = again.stages[-1]
  ours = again.create_state(stage, again.initial).discriminator.variables
  fresh = run.create_state(stage, again.initial).discriminator.variables
  _, saved, metadata = weights.load_discriminator(
    first / 'discriminator.safetensors'
  )
  assert metadata['training']['steps'] == 2
  jax.tree.map(np.testing.assert_array_equal, ours, saved)
  assert not np.array_equal(
    ours['params']['conv_1']['kernel'], fresh['params']['conv_1']['kernel']
  )
  config.crop_size = 48
  with pytest.raises(ValueError, match="'image_size': 32.* 'image_size': 48"):
    run_lib.Run(config, tmp_path / 'third')


def test_the_first_bad_step_of_a_call_is_named(tmp_path):
  config = repository.tiny_config(
    steps_per_call=4,
    **{
      'stages.pretrain.steps': 4,
      'stages.gan.steps': 0,
      'stages.pretrain.learning_rate': 1e30,
    },
  )
  with pytest.raises(FloatingPointError, match=r'pretrain step [23]: content'):
    run_lib.Run(config, tmp_path / 'run').train()


def test_a_vgg_content_loss_trains_and_labels_what_it_is(tmp_path):
  path = small.save_vgg(tmp_path / 'vgg16.safetensors')
  config = repository.tiny_config(
    **{
      'stages.gan.content': 'vgg22',
      'perceptual.weights': str(path),
      'stages.gan.steps': 1,
      'stages.pretrain.steps': 1,
    }
  )
  workdir = tmp_path / 'run'
  run_lib.Run(config, workdir).train()
  _, _, metadata = weights.load_generator(workdir / 'generator.safetensors')
  assert metadata['training']['label'] == 'srgan-vgg16-conv2_2'
  config.loss.pixel_weight = 0.1
  labels = [s.label for s in run_lib.Run(config, tmp_path / 'pixels').stages]
  assert labels == ['srresnet-mse', 'srgan-vgg16-conv2_2-mse']

  config.stages.gan.content = 'vgg54'
  with pytest.raises(ValueError, match='conv5_3'):
    run_lib.Run(config, tmp_path / 'other')


@pytest.mark.parametrize(
  ('values', 'cause'),
  [
    ({'adversarial': 1, 'content': jnp.nan, 'loss': jnp.nan}, 'content'),
    ({'adversarial': jnp.nan, 'content': 1, 'd_real': jnp.inf}, 'd_real'),
    ({'loss': jnp.nan, 'tv': jnp.nan, 'content': 1}, 'tv'),
  ],
)
def test_the_term_named_is_the_cause(values, cause):
  # The second step of a call that began with step 6.
  metrics = {name: jnp.float32([1, value]) for name, value in values.items()}
  stage = types.SimpleNamespace(name='gan')
  with pytest.raises(FloatingPointError, match=f'gan step 7: {cause} is'):
    run_lib._fetch([(6, metrics)], stage)


def test_not_a_number_stops_the_run_and_names_step_and_term(
  tmp_path, monkeypatch
):
  step = step_lib.pretrain_step

  def poisoned(state, batch, perceptual, objective):
    new, metrics = step(state, batch, perceptual, objective)
    bad = state.generator.step == 4
    return new, metrics | {'content': jnp.where(bad, jnp.nan, 1.0)}

  monkeypatch.setattr(step_lib, 'pretrain_step', poisoned)
  config = repository.tiny_config(
    **{'stages.pretrain.steps': 9, 'save_every': 3, 'log_every': 9}
  )
  run = run_lib.Run(config, tmp_path)
  with pytest.raises(FloatingPointError, match='pretrain step 5: content is'):
    run.train()
  saved = [p.name for p in (tmp_path / 'checkpoints/pretrain').iterdir()]
  assert '3' in saved and '6' not in saved


@pytest.mark.parametrize(
  ('overrides', 'message'),
  [
    ({'batch_size': 0}, 'config.batch_size must be at least 1, not 0'),
    ({'crop_size': 40}, 'config.crop_size must be a multiple of 16, not 40'),
    ({'scale': 2}, 'config.scale must be 4'),
    ({'precision': 'float16'}, "not 'float16'"),
    ({'stages.gan.content': 'vgg'}, "mse, vgg22, vgg54, not 'vgg'"),
    ({'stages.pretrain.steps': 0}, '--config.init_generator=FILE'),
    (
      {'stages.pretrain.steps': 0, 'stages.gan.steps': 0},
      'nothing to train',
    ),
    ({'stages.pretrain.warmup': 2}, 'warmup must be in 0..1, not 2'),
    ({'stages.gan.warmup': -1}, 'stages.gan.warmup must be in 0..'),
    ({'keep_best_by': 'psnr_y'}, 'needs config.data.validation'),
    (
      {'keep_best_by': 'lpips_alex', 'data.validation': 'hold-out:1'},
      "ssim_paper, not 'lpips_alex'",
    ),
    (
      {'init_discriminator': 'd.safetensors', 'stages.gan.steps': 0},
      'init_discriminator is for the GAN stage',
    ),
    (
      {'stages.gan.freeze_batch_norm': True, 'allow_random_generator': True},
      'not of one from random weights',
    ),
    ({'loss.content_reduction': 'sum'}, "not 'sum'"),
    ({'data.source': 'folder:/nowhere'}, 'folder:/nowhere'),
    ({'data.source': 'photos'}, 'photos'),
    ({'crop_size': 1024}, 'folder:'),
    ({'stages.gan.content': 'vgg54'}, 'srgan_jax.convert.vgg'),
    ({'init_generator': '/nowhere.safetensors'}, '/nowhere.safetensors'),
    ({'batch_size': 6}, 'batch_size=6'),
    (
      {'init_generator': 'x.safetensors', 'stages.gan.steps': 0},
      'nothing to train',
    ),
    (
      {'init_generator': 'a', 'stages.pretrain.init_generator': 'b'},
      'config.stages.pretrain.init_generator starts the SRResNet stage',
    ),
  ],
)
@pytest.mark.filterwarnings('ignore::UserWarning')
def test_bad_values_are_refused_in_one_line_and_nothing_is_written(
  tmp_path, overrides, message
):
  workdir = tmp_path / 'run'
  with pytest.raises(ValueError) as caught:
    run_lib.Run(repository.tiny_config(**overrides), workdir)
  assert message in str(caught.value)
  assert '\n' not in str(caught.value)
  assert not workdir.exists()


def test_a_gan_from_random_weights_when_asked_for(tmp_path):
  config = repository.tiny_config(
    allow_random_generator=True,
    **{'stages.pretrain.steps': 0, 'stages.gan.steps': 1},
  )
  run_lib.Run(config, tmp_path).train()
  assert (tmp_path / 'generator.safetensors').exists()


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--config=configs/nope.py'], 'configs/nope.py'),
    (
      ['--config=configs/vgg54.py', '--config.stages.gan.step=1'],
      'no field config.stages.gan.step (did you mean stages.gan.steps?)',
    ),
    (['--config=configs/vgg54.py', '--config.seed=x'], '--config.seed=x'),
    ([], '--config'),
    (['--config=configs/vgg54.py', 'more'], "'more'"),
    (
      ['--config=configs/quickstart.py', '--workdir=setup.cfg'],
      "File exists: 'setup.cfg'",
    ),
    (
      ['--config=configs/vgg54.py', '--config.perceptual.weights=no.file'],
      'python -m srgan_jax.convert.vgg SOURCE -o no.file',
    ),
  ],
)
def test_the_command_says_in_one_line_what_is_wrong(flags, message):
  assert_one_line(['-m', 'srgan_jax.main', *flags], message)


_FULL = """
import jax
from srgan_jax import main
from srgan_jax.training import run

def fail(self):
  raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory\\nof all')

run.Run.train = fail
main.start()
"""


def test_a_batch_that_is_too_large_is_said_in_one_line(tmp_path):
  assert_one_line(
    ['-c', _FULL, '--config=configs/quickstart.py', f'--workdir={tmp_path}'],
    'out of memory with config.batch_size=',
  )


def assert_one_line(arguments, message):
  result = subprocess.run(
    [sys.executable, *arguments],
    cwd=repository.ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert result.returncode == 1
  assert message in result.stderr
  lines = result.stderr.strip().splitlines()
  assert len(lines) == 1 and lines[0].startswith('srgan_jax: ')
