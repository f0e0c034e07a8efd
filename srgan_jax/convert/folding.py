"""Generators of others as ours, and ours as one of theirs.

`generator` reads by it and `to_torch` writes. All of it is NumPy on dicts of
arrays; `generator_layouts` has the names.

What others do differently goes into our parameters wherever that is exact:

- a convolution's bias in front of BN is taken off BN's running mean;
- another BN epsilon is added to BN's running variance;
- BN in front of a pixel shuffle becomes part of its convolution;
- one PReLU slope for all channels becomes a slope per channel;
- smaller odd kernels become ours with zeros around;
- TensorFlow's depth_to_space order is permuted into PyTorch's, which is ours;
- the scale of the input goes into the first convolution, and a linear output in
  [0, 1] becomes one in [-1, 1] in the last.

Three things cannot, and are switches of `Generator`: a tanh at the end, a PReLU
in BN's place behind the blocks, and a mean taken off the input (the zeros of
the first convolution's padding are then that mean and not black).
"""

from collections.abc import Mapping
import dataclasses
import re
from typing import Any, Literal

from flax import traverse_util
import numpy as np

from srgan_jax.convert import generator_layouts as layouts
from srgan_jax.convert.generator_layouts import kind_of
from srgan_jax.models import epilogues, folded
from srgan_jax.models.generator import Generator
from srgan_jax.weights import architecture

Arrays = dict[str, np.ndarray]

_EPSILON = epilogues.EPSILON  # ours, and PyTorch's
_KERAS_EPSILON = 1e-3


@dataclasses.dataclass(frozen=True)
class Network:
  """What a file holds, as ours.

  Attributes:
    kind: 'generator' or 'discriminator'.
    layout: whose names it has.
    convention: of its images, in words.
    architecture: see `weights.architecture`.
    variables: {'params', 'batch_stats'}, float32.
  """

  kind: Literal['generator', 'discriminator']
  layout: str
  convention: str
  architecture: dict[str, Any]
  variables: dict[str, Any]


def from_state(
  state: Mapping[str, np.ndarray],
  input_range: layouts.Range | None,
  output_range: layouts.Range | None,
) -> Network:
  """A generator from a PyTorch state dict, arrays by name.

  The ranges are what it takes and gives, where the layout's own are not meant.

  Raises:
    ValueError: one line, for another layout, scale, name or shape.
  """
  layout = _find_layout(state)
  # Up to the last, so that one that lacks is named. leftthomas numbers on:
  # block7 is not a residual one.
  name = f'{layout.block}.{layout.parts[0]}.weight'
  numbers = range(len(state))
  blocks = max(
    (i + 1 for i in numbers if name.format(i + layout.first_block) in state),
    default=0,
  )
  slots = layout.slots(blocks)
  if f'{slots["norm_mid"]}.running_mean' not in state:
    slots['prelu_mid'] = slots.pop('norm_mid')
  used: set[str] = set()
  ours: dict[str, dict[str, np.ndarray]] = {}
  for slot, prefix in slots.items():
    ours[slot] = layer = {}
    for theirs, name in layouts.TORCH_PARTS[kind_of(slot)].items():
      key = f'{prefix}.{theirs}'
      if key in state:
        used.add(key)
        array = np.asarray(state[key], np.float64)
        layer[name] = _to_hwio(array) if name == 'kernel' else array
      elif (kind_of(slot), theirs) != ('conv', 'bias'):
        raise ValueError(
          f'it looks like {layout.name}, but lacks {key}; only whole '
          'generators of x4 are read'
        )
  if unknown := sorted(state.keys() - used):
    raise ValueError(
      f'it looks like {layout.name}, but has {unknown[0]} '
      f'({len(unknown)} such tensors)'
    )
  convention = layout.convention.override(input_range, output_range)
  return _assemble(layout.name, ours, slots, convention, _EPSILON)


def from_keras(
  found: list[tuple[str, Arrays]],
  input_range: layouts.Range | None,
  output_range: layouts.Range | None,
) -> Network:
  """The generator or discriminator of krasserm, from layers in their order.

  `found` has each layer's name and its arrays by Keras's names; the ranges are
  as for `from_state`.

  Raises:
    ValueError: one line, for other layers or shapes.
  """
  kinds = ''.join(_keras_kind(name, arrays) for name, arrays in found)
  ours = [
    {
      layouts.KERAS_PARTS[k]: np.asarray(v, np.float64)
      for k, v in arrays.items()
    }
    for _, arrays in found
  ]
  if kinds == 'c' + 7 * 'cn' + 'dd':
    return _discriminator([name for name, _ in found], ours)
  if not (match := re.fullmatch('cp((?:cnpcn)+)cncpcpc', kinds)):
    raise ValueError(
      f'its {len(found)} Keras layers are neither the generator nor the '
      f'discriminator of {layouts.KRASSERM}'
    )
  # The order of all layouts.
  order = layouts.LORNATANG.slots(len(match[1]) // len(layouts.BLOCK))
  slots = dict(zip(order, (name for name, _ in found), strict=True))
  tensors = dict(zip(order, ours, strict=True))
  for slot in ('upsample_0/conv', 'upsample_1/conv'):
    for name, array in tensors[slot].items():
      tensors[slot][name] = _from_depth_to_space(array)
  convention = layouts.KRASSERM_CONVENTION.override(input_range, output_range)
  return _assemble(layouts.KRASSERM, tensors, slots, convention, _KERAS_EPSILON)


def to_state(generator: Generator, variables: Mapping[str, Any]) -> Arrays:
  """A generator of ours as a state dict in the layout `LORNATANG`.

  Raises:
    ValueError: for a generator that the layout does not express.
  """
  plain = Generator(generator.blocks, generator.channels)
  if extra := architecture.of_generator(generator).items() - (
    architecture.of_generator(plain).items()
  ):
    raise ValueError(
      f'the layout of {layouts.LORNATANG.name} has no {dict(sorted(extra))}'
    )
  flat = traverse_util.flatten_dict(variables, sep='/')
  state: Arrays = {}
  for slot, prefix in layouts.LORNATANG.slots(generator.blocks).items():
    for theirs, name in layouts.TORCH_PARTS[kind_of(slot)].items():
      if (leaf := flat.get(_path(slot, name))) is None:
        continue  # a convolution in front of BN has no bias
      array: np.ndarray = np.asarray(leaf, np.float32)
      if slot == 'conv_out':  # from [-1, 1] to [0, 1]
        array = (array + (1 if name == 'bias' else 0)) / 2
      if name == 'kernel':
        array = array.transpose(3, 2, 0, 1)
      state[f'{prefix}.{theirs}'] = np.array(array, np.float32, order='C')
    if kind_of(slot) == 'norm':
      state[f'{prefix}.num_batches_tracked'] = np.zeros((), np.int64)
  return state


def _find_layout(state: Mapping[str, np.ndarray]) -> layouts.Layout:
  def score(layout: layouts.Layout) -> int:
    slots = layout.slots(1)
    anchors = ('conv_in', 'block_0/conv_0', 'upsample_0/conv', 'conv_out')
    return sum(f'{slots[slot]}.weight' in state for slot in anchors)

  # With one of four missing, the error will name what lacks.
  best = max(layouts.LAYOUTS, key=score)
  if score(best) < 3:
    raise ValueError(
      f'its {len(state)} tensors ({", ".join(list(state)[:3])}, ...) have none '
      f'of the layouts known: {"; ".join(layouts.KNOWN)}'
    )
  return best


def _keras_kind(name: str, arrays: Arrays) -> str:
  kind = layouts.KERAS_KINDS.get(frozenset(arrays))
  if kind is None:
    raise ValueError(
      f'its layer {name} has {", ".join(sorted(arrays))}: not of '
      f'{layouts.KRASSERM}'
    )
  return 'd' if kind == 'c' and arrays['kernel'].ndim == 2 else kind


def _to_hwio(kernel: np.ndarray) -> np.ndarray:
  return kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel


def _from_depth_to_space(array: np.ndarray) -> np.ndarray:
  """The last axis from (i, j, c), TensorFlow's, to (c, i, j)."""
  if array.shape[-1] % 4:
    return array  # the check of its shape will say so
  split = array.reshape(*array.shape[:-1], 4, -1)
  return split.swapaxes(-1, -2).reshape(array.shape)


def _assemble(
  name: str,
  tensors: dict[str, Arrays],
  slots: Mapping[str, str],
  convention: layouts.Convention,
  epsilon: float,
) -> Network:
  """Checks the shapes, folds, and gives the tree of `Generator`."""
  kernel = tensors['conv_in']['kernel']
  channels = kernel.shape[-1] if kernel.ndim == 4 else 0
  for slot, layer in tensors.items():
    _fit(slot, slots[slot], layer, channels)
  if convention.input_range is None or convention.output_range is None:
    raise ValueError(
      f'{name} had several ranges of values: give --input-range and '
      '--output-range'
    )
  if convention.tanh and convention.output_range != 'signed':
    raise ValueError('a tanh of images in [0, 1] is not supported')

  for slot in list(tensors):
    if kind_of(slot) != 'norm':
      continue
    norm = tensors[slot]
    normed = slot.replace('norm', 'conv')
    conv = tensors[normed]
    norm['mean'] = norm['mean'] - conv.pop('bias', 0)
    norm['var'] = norm['var'] + (epsilon - _EPSILON)
    if slot.startswith('upsample'):
      tensors[normed] = folded.absorb_norm(conv, tensors.pop(slot))
  mean, deviation = layouts.INPUT_RANGES[convention.input_range]
  conv_in = tensors['conv_in']
  conv_in['kernel'] = conv_in['kernel'] / np.reshape(deviation, (3, 1))
  for slot, layer in tensors.items():
    if kind_of(slot) == 'conv' and slot.replace('conv', 'norm') not in tensors:
      layer.setdefault('bias', np.zeros(layer['kernel'].shape[-1]))
  if convention.output_range == 'unit':
    conv_out = tensors['conv_out']
    conv_out['kernel'] = 2 * conv_out['kernel']
    conv_out['bias'] = 2 * conv_out['bias'] - 1

  generator = Generator(
    blocks=sum(slot.endswith('/conv_0') for slot in tensors),
    channels=channels,
    middle='norm' if 'norm_mid' in tensors else 'prelu',
    output='tanh' if convention.tanh else 'linear',
    input_mean=mean,
  )
  return Network(
    kind='generator',
    layout=name,
    convention=(
      f'input {convention.input_range}, output {convention.output_range}'
      + (' by tanh' if convention.tanh else '')
    ),
    architecture=architecture.of_generator(generator),
    variables=_tree(tensors),
  )


def _fit(slot: str, name: str, layer: Arrays, channels: int) -> None:
  """Brings kernels and slopes to our shapes; refuses all other shapes."""
  inputs = 3 if slot == 'conv_in' else channels
  outputs = 3 if slot == 'conv_out' else channels
  if slot in ('upsample_0/conv', 'upsample_1/conv') or slot.endswith('/norm'):
    outputs *= 4
  size = 9 if slot in ('conv_in', 'conv_out') else 3
  for part, array in layer.items():
    expected: tuple[int, ...] = (outputs,)
    if part == 'kernel':
      expected = (size, size, inputs, outputs)
      missing = size - len(array) if array.ndim == 4 else 0
      if missing > 0 and missing % 2 == 0:
        around = (missing // 2, missing // 2)
        array = np.pad(array, [around, around, (0, 0), (0, 0)])
    elif part == 'slope':
      array = array.reshape(-1) if array.shape[:-1] in ((1, 1), ()) else array
      array = np.repeat(array, outputs) if array.shape == (1,) else array
    if array.shape != expected:
      raise ValueError(
        f'the {part} of {name} is {layer[part].shape}, which does not fit '
        f'{expected}'
      )
    if not np.isfinite(array).all():
      raise ValueError(f'the {part} of {name} has values that are not finite')
    layer[part] = array


def _discriminator(names: list[str], ours: list[Arrays]) -> Network:
  order = ['conv_0']
  for i in range(1, 8):
    order += [f'conv_{i}', f'norm_{i}']
  tensors = dict(zip([*order, 'dense_0', 'dense_1'], ours, strict=True))
  for (slot, layer), name in zip(tensors.items(), names, strict=True):
    for part, array in layer.items():
      if not np.isfinite(array).all():
        raise ValueError(f'the {part} of {name} has values that are not finite')
    if kind_of(slot) == 'norm':
      bias = tensors[slot.replace('norm', 'conv')].pop('bias')
      if bias.shape != layer['mean'].shape:
        raise ValueError(f'the arrays of {name} do not fit its convolution')
      layer['mean'] = layer['mean'] - bias
      layer['var'] = layer['var'] + (_KERAS_EPSILON - _EPSILON)
  channels = tensors['conv_0']['kernel'].shape[-1]
  area = tensors['dense_0']['kernel'].shape[0] // (8 * channels)
  return Network(
    kind='discriminator',
    layout=layouts.KRASSERM,
    convention='input signed, output logits (its sigmoid is left out)',
    architecture={'channels': channels, 'image_size': 16 * round(area**0.5)},
    variables=_tree(tensors),
  )


def _tree(tensors: Mapping[str, Arrays]) -> dict[str, Any]:
  flat = {
    _path(slot, part): array
    for slot, layer in tensors.items()
    for part, array in layer.items()
  }
  with np.errstate(over='ignore'):  # the forward check finds it
    flat = {path: np.asarray(array, np.float32) for path, array in flat.items()}
  return traverse_util.unflatten_dict(flat, sep='/')


def _path(slot: str, part: str) -> str:
  """Where an array of a layer is in our tree."""
  kind = 'batch_stats' if part in ('mean', 'var') else 'params'
  return f'{kind}/{slot}/{part}'
