"""A generator as an ONNX file, for desktop upscalers and other runtimes.

Its nodes are plain convolutions, PReLUs and pixel shuffles of an old operator
set, for old runtimes and for converters to other formats.
"""

from typing import Any, cast

import jax
import numpy as np

import srgan_jax
from srgan_jax import SCALE
from srgan_jax.models import folded
from srgan_jax.models.generator import Generator

# The operator set of ONNX 1.8 (2020) and its version of the file format: the
# oldest with all that is used here, for the runtimes that upscalers bundle.
_OPSET, _IR_VERSION = 13, 7


def serialize(
  generator: Generator, variables: Any, metadata: dict[str, Any]
) -> bytes:
  """The ONNX model, float32 [N, 3, H, W] in [0, 1] to [N, 3, 4H, 4W].

  `metadata` becomes its `metadata_props`.

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
  graph.add_generator(generator, folded.fold(generator, variables))
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
  """`folded.upscale` in ONNX's words, NCHW.

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
    # DCR: the order of channels that `folded.fold` brings them to.
    return self._add('DepthToSpace', name, x, blocksize=2, mode='DCR')

  def _channels(self, values: Any, name: str = 'input_mean') -> str:
    return self._constant(name, np.reshape(values, (-1, 1, 1)))

  def _constant(self, name: str, values: Any) -> str:
    self.constants[name] = np.array(values, np.float32, order='C')
    return name

  def _add(self, op: str, result: str, *inputs: str, **attributes: Any) -> str:
    self.nodes.append((op, list(inputs), result, attributes))
    return result
