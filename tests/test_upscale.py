"""The upscaling call and command."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

import srgan_jax
from srgan_jax import upscale, weights
from srgan_jax.models.generator import Generator


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  """A generator file of a small network with random weights."""
  path = tmp_path_factory.mktemp('model') / 'generator.safetensors'
  init = jax.jit(lambda key, x: Generator(1, 4).init(key, x, train=False))
  variables = init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
  weights.save_generator(
    path,
    variables,
    architecture={'blocks': 1, 'channels': 4},
    training={'steps': 0},
  )
  return path


def test_load_gives_the_plain_network(model):
  image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
  generator, variables, _ = weights.load_generator(model)
  plain = generator.apply(variables, image[None] / np.float32(255), train=False)
  expected = np.clip((np.asarray(plain[0]) + 1) * 127.5, 0, 255)
  sr = srgan_jax.load(model)(image)
  assert sr.shape == (20, 28, 3) and sr.dtype == np.uint8
  assert np.abs(sr - expected).max() <= 0.51


@pytest.mark.parametrize(
  'image',
  [
    np.zeros((4, 4), np.uint8),
    np.zeros((4, 4, 3), np.float32),
    np.zeros((0, 4, 3), np.uint8),
  ],
)
def test_other_arrays_are_refused(model, image):
  with pytest.raises(ValueError, match='must be uint8'):
    srgan_jax.load(model)(image)


def test_output_that_is_not_finite_is_refused(model):
  upscaler = srgan_jax.load(model)
  upscaler.variables = jax.tree.map(lambda x: x + jnp.nan, upscaler.variables)
  with pytest.raises(FloatingPointError, match='not finite'):
    upscaler(np.zeros((4, 4, 3), np.uint8))


def test_the_command_goes_through_folders_and_past_bad_files(
  model, tmp_path, capsys
):
  folder, out = tmp_path / 'in', tmp_path / 'out'
  (folder / 'deep').mkdir(parents=True)
  Image.new('L', (6, 5)).save(folder / 'gray.jpg')
  Image.new('RGB', (6, 5)).save(folder / 'deep' / 'a.png')
  (folder / 'broken.png').write_bytes(b'no picture')
  (folder / 'notes.txt').write_text('no picture either')
  code = upscale.main([str(folder), '-o', str(out), '--model', str(model)])
  assert code == 1
  error = capsys.readouterr().err
  assert 'broken.png' in error and len(error.splitlines()) == 1
  written = {p.relative_to(out).as_posix() for p in out.rglob('*.*')}
  assert written == {'gray.png', 'deep/a.png'}
  with Image.open(out / 'gray.png') as image:
    assert image.size == (24, 20)


def test_no_picture_takes_anothers_place(model, tmp_path, capsys):
  for name in ('a.png', 'a.jpg'):
    Image.new('RGB', (6, 5)).save(tmp_path / name)
  before = (tmp_path / 'a.png').read_bytes()
  for inputs, out in (
    (['a.png', 'a.jpg'], tmp_path / 'out'),
    (['a.png'], tmp_path),
  ):
    paths = [str(tmp_path / name) for name in inputs]
    assert upscale.main([*paths, '-o', str(out), '--model', str(model)]) == 1
    assert 'a.png' in capsys.readouterr().err
  assert (tmp_path / 'a.png').read_bytes() == before
  assert not (tmp_path / 'out').exists()
