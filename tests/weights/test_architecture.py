"""What files say of networks: sizes and switches, checked before use."""

import jax
import numpy as np
import pytest

from srgan_jax import weights
from srgan_jax.models.discriminator import Discriminator
from srgan_jax.models.generator import Generator
from srgan_jax.weights import architecture

SIZES = {'blocks': 1, 'channels': 4}
SWITCHES = {'middle': 'prelu', 'output': 'tanh', 'input_mean': (0.4, 0.5, 0.6)}


def zeros(network, side):
  init = lambda key, x: network.init(key, x, train=False)
  image = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
  shapes = jax.eval_shape(init, jax.random.key(0), image)
  return jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)


def test_the_papers_generator_is_its_sizes():
  papers = architecture.of_generator(Generator())
  assert papers == {'blocks': 16, 'channels': 64}
  # How it was initialised or computes is not what it is.
  other = Generator(1, 4, np.dtype('float16'), init_scheme='he')
  assert architecture.of_generator(other) == SIZES


@pytest.mark.parametrize('name', SWITCHES)
def test_switches_come_back_from_a_file(tmp_path, name):
  path = tmp_path / 'g.safetensors'
  generator = Generator(**SIZES, **{name: SWITCHES[name]})
  fields = architecture.of_generator(generator)
  assert fields == {**SIZES, name: SWITCHES[name]}
  weights.save_generator(
    path, zeros(generator, 8), architecture=fields, training={}
  )
  assert weights.load_generator(path)[0] == generator
  if name == 'middle':
    with pytest.raises(ValueError, match='g.safetensors: lacks .*norm_mid'):
      weights.save_generator(
        path, zeros(generator, 8), architecture=SIZES, training={}
      )


@pytest.mark.parametrize(
  'wrong',
  [
    {'output': 'sigmoid'},
    {'output': ['tanh']},
    {'middle': None},
    {'input_mean': [0.5, 0.5]},
    {'input_mean': 0.5},
    {'input_mean': [0.5, 0.5, '0.5']},
    {'input_mean': [0.5, 0.5, float('nan')]},
    {'input_mean': [127.5, 127.5, 127.5]},
    {'scale': 2},
    {'blocks': 0},
    {'blocks': 10**9},
    {'blocks': True},
    {'channels': 1e9},
  ],
)
def test_other_generators_are_refused(wrong):
  with pytest.raises(ValueError, match='must be blocks and channels') as info:
    architecture.make_generator({**SIZES, **wrong})
  assert '\n' not in str(info.value)


def test_a_discriminator_comes_back_from_a_file(tmp_path):
  path = tmp_path / 'd.safetensors'
  fields = {'channels': 2, 'image_size': 32}
  variables = zeros(Discriminator(2), 32)
  weights.save_discriminator(
    path, variables, architecture=fields, training={'label': 'x'}
  )
  network, loaded, metadata = weights.load_discriminator(path)
  assert network == Discriminator(2)
  assert metadata['training'] == {'label': 'x'}
  jax.tree.map(np.testing.assert_array_equal, loaded, variables)
  for wrong, expected in (
    ({'channels': 2}, 'must be channels and image_size'),
    ({**fields, 'image_size': 10**9}, 'must be channels and image_size'),
    ({**fields, 'image_size': 48}, r'dense_0/kernel is \(64, 32\), not \(144,'),
  ):
    with pytest.raises(ValueError, match=expected):
      weights.save_discriminator(
        path, variables, architecture=wrong, training={}
      )
  with pytest.raises(ValueError, match='holds a discriminator, not a gene'):
    weights.load_generator(path)
