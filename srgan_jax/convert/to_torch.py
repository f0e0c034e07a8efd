"""Writes a generator of ours as a PyTorch state dict.

  python -m srgan_jax.convert.to_torch generator.safetensors -o generator.pth

OUT ends in `.pth` (which takes PyTorch, of the extra `convert`) or in
`.safetensors` (which does not).

The layout is that of Lornatang/SRGAN-PyTorch since 2022, `SRResNet` in its
`model.py`: of the layouts that are in use it alone takes [0, 1] as it is, has
no tanh at the end and any number of blocks and channels, so that ours fits it
exactly. Its output is [0, 1], without the back-projection that a file may
recommend (docs/export.md). One thing differs: ours has a PReLU slope for
each channel, as the paper has it, so the module to load it into is built with
`nn.PReLU(channels)` where that repository writes `nn.PReLU()`.
"""

from collections.abc import Sequence
import io
import json
import pathlib

import safetensors.numpy

from srgan_jax import cli, files, pretrained, weights
from srgan_jax.convert import exports
from srgan_jax.convert.folding import to_state
from srgan_jax.convert.generator_layouts import LORNATANG

_SUFFIXES = ('.pth', '.safetensors')


def export(source: str, output: pathlib.Path) -> list[str]:
  """Writes a generator in the layout `LORNATANG`; lines that say so.

  Raises:
    ValueError: one line, where the source is no generator of ours or one that
      the layout does not express, for another suffix than `.pth` and
      `.safetensors`, or without PyTorch.
  """
  if output.suffix not in _SUFFIXES:
    raise ValueError(f'{output} must end in {" or ".join(_SUFFIXES)}')
  path = pretrained.find(source)
  files.require_place(output, path)
  generator, variables, training = exports.read(path)
  try:
    state = to_state(generator, variables)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  if output.suffix == '.safetensors':
    metadata = {
      'layout': LORNATANG.name,
      'input_range': '[0, 1]',
      'output_range': '[0, 1]',
      'training': json.dumps(training, sort_keys=True),
    }
    files.write_bytes(output, safetensors.numpy.save(state, metadata=metadata))
  else:
    try:
      import torch
    except ImportError:
      raise ValueError(
        f'{output} takes PyTorch ({cli.install("convert")}); .safetensors '
        'does not'
      ) from None
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    data = io.BytesIO()
    torch.save(tensors, data)  # which hides what a disk says
    files.write_bytes(output, data.getvalue())
  lines = [
    f'{output}: {len(state)} tensors in the layout of {LORNATANG.name}',
    f'  {generator.blocks} blocks, {generator.channels} channels, '
    f'nn.PReLU({generator.channels}); RGB in [0, 1] in and out',
  ]
  whose = weights.rights(training).values()
  if whose and output.suffix == '.pth':
    lines.append(f'  not in a .pth file: {", ".join(whose)}')
  notes = exports.back_projection_notes(training)
  return lines + [f'  {note}' for note in notes]


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = cli.parser(__doc__)
  parser.add_argument('source', metavar='OURS')
  parser.add_argument(
    '-o', '--output', type=pathlib.Path, required=True, metavar='OUT'
  )
  options = parser.parse_args(arguments)
  with cli.failing_in_a_line('export_torch'):
    lines = export(options.source, options.output)
  print('\n'.join(lines))


if __name__ == '__main__':
  cli.run(main)
