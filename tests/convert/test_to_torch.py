"""Ours in PyTorch: the same pictures there, and the same generator back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors

from srgan_jax import weights
from srgan_jax.convert import generator as generator_command
from srgan_jax.convert import to_torch
from srgan_jax.models.generator import Generator
from tests.support import converting, networks, weight_files

BLOCKS, CHANNELS = 2, 6


def fill(generator):
  """Random variables, none of them at its initial value."""
  rng = np.random.default_rng(0)
  init = lambda key, x: generator.init(key, x, train=False)
  shapes = jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))

  def draw(path, leaf):
    if leaf.ndim == 4:
      bound = (3 / np.prod(leaf.shape[:-1])) ** 0.5
      return rng.uniform(-bound, bound, leaf.shape).astype(np.float32)
    low = 0.5 if path[-1].key in ('var', 'scale') else -0.5
    return rng.uniform(low, low + 1, leaf.shape).astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.fixture(scope='module')
def ours(tmp_path_factory):
  path = tmp_path_factory.mktemp('ours') / 'ours.safetensors'
  weights.save_generator(
    path,
    fill(Generator(BLOCKS, CHANNELS)),
    architecture={'blocks': BLOCKS, 'channels': CHANNELS},
    training={
      'label': 'test',
      'author': 'Ada',
      'licence': 'CC0-1.0',
      'back_project': 1,
    },
  )
  return path


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_pytorch_makes_the_same_pictures(ours, tmp_path, capsys, suffix):
  torch = pytest.importorskip('torch', reason='PyTorch is not installed')
  import safetensors.torch

  from tests.support import torch_generators

  output = tmp_path / f'theirs{suffix}'
  to_torch.main([str(ours), '-o', str(output)])
  said = capsys.readouterr().out
  assert 'nn.PReLU(6); RGB in [0, 1] in and out' in said
  assert '`load` adds 1 step of back-projection to this' in said
  lost = '  not in a .pth file: Ada, CC0-1.0'
  assert (lost in said.splitlines()) == (suffix == '.pth')
  if suffix == '.pth':
    state = torch.load(output, weights_only=True)
  else:
    state = safetensors.torch.load_file(output)
  module = torch_generators.lornatang_2022(CHANNELS, BLOCKS, slopes=CHANNELS)
  module.load_state_dict(state, strict=True)

  lr = np.random.default_rng(1).random((2, 7, 9, 3)).astype(np.float32)
  theirs = torch_generators.upscale(module.eval(), lr, 'unit', 'unit')
  generator, variables, _ = weights.load_generator(ours)
  assert theirs.std() > 0.05
  np.testing.assert_allclose(
    networks.infer(generator, variables, lr), theirs, atol=3e-6, rtol=3e-6
  )


def test_the_same_generator_comes_back(ours, tmp_path):
  theirs, back = tmp_path / 'theirs.safetensors', tmp_path / 'back.safetensors'

  to_torch.main([str(ours), '-o', str(theirs)])
  generator_command.convert(theirs, back)

  first, second = (weights.load_generator(path) for path in (ours, back))
  assert first[0] == second[0]
  jax.tree.map(
    # conv_out's bias is halved and shifted on the way.
    lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=1e-7),
    first[1],
    second[1],
  )
  with safetensors.safe_open(theirs, framework='numpy') as file:
    assert file.metadata()['output_range'] == '[0, 1]'
    assert '"label": "test"' in file.metadata()['training']
  stated = {'author': 'Ada', 'licence': 'CC0-1.0', 'back_project': 1}
  assert second[2]['training'].items() >= stated.items()


@pytest.mark.parametrize(
  ('training', 'expected'),
  [
    ('{', 'its metadata training is no JSON object'),
    ('[1]', 'its metadata training is no JSON object'),
    ('{"back_project": -1}', 'back_project must be a whole number'),
  ],
)
def test_damaged_training_is_refused(
  ours, tmp_path, capsys, training, expected
):
  theirs = tmp_path / 'theirs.safetensors'
  to_torch.main([str(ours), '-o', str(theirs)])
  change = lambda tensors, metadata: metadata.update(training=training)
  weight_files.rewrite(theirs, change)
  output = tmp_path / 'back.safetensors'
  assert expected in converting.refusal(capsys, theirs, output)


def test_training_that_others_record_is_not_read(ours, tmp_path):
  theirs, back = tmp_path / 'theirs.safetensors', tmp_path / 'back.safetensors'
  to_torch.main([str(ours), '-o', str(theirs)])
  weight_files.rewrite(
    theirs, lambda tensors, metadata: metadata.update(layout='SRResNet')
  )
  generator_command.convert(theirs, back)
  assert 'licence' not in weights.load_generator(back)[2]['training']


@pytest.mark.parametrize(
  ('arguments', 'expected'),
  [
    (('nowhere.safetensors', 'x.pth'), 'nowhere.safetensors: no such file'),
    (('{ours}', 'x.onnx'), 'x.onnx must end in .pth or .safetensors'),
    (('{tanh}', 'x.pth'), "2022 and later has no {'output': 'tanh'}"),
  ],
)
def test_what_it_cannot_write_is_refused(ours, tmp_path, arguments, expected):
  tanh = tmp_path / 'tanh.safetensors'
  generator = Generator(1, 4, output='tanh')
  weights.save_generator(
    tanh,
    fill(generator),
    architecture={'blocks': 1, 'channels': 4, 'output': 'tanh'},
    training={},
  )
  with pytest.raises(SystemExit, match='there is no folder'):
    to_torch.main([str(ours), '-o', str(tmp_path / 'none' / 'x.pth')])
  source = arguments[0].format(ours=ours, tanh=tanh)
  output = tmp_path / arguments[1]
  output.write_bytes(b'old')
  with pytest.raises(SystemExit) as info:
    to_torch.main([source, '-o', str(output)])
  message = info.value.code
  assert message.startswith('export_torch: ') and '\n' not in message
  assert expected in message
  assert output.read_bytes() == b'old'
