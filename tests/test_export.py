"""Exported generators give what the generator gives, without its code."""

import functools
import json
import subprocess
import sys

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from srgan_jax import export, weights
from srgan_jax.convert import to_torch
from srgan_jax.imaging import color
from srgan_jax.models.generator import Generator
from srgan_jax.weights import architecture
from tests.support import networks, small

# Odd, wide and smaller than the kernels' reach.
SIZES = ((7, 5), (1, 12), (16, 9))

NETWORKS = {
  'paper': {},
  'converted': {
    'output': 'tanh',
    'input_mean': (0.4488, 0.4371, 0.404),
    'middle': 'prelu',
  },
  'plain chain': {'skip_connections': False},
}


@pytest.fixture(scope='module', params=NETWORKS)
def model(request, tmp_path_factory):
  """A small generator file; what training moves is far from its start."""
  generator = Generator(2, 4, init_scheme='he', **NETWORKS[request.param])
  image = jax.ShapeDtypeStruct((1, 4, 4, 3), jnp.float32)
  init = functools.partial(generator.init, train=False)
  rng = np.random.default_rng(0)
  tensors = {}
  for name, leaf in architecture.shapes(init, image).items():
    if name.endswith('kernel'):
      deviation = (2 / np.prod(leaf.shape[:-1])) ** 0.5
      value = deviation * rng.standard_normal(leaf.shape)
    else:
      value = rng.uniform(0.1, 0.9, leaf.shape)
    tensors[name] = value.astype(np.float32)
  path = tmp_path_factory.mktemp('model') / 'generator.safetensors'
  weights.save_generator(
    path,
    traverse_util.unflatten_dict(tensors, sep='/'),
    architecture=architecture.of_generator(generator),
    training={'label': 'srgan-tiny', 'licence': 'CC0-1.0'},
  )
  return path


def pictures():
  rng = np.random.default_rng(1)
  return [rng.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]


@pytest.fixture(scope='module')
def expected(model):
  """What the plain network makes of the pictures."""
  generator, variables, _ = weights.load_generator(model)
  plain = lambda x: np.asarray(networks.infer(generator, variables, x))
  results = [
    color.signed_to_uint8(plain(color.uint8_to_unit(lr[None]))[0])
    for lr in pictures()
  ]
  # Not black or white throughout, which anything would equal.
  assert all(sr.std() > 30 for sr in results)
  return results


def test_stablehlo_equals_ours_without_our_code(model, expected, tmp_path):
  file = tmp_path / 'srgan.stablehlo'
  assert export.main([str(model), '-o', str(file)]) == 0
  exported = jax.export.deserialize(bytearray(file.read_bytes()))
  assert exported.platforms == ('cpu', 'cuda', 'tpu')
  metadata = json.loads(exported.fun_name)
  assert (metadata['label'], metadata['scale']) == ('srgan-tiny', 4)
  assert metadata['licence'] == 'CC0-1.0'
  convolutions = [
    line
    for line in exported.mlir_module().splitlines()
    if ' = stablehlo.convolution(' in line
  ]
  assert convolutions
  assert all(line.count('precision HIGHEST') == 2 for line in convolutions)
  for lr, oracle in zip(pictures(), expected, strict=True):
    for sr in exported.call(np.stack([lr, lr])):
      assert sr.dtype == np.uint8
      assert np.abs(np.asarray(sr).astype(int) - oracle).max() <= 1


def test_stablehlo_needs_jax_alone(tmp_path):
  export.main(
    [
      str(small.save_generator(tmp_path / 'generator.safetensors')),
      '-o',
      str(tmp_path / 'srgan.stablehlo'),
    ]
  )
  np.save(tmp_path / 'lr.npy', np.zeros((1, 3, 2, 3), np.uint8))
  # As the module's docstring tells, without the packages.
  code = (
    'import sys\n'
    "sys.modules['srgan_jax'] = sys.modules['flax'] = None\n"
    'import pathlib, jax, numpy\n'
    "data = pathlib.Path('srgan.stablehlo').read_bytes()\n"
    'upscale = jax.jit(jax.export.deserialize(bytearray(data)).call)\n'
    "print(upscale(numpy.load('lr.npy')).shape)\n"
  )
  result = subprocess.run(
    [sys.executable, '-c', code],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.stdout.strip() == '(1, 12, 8, 3)', result.stderr


def test_onnx_equals_ours(model, expected, tmp_path):
  pytest.importorskip('onnx', reason='the package onnx is not installed')
  onnxruntime = pytest.importorskip(
    'onnxruntime', reason='the package onnxruntime is not installed'
  )
  file = tmp_path / 'srgan.onnx'
  assert export.main([str(model), '-o', str(file)]) == 0
  session = onnxruntime.InferenceSession(file)
  metadata = session.get_modelmeta().custom_metadata_map
  assert (metadata['label'], metadata['scale']) == ('srgan-tiny', '4')
  assert metadata['licence'] == 'CC0-1.0'
  for lr, oracle in zip(pictures(), expected, strict=True):
    x = lr.transpose(2, 0, 1)[None] / np.float32(255)
    (y,) = session.run(None, {'input': np.concatenate([x, x])})
    assert y.dtype == np.float32 and 0 <= y.min() and y.max() <= 1
    sr = np.round(y[1].transpose(1, 2, 0) * 255)
    assert np.abs(sr - oracle).max() <= 1


def test_onnx_says_its_shape_as_desktop_upscalers_ask(model, tmp_path):
  # They find the layout by a fixed number of channels and the scale by shape
  # inference with the sides filled in (chaiNNer's `ModelShapeInference`).
  onnx = pytest.importorskip('onnx', reason='the package onnx is not installed')
  file = tmp_path / 'srgan.onnx'
  export.export(model, file)
  loaded = onnx.load(file)
  assert loaded.opset_import[0].version == 13 and loaded.ir_version == 7
  (given,) = loaded.graph.input
  sides = given.type.tensor_type.shape.dim
  assert [d.dim_value or d.dim_param for d in sides] == [
    *('batch', 3, 'height', 'width')
  ]
  for side, value in zip(sides, (1, 3, 64, 48), strict=True):
    side.dim_value = value
  del loaded.graph.output[0].type.tensor_type.shape.dim[:]
  loaded.graph.output[0].type.tensor_type.ClearField('shape')
  inferred = onnx.shape_inference.infer_shapes(loaded, strict_mode=True)
  result = inferred.graph.output[0].type.tensor_type.shape.dim
  assert [d.dim_value for d in result] == [1, 3, 256, 192]


@pytest.mark.parametrize('suffix', ['.onnx', '.stablehlo'])
@pytest.mark.parametrize('nothing', ['', None])
def test_what_is_stated_as_nothing_is_not_stated(tmp_path, nothing, suffix):
  pytest.importorskip('onnx', reason='the package onnx is not installed')
  path = tmp_path / 'mean.safetensors'
  weights.save_generator(
    path,
    small.network_state(small.GENERATOR, 0).variables,
    architecture=architecture.of_generator(small.GENERATOR),
    training=dict.fromkeys(('label', 'author', 'licence'), nothing),
  )
  metadata = export.export(path, tmp_path / f'mean{suffix}')
  assert metadata['label'] == 'mean'
  assert metadata['author'] == metadata['licence'] == 'not stated'


@pytest.fixture
def save(tmp_path):
  """Writes the small generator with a change of it and that training."""

  def write(training, change=lambda variables: None):
    path = tmp_path / 'generator.safetensors'
    variables = jax.tree.map(
      np.array, small.network_state(small.GENERATOR, 0).variables
    )
    change(variables)
    weights.save_generator(
      path,
      variables,
      architecture=architecture.of_generator(small.GENERATOR),
      training=training,
    )
    return path

  return write


@pytest.mark.parametrize('suffix', ['.onnx', '.stablehlo'])
@pytest.mark.parametrize('steps', [0, 1, 2])
def test_the_back_projection_that_load_adds_is_named(
  save, tmp_path, capsys, steps, suffix
):
  onnx = pytest.importorskip('onnx', reason='the package onnx is not installed')
  output = tmp_path / f'srgan{suffix}'
  assert not export.main(
    [str(save({'back_project': steps})), '-o', str(output)]
  )
  lines = [line for line in capsys.readouterr().out.splitlines() if '`' in line]
  words = ['1 step', '2 steps'][:steps][-1:]
  assert lines == [
    f'  `load` adds {count} of back-projection to this: docs/export.md'
    for count in words
  ]
  if suffix == '.onnx':
    props = {p.key: p.value for p in onnx.load(output).metadata_props}
    assert props['back_project'] == str(steps)
  else:
    exported = jax.export.deserialize(bytearray(output.read_bytes()))
    assert json.loads(exported.fun_name)['back_project'] == steps


def test_a_back_projection_that_load_refuses_is_refused(save, tmp_path):
  path = save({'back_project': 'often'})
  with pytest.raises(ValueError, match=f"^{path}: back_project .* not 'often'"):
    export.export(path, tmp_path / 'srgan.stablehlo')


@pytest.mark.parametrize('suffix', ['.onnx', '.stablehlo', '.safetensors'])
@pytest.mark.parametrize('variance, scale', [(-1, 1), (0, 3e38)])
def test_a_network_that_gives_no_numbers_is_refused(
  save, tmp_path, suffix, variance, scale
):
  def change(variables):
    variables['batch_stats']['norm_mid']['var'][:] = variance
    variables['params']['norm_mid']['scale'][:] = scale

  path = save({}, change)
  write = to_torch.export if suffix == '.safetensors' else export.export
  output = tmp_path / f'theirs{suffix}'
  with pytest.raises(ValueError, match=f'^{path}: .* not finite') as info:
    write(path, output)
  assert '\n' not in str(info.value) and not output.exists()


@pytest.mark.parametrize(
  'source, name, message',
  [
    ('generator', 'srgan.pth', "must end in .stablehlo or .onnx, not '.pth'"),
    ('missing.safetensors', 'srgan.onnx', 'missing.safetensors: no such file'),
    ('generator', 'no/srgan.stablehlo', 'stablehlo: there is no folder'),
  ],
)
def test_bad_input_is_one_line(tmp_path, capsys, source, name, message):
  source = (
    small.save_generator(tmp_path / 'generator.safetensors')
    if source == 'generator'
    else source
  )
  code = export.main([str(source), '-o', str(tmp_path / name)])
  error = capsys.readouterr().err
  assert code == 1 and len(error.splitlines()) == 1
  assert error.startswith('export: ') and message in error
  assert {p.name for p in tmp_path.iterdir()} <= {'generator.safetensors'}


def test_without_onnx_one_line_says_so(model, tmp_path, capsys, monkeypatch):
  monkeypatch.setitem(sys.modules, 'onnx', None)
  code = export.main([str(model), '-o', str(tmp_path / 'srgan.onnx')])
  assert code == 1 and not list(tmp_path.iterdir())
  assert 'pip install onnx' in capsys.readouterr().err


def test_without_flatbuffers_one_line_says_so(
  model, tmp_path, capsys, monkeypatch
):
  def serialize(self):
    raise ImportError("Please install 'flatbuffers'")

  monkeypatch.setattr(jax.export.Exported, 'serialize', serialize)
  code = export.main([str(model), '-o', str(tmp_path / 'srgan.stablehlo')])
  assert code == 1 and not list(tmp_path.iterdir())
  assert 'pip install flatbuffers' in capsys.readouterr().err
