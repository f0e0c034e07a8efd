"""Generators between a model and its SRResNet."""

import jax
import numpy as np
from PIL import Image
import pytest

import srgan_jax
from srgan_jax import evaluate, upscale, upscaling
from srgan_jax.upscaling import Upscaler
from tests.support import networks
from tests.support.upscaling import network, noise, save_generator


@pytest.fixture
def run(tmp_path):
  """A run's folder: its generator, and the SRResNet that it began from."""
  _, srresnet = network()
  rng = np.random.default_rng(0)
  change = lambda x: x * (1 + 0.2 * rng.standard_normal(x.shape))
  srgan = jax.tree.map(change, srresnet)
  save_generator(tmp_path / 'generator_pretrain.safetensors', srresnet)
  return (
    save_generator(tmp_path / 'generator.safetensors', srgan),
    srgan,
    srresnet,
  )


def test_the_weights_lie_between(run):
  path, srgan, srresnet = run
  for strength in (0, 0.25, 1):
    _, variables, _ = upscaling.read_generator(path, strength)
    jax.tree.map(
      lambda ours, a, b, s=strength: np.testing.assert_allclose(
        ours, s * a + (1 - s) * b, rtol=1e-5, atol=1e-6
      ),
      variables,
      srgan,
      srresnet,
    )
  image = noise(9, 11, 3)
  between = srgan_jax.load(path, strength=0.5)(image)
  mean = jax.tree.map(lambda a, b: (a + b) / 2, srgan, srresnet)
  truth = Upscaler(network()[0], mean)(image)
  assert np.abs(between.astype(int) - truth).max() <= 1
  assert (srgan_jax.load(path)(image) != between).mean() > 0.3


def test_what_was_trained_apart_has_nothing_between(run):
  path, *_ = run
  generator, _ = network()
  other = networks.init(generator, 9, np.zeros((1, 4, 4, 3), np.float32))
  save_generator(path.with_name('generator_pretrain.safetensors'), other)
  with pytest.raises(ValueError, match='were trained apart'):
    srgan_jax.load(path, strength=0.5)
  # Without a first stage of its own, the shipped one; of another size, here.
  path.with_name('generator_pretrain.safetensors').unlink()
  with pytest.raises(ValueError, match='architecture'):
    srgan_jax.load(path, strength=0.5)


@pytest.mark.parametrize('strength', [-0.1, 1.1, float('nan')])
def test_other_strengths_are_refused(run, strength, capsys):
  with pytest.raises(ValueError, match='strength must be from 0 to 1'):
    srgan_jax.load(run[0], strength=strength)
  command = ['a.png', '-o', 'b.png', f'--strength={strength}']
  assert upscale.main(command) == 1
  assert 'strength must be from 0 to 1' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['srgan', 'srresnet'])
def test_the_shipped_srgan_was_trained_on_from_the_shipped_srresnet(name):
  upscaling.read_generator(name, 0.5)


def test_the_commands_take_it(run, tmp_path, capsys):
  path, *_ = run
  image = noise(40, 48, 3)
  Image.fromarray(image).save(tmp_path / 'a.png')
  options = ['--model', str(path), '--strength', '0.5', '--back-project', '1']
  out = tmp_path / 'out.png'
  assert upscale.main([str(tmp_path / 'a.png'), '-o', str(out), *options]) == 0
  expected = srgan_jax.load(path, strength=0.5, back_project=1)(image)
  np.testing.assert_array_equal(np.asarray(Image.open(out)), expected)
  capsys.readouterr()
  hr = tmp_path / 'hr'
  hr.mkdir()
  Image.fromarray(expected).save(hr / 'a.png')
  Image.fromarray(image).save(tmp_path / 'a_lr.png')
  arguments = ['--hr', str(hr), '--lr', str(tmp_path / 'a_lr.png')]
  assert evaluate.main([*arguments, *options]) == 0
  said = capsys.readouterr().out
  assert 'strength 0.5, back-projection 1' in said
  assert 'inf' in said.splitlines()[-1]  # the very same pixels
