"""PyTorch generators of others: the same pictures come out as ours."""

import jax
import numpy as np
import pytest
import safetensors.numpy

from srgan_jax import weights
from srgan_jax.convert import generator as generator_command
from tests.support.converting import refusal, run, upscale

TORCH_LAYOUTS = (
  'sgrvinod',
  'sgrvinod, smaller kernels',
  'leftthomas',
  'leftthomas, before its BN',
  'Lornatang 2022',
  'Lornatang early 2022',
  'Lornatang 0.2',
  'Lornatang 0.3',
  'Lornatang 0.1',
)


@pytest.fixture(scope='module')
def torch_generators():
  pytest.importorskip('torch', reason='PyTorch is not installed')
  from tests.support import torch_generators

  assert tuple(torch_generators.LAYOUTS) == TORCH_LAYOUTS
  return torch_generators


@pytest.fixture
def lr():
  return np.random.default_rng(0).random((2, 7, 9, 3)).astype(np.float32)


def arrays_of(module):
  return {
    name: np.array(value.numpy()) for name, value in module.state_dict().items()
  }


@pytest.mark.parametrize('name', TORCH_LAYOUTS)
def test_a_torch_generator_makes_the_same_pictures(
  torch_generators, lr, tmp_path, capsys, name
):
  make, input_range, output_range, options = torch_generators.LAYOUTS[name]
  module = torch_generators.randomize(make())
  source, output = tmp_path / 'g.safetensors', tmp_path / 'ours.safetensors'
  safetensors.numpy.save_file(arrays_of(module), source)

  run(capsys, source, '-o', output, *options)

  theirs = torch_generators.upscale(module, lr, input_range, output_range)
  assert theirs.std() > 0.05 and np.abs(theirs).max() > 0.3
  np.testing.assert_allclose(upscale(output, lr), theirs, atol=3e-6, rtol=3e-6)


def test_wrappers_and_prefixes_are_stripped(torch_generators, tmp_path, capsys):
  import torch

  module = torch_generators.randomize(torch_generators.sgrvinod(4, 1))
  state = module.state_dict()
  prefixed = lambda *p: {f'{"".join(p)}{k}': v for k, v in state.items()}
  files = []
  for i, content in enumerate(
    [
      state,
      {'state_dict': state, 'epoch': 3, 'optimizer': {'state': {}}},
      {'model': {'state_dict': prefixed('module.')}},
      {'generator': prefixed('_orig_mod.', 'net.')},
    ]
  ):
    source, output = tmp_path / f'{i}.pth.tar', tmp_path / f'{i}.safetensors'
    torch.save(content, source)
    run(capsys, source, '-o', output)
    files.append(weights.load(output, 'generator')[0])
  for other in files[1:]:
    jax.tree.map(np.testing.assert_array_equal, files[0], other)


def test_bfloat16_is_read(tmp_path):
  torch = pytest.importorskip('torch', reason='PyTorch is not installed')
  values = torch.tensor([1.5, -3e38]).bfloat16()
  torch.save({'a': values}, tmp_path / 'g.pth')
  found = generator_command.read_state(tmp_path / 'g.pth')['a']
  np.testing.assert_array_equal(found, values.float().numpy(), strict=True)


def test_the_file_says_what_it_was(torch_generators, tmp_path, capsys):
  make, *_ = torch_generators.LAYOUTS['sgrvinod']
  source, output = tmp_path / 'mine.safetensors', tmp_path / 'o.safetensors'
  safetensors.numpy.save_file(
    arrays_of(torch_generators.randomize(make())), source
  )

  said = run(capsys, source, '-o', output)

  _, _, metadata = weights.load_generator(output)
  assert metadata['architecture'] == {
    'blocks': 1,
    'channels': 6,
    'output': 'tanh',
    'input_mean': [0.485, 0.456, 0.406],
  }
  training = metadata['training']
  assert training['label'] == 'mine'
  assert training['source'] == (
    'mine.safetensors: sgrvinod/a-PyTorch-Tutorial-to-Super-Resolution'
  )
  assert len(training['source_sha256']) == 64
  assert training['convention'] == 'input imagenet, output signed by tanh'
  assert training['converter_version'] == '1'
  assert 'licence' not in training  # of weights that someone trained
  assert 'WARNING, this is no upscaling' in said  # random weights


def test_a_pickled_module_is_refused_and_not_run(
  torch_generators, tmp_path, capsys
):
  import torch

  module = torch_generators.sgrvinod(4, 1)
  source = tmp_path / 'checkpoint_srgan.pth.tar'
  torch.save({'epoch': 1, 'generator': module}, source)
  message = refusal(capsys, source, tmp_path / 'o.safetensors')
  assert 'pickled tests.support.torch_generators._Generator' in message
  assert 'nothing of it was run' in message
  assert '.state_dict()' in message


def test_ranges_that_changed_must_be_given(torch_generators, tmp_path, capsys):
  make, *_, options = torch_generators.LAYOUTS['Lornatang 0.3']
  source, output = tmp_path / 'g.safetensors', tmp_path / 'o.safetensors'
  safetensors.numpy.save_file(arrays_of(make()), source)
  assert 'give --input-range and --output-range' in refusal(
    capsys, source, output
  )
  assert 'a tanh of images in [0, 1] is not supported' in refusal(
    capsys, source, output, *options[:2], '--output-range', 'unit'
  )


def drop(name):
  return lambda state: state.pop(name)


def put(name, value):
  return lambda state: state.update({name: np.asarray(value, np.float32)})


@pytest.mark.parametrize(
  ('change', 'expected'),
  [
    (drop('conv3.weight'), '2022 and later, but lacks conv3.weight'),
    (drop('trunk.0.rcb.0.weight'), 'lacks trunk.0.rcb.0.weight'),
    (drop('trunk.0.rcb.4.running_var'), 'lacks trunk.0.rcb.4.running_var'),
    (drop('upsampling.1.upsample_block.0.weight'), 'only whole generators of'),
    (put('trunk.2.rcb.0.weight', np.zeros((4, 4, 3, 3))), 'but lacks trunk.2'),
    (put('upsampling.2.upsample_block.0.weight', [0]), 'has upsampling.2'),
    (
      put('conv1.0.weight', np.zeros((4, 1, 9, 9))),
      r'conv1.0 is \(9, 9, 1, 4\), which does not fit \(9, 9, 3, 4\)',
    ),
    (put('conv1.0.weight', np.zeros((4, 3, 11, 11))), 'does not fit'),
    (put('conv1.0.weight', np.zeros(4)), 'does not fit'),
    (put('conv1.0.weight', 1.0), 'does not fit'),
    (put('conv1.1.weight', np.zeros(3)), r'the slope of conv1.1 is \(3,\)'),
    (put('trunk.0.rcb.1.running_mean', np.zeros(3)), r'\(3,\), which does not'),
    (
      put('conv3.bias', [0, np.nan, 0]),
      'bias of conv3 has values that are not',
    ),
    (put('conv3.bias', [0, 3e38, 0]), 'forward check failed: .* not finite'),
    (put('conv2.1.running_var', [-1] * 4), 'check failed: .* not finite'),
    (lambda state: state.clear(), 'it holds no tensors'),
  ],
)
def test_other_tensors_are_refused(
  torch_generators, tmp_path, capsys, change, expected
):
  module = torch_generators.randomize(torch_generators.lornatang_2022(4, 2))
  state = arrays_of(module)
  change(state)
  source, output = tmp_path / 'g.safetensors', tmp_path / 'o.safetensors'
  safetensors.numpy.save_file(state, source)
  with pytest.raises(ValueError, match=expected):
    generator_command.convert(source, output)
  refusal(capsys, source, output)


def test_another_layout_is_refused_by_its_names(tmp_path, capsys):
  source = tmp_path / 'vgg.safetensors'
  safetensors.numpy.save_file({'features.0.weight': np.zeros(3)}, source)
  message = refusal(capsys, source, tmp_path / 'o.safetensors')
  assert 'its 1 tensors (features.0.weight, ...) have none of' in message
  for name in ('krasserm', 'sgrvinod', 'leftthomas', 'SRGAN-PyTorch of 2022'):
    assert name in message


def test_other_scales_are_refused(torch_generators, tmp_path, capsys):
  source = tmp_path / 'g.safetensors'
  for upsamples, expected in ((1, 'lacks sub'), (3, 'has subpixel')):
    module = torch_generators.sgrvinod(4, 1, upsamples)
    safetensors.numpy.save_file(arrays_of(module), source)
    assert expected in refusal(capsys, source, tmp_path / 'o.safetensors')


@pytest.mark.parametrize(
  ('content', 'expected'),
  [
    (None, 'no such file'),
    (b'<!DOCTYPE html>', 'web page'),
    (b'GIF89a', 'neither HDF5 nor a PyTorch nor a safetensors file'),
    (b'\x89HDF\r\n\x1a\n' + bytes(99), 'cut off or damaged'),
  ],
)
def test_other_files_are_refused(tmp_path, capsys, content, expected):
  source = tmp_path / 'generator.h5'
  if content is not None:
    source.write_bytes(content)
  assert expected in refusal(capsys, source, tmp_path / 'o.safetensors')


def test_a_checkpoint_without_a_state_dict_is_refused(tmp_path, capsys):
  torch = pytest.importorskip('torch', reason='PyTorch is not installed')
  source, output = tmp_path / 'g.pth', tmp_path / 'o.safetensors'
  torch.save({'epoch': 3}, source)
  assert 'its epoch is not a dense tensor' in refusal(capsys, source, output)
  state = {'conv_first.weight': torch.ones(2)}
  torch.save({'netG': state, 'netD': state}, source)
  assert 'whose netG is a dict: save that' in refusal(capsys, source, output)


def test_the_only_state_dict_of_a_checkpoint_is_judged(tmp_path, capsys):
  torch = pytest.importorskip('torch', reason='PyTorch is not installed')
  source, output = tmp_path / 'g.pth', tmp_path / 'o.safetensors'
  state = {
    'conv_first.weight': torch.ones(2),
    'body.0.conv1.bias': torch.ones(2),
  }
  for checkpoint in (
    {'params': state},  # BasicSR's MSRResNet
    {'params_ema': state, 'params': state},
    {'epoch': 3, 'netG': state, 'optimizer': {'state': {0: {}}}},
  ):
    torch.save(checkpoint, source)
    message = refusal(capsys, source, output)
    assert 'its 2 tensors (conv_first.weight' in message
    assert 'have none of the layouts known' in message
  torch.save({'conv1.weight': torch.ones(2), 'ema': state}, source)
  assert 'whose ema is a dict: save that' in refusal(capsys, source, output)
