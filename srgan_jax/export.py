"""Generators for programs that know nothing of this package.

  python -m srgan_jax.export srgan -o srgan.stablehlo
  python -m srgan_jax.export generator.safetensors -o generator.onnx

What is written goes by the suffix; height, width and batch size are free in
both, weights and metadata (label, scale, licence) are inside, and everything
computes in float32. They hold the network alone: the back-projection that a
file recommends, as `srgan` does, is named as `back_project` in the metadata and
left to the caller (docs/export.md).

`.stablehlo` is a function serialized by `jax.export` for CPU, CUDA and TPU, all
in one file. It maps uint8 RGB [N, H, W, 3] in 0..255 to uint8 [N, 4H, 4W, 3],
rounded and clipped as `srgan_jax.load` does with `back_project=0`: there is no
range to mistake. Its metadata is JSON in the function's name. To call it takes
JAX and flatbuffers:

  import pathlib, jax

  data = pathlib.Path('srgan.stablehlo').read_bytes()
  upscale = jax.jit(jax.export.deserialize(bytearray(data)).call)
  sr = upscale(lr)

`.onnx` is what desktop upscalers load: float32 RGB [N, 3, H, W] in [0, 1] to
[N, 3, 4H, 4W] in [0, 1], clipped. To write it takes the package `onnx`. Its
nodes are plain convolutions, PReLUs and pixel shuffles of an old operator set,
for old runtimes and for converters to other formats.
"""

from collections.abc import Sequence
import importlib
import pathlib
import sys
from typing import Any

import srgan_jax
from srgan_jax import SCALE, cli, files, pretrained

# By suffix: the module that serializes, and the pixels that go in and come out.
_WRITERS = {
  '.stablehlo': ('to_stablehlo', 'uint8 RGB [N, {s}H, {s}W, 3] in 0..255'),
  '.onnx': ('to_onnx', 'float32 RGB [N, 3, {s}H, {s}W] in [0, 1]'),
}


def export(model: str | pathlib.Path, output: pathlib.Path) -> dict[str, Any]:
  """Writes a generator as StableHLO or ONNX, by the suffix of `output`.

  Args:
    model: a shipped name or a weights file of ours.
    output: the `.stablehlo` or `.onnx` file; its folder must exist.

  Returns:
    The metadata that the file carries: label, scale, author, licence,
    back_project (steps that `load` adds), input, output.

  Raises:
    ValueError: one line, for another suffix, a file that `exports.read`
      refuses, or where ONNX's package is missing.
  """
  if output.suffix not in _WRITERS:
    raise ValueError(
      f'{output} must end in {" or ".join(_WRITERS)}, not {output.suffix!r}'
    )
  path = pretrained.find(model)
  files.require_place(output, path)
  # Not before a call: help comes without JAX.
  from srgan_jax.convert import exports

  generator, variables, training = exports.read(path)
  module, pixels = _WRITERS[output.suffix]
  writer = importlib.import_module(f'srgan_jax.convert.{module}')
  metadata = {
    'label': str(training.get('label') or path.stem),
    'scale': SCALE,
    'author': str(training.get('author') or 'not stated'),
    'licence': str(training.get('licence') or 'not stated'),
    'back_project': training['back_project'],
    'input': pixels.format(s=''),
    'output': pixels.format(s=SCALE),
    'producer': f'srgan_jax {srgan_jax.__version__}',
  }
  files.write_bytes(output, writer.serialize(generator, variables, metadata))
  return metadata


def main(arguments: Sequence[str] | None = None) -> int:
  """The command; its exit status."""
  parser = cli.parser(__doc__, 'python -m srgan_jax.export')
  cli.add_information(parser)
  parser.add_argument(
    'model',
    help='a shipped (srgan, srresnet) or published name, or a weights file',
  )
  parser.add_argument(
    '-o',
    '--output',
    required=True,
    type=pathlib.Path,
    help=f'the file to write: {" or ".join(_WRITERS)}',
  )
  options = parser.parse_args(arguments)
  from srgan_jax.convert import exports, published

  try:
    published.provide(options.model, print)
    metadata = export(options.model, options.output)
  except (ValueError, OSError) as error:
    print(f'export: {cli.one_line(error)}', file=sys.stderr)
    return 1
  size = options.output.stat().st_size / 1e6
  print(f'{options.output} ({size:.1f} MB)')
  for key, value in metadata.items():
    print(f'  {key}: {value}')
  for line in exports.back_projection_notes(metadata):
    print(f'  {line}')
  return 0


if __name__ == '__main__':
  cli.run(main)
