"""Generators for programs that know nothing of this package.

  python -m srgan_jax.export srgan -o srgan.stablehlo
  python -m srgan_jax.export generator.safetensors -o generator.onnx

What is written goes by the suffix; height, width and batch size are free in
both, weights and metadata (label, scale, licence) are inside, and everything
computes in float32.

`.stablehlo` is a function serialized by `jax.export` for CPU, CUDA and TPU, all
in one file. It maps uint8 RGB [N, H, W, 3] in 0..255 to uint8 [N, 4H, 4W, 3],
rounded and clipped as `srgan_jax.load` does: there is no range to mistake. Its
metadata is JSON in the function's name. To call it takes JAX and flatbuffers:

  import pathlib, jax

  data = pathlib.Path('srgan.stablehlo').read_bytes()
  upscale = jax.jit(jax.export.deserialize(bytearray(data)).call)
  sr = upscale(lr)

`.onnx` is what desktop upscalers load: float32 RGB [N, 3, H, W] in [0, 1] to
[N, 3, 4H, 4W] in [0, 1], clipped. To write it takes the package `onnx`. Its
nodes are plain convolutions, PReLUs and pixel shuffles of an old operator set,
for old runtimes and for converters to other formats.
"""

import argparse
from collections.abc import Sequence
import dataclasses
import json
import pathlib
import sys
from typing import Any, cast

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

import srgan_jax
from srgan_jax import files, pretrained, weights
from srgan_jax.imaging import color
from srgan_jax.models import inference
from srgan_jax.models.generator import SCALE, Generator

PLATFORMS = ('cpu', 'cuda', 'tpu')

# The operator set of ONNX 1.8 (2020) and its version of the file format: the
# oldest with all that is used here, for the runtimes that upscalers bundle.
_OPSET, _IR_VERSION = 13, 7


def export(model: str | pathlib.Path, output: pathlib.Path) -> dict[str, Any]:
  """Writes a generator as StableHLO or ONNX, by the suffix of `output`.

  Args:
    model: a shipped name or a weights file of ours.
    output: the `.stablehlo` or `.onnx` file; its folder must exist.

  Returns:
    The metadata that the file carries: label, scale, licence, input, output.

  Raises:
    ValueError: one line, for another suffix, a file that is no generator of
      ours, or where ONNX's package is missing.
  """
  if output.suffix not in _WRITERS:
    raise ValueError(
      f'{output} must end in {" or ".join(_WRITERS)}, not {output.suffix!r}'
    )
  files.require_folder(output)
  path = pretrained.find(model)
  generator, variables, stated = weights.load_generator(path)
  serialize, pixels = _WRITERS[output.suffix]
  training = stated.get('training', {})
  metadata = {
    'label': str(training.get('label', path.stem)),
    'scale': SCALE,
    'licence': str(training.get('licence', 'not stated')),
    'input': pixels.format(s=''),
    'output': pixels.format(s=SCALE),
    'producer': f'srgan_jax {srgan_jax.__version__}',
  }
  data = serialize(generator, variables, metadata)
  with files.replacing(output) as beside:
    beside.write_bytes(data)
  return metadata


def to_stablehlo(
  generator: Generator, variables: Any, metadata: dict[str, Any]
) -> bytes:
  """The serialized function, uint8 [N, H, W, 3] to uint8 [N, 4H, 4W, 3].

  Args:
    generator: the module, float32.
    variables: {'params', 'batch_stats'}; they become constants.
    metadata: JSON-compatible; `json.loads(exported.fun_name)` gives it back.

  Raises:
    ValueError: where the package `flatbuffers`, which JAX asks for, is missing.
  """
  params = inference.fold(generator, variables)

  @jax.jit
  def upscale(lr: jax.Array) -> jax.Array:
    x = color.uint8_to_unit(lr)
    return color.signed_to_uint8(inference.upscale(generator, params, x))

  n, h, w = jax.export.symbolic_shape('n, h, w')
  exported = jax.export.export(upscale, platforms=PLATFORMS)(
    jax.ShapeDtypeStruct((n, h, w, 3), jnp.uint8)
  )
  # The format has no place for metadata but the name, which is free and shows
  # in error messages.
  named = dataclasses.replace(exported, fun_name=json.dumps(metadata))
  try:
    return bytes(named.serialize())
  except ImportError:
    raise ValueError(
      'StableHLO files take the package flatbuffers to write and to read: '
      'pip install flatbuffers'
    ) from None


def to_onnx(
  generator: Generator, variables: Any, metadata: dict[str, Any]
) -> bytes:
  """The ONNX model, float32 [N, 3, H, W] in [0, 1] to [N, 3, 4H, 4W].

  Args:
    generator: the module.
    variables: {'params', 'batch_stats'}.
    metadata: becomes the model's `metadata_props`.

  Raises:
    ValueError: where the package `onnx` is missing.
  """
  try:
    import onnx
  except ImportError:
    raise ValueError(
      'ONNX files take the package onnx to write: pip install onnx'
    ) from None
  helper, floats = onnx.helper, onnx.TensorProto.FLOAT
  graph = _Graph()
  graph.add_generator(generator, inference.fold(generator, variables))
  sides = ('height', 'width')
  onnx_graph = helper.make_graph(
    [
      helper.make_node(op, inputs, [result], result, **attributes)
      for op, inputs, result, attributes in graph.nodes
    ],
    str(metadata['label']),
    [helper.make_tensor_value_info('input', floats, ['batch', 3, *sides])],
    [
      helper.make_tensor_value_info(
        'output', floats, ['batch', 3, *(f'{SCALE}*{side}' for side in sides)]
      )
    ],
    [
      onnx.numpy_helper.from_array(value, name)
      for name, value in graph.constants.items()
    ],
  )
  model = helper.make_model(
    onnx_graph,
    opset_imports=[helper.make_opsetid('', _OPSET)],
    ir_version=_IR_VERSION,
    producer_name='srgan_jax',
    producer_version=srgan_jax.__version__,
  )
  helper.set_model_props(model, {k: str(v) for k, v in metadata.items()})
  onnx.checker.check_model(model, full_check=True)
  return cast(bytes, model.SerializeToString(deterministic=True))


class _Graph:
  """`inference.upscale` in ONNX's words, NCHW.

  Attributes:
    nodes: (operator, names of its inputs, name of its result, attributes).
    constants: float32 arrays by name.
  """

  def __init__(self) -> None:
    self.nodes: list[tuple[str, list[str], str, dict[str, Any]]] = []
    self.constants: dict[str, np.ndarray] = {}

  def add_generator(self, generator: Generator, params: Any) -> None:
    """The whole network from 'input' in [0, 1] to 'output' in [0, 1]."""
    x = 'input'
    if any(generator.input_mean):
      # Of its own: the first convolution pads with zeros after it.
      x = self._add('Sub', 'centred', x, self._channels(generator.input_mean))
    x = self._conv('conv_in', x, params['conv_in'])
    x = first = self._prelu('prelu_in', x, params['slope_in'])
    for i in range(generator.blocks):
      layer = jax.tree.map(lambda stacked, i=i: stacked[i], params['blocks'])
      y = self._conv(f'block_{i}/conv_0', x, layer['conv_0'])
      y = self._prelu(f'block_{i}/prelu', y, layer['slope'])
      y = self._conv(f'block_{i}/conv_1', y, layer['conv_1'])
      is_sum = generator.skip_connections
      x = self._add('Add', f'block_{i}/sum', x, y) if is_sum else y
    x = self._conv('conv_mid', x, params['conv_mid'])
    if generator.middle == 'prelu':
      x = self._prelu('prelu_mid', x, params['slope_mid'])
    if generator.skip_connections:
      x = self._add('Add', 'sum', first, x)
    for i, name in enumerate(('upsample_0', 'upsample_1')):
      x = self._conv(f'{name}/conv', x, params[name])
      x = self._prelu(f'{name}/prelu', x, params[name]['slope'])
      if i == 0:
        x = self._shuffle(f'{name}/shuffle', x)
    x = self._shuffle('sr', self._conv('conv_out', x, params['conv_out']))
    if generator.output == 'tanh':
      x = self._add('Tanh', 'tanh', x)
    half = self._constant('half', 0.5)
    x = self._add('Add', 'unit', self._add('Mul', 'halved', x, half), half)
    limits = self._constant('black', 0), self._constant('white', 1)
    self._add('Clip', 'output', x, *limits)

  def _conv(self, name: str, x: str, layer: Any) -> str:
    kernel = layer['kernel'].transpose(3, 2, 0, 1)  # HWIO to OIHW
    weights = self._constant(f'{name}/kernel', kernel)
    bias = self._constant(f'{name}/bias', layer['bias'])
    pads = [side // 2 for side in kernel.shape[2:]] * 2
    return self._add('Conv', name, x, weights, bias, pads=pads)

  def _prelu(self, name: str, x: str, slope: np.ndarray) -> str:
    return self._add('PRelu', name, x, self._channels(slope, f'{name}/slope'))

  def _shuffle(self, name: str, x: str) -> str:
    # DCR: the order of channels that `inference.fold` brings them to.
    return self._add('DepthToSpace', name, x, blocksize=2, mode='DCR')

  def _channels(self, values: Any, name: str = 'input_mean') -> str:
    return self._constant(name, np.reshape(values, (-1, 1, 1)))

  def _constant(self, name: str, values: Any) -> str:
    self.constants[name] = np.array(values, np.float32, order='C')
    return name

  def _add(self, op: str, result: str, *inputs: str, **attributes: Any) -> str:
    self.nodes.append((op, list(inputs), result, attributes))
    return result


# By suffix: what serializes, and the pixels that go in and come out.
_WRITERS = {
  '.stablehlo': (to_stablehlo, 'uint8 RGB [N, {s}H, {s}W, 3] in 0..255'),
  '.onnx': (to_onnx, 'float32 RGB [N, 3, {s}H, {s}W] in [0, 1]'),
}


def main(arguments: Sequence[str] | None = None) -> int:
  """The command; its exit status."""
  parser = argparse.ArgumentParser(
    prog='python -m srgan_jax.export',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    'model', help='a shipped name (srgan, srresnet) or a weights file'
  )
  parser.add_argument(
    '-o',
    '--output',
    required=True,
    type=pathlib.Path,
    help=f'the file to write: {" or ".join(_WRITERS)}',
  )
  options = parser.parse_args(arguments)
  try:
    metadata = export(options.model, options.output)
  except (ValueError, OSError) as error:
    print(f'export: {error}', file=sys.stderr)
    return 1
  size = options.output.stat().st_size / 1e6
  print(f'{options.output} ({size:.1f} MB)')
  for key, value in metadata.items():
    print(f'  {key}: {value}')
  return 0


if __name__ == '__main__':
  sys.exit(main())
