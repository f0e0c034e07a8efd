"""Averages the weights of generators that a chain of runs went through.

  python tools/average_generators.py runs/a/generator_best.safetensors \
    runs/b/generator_best.safetensors -o mean.safetensors [--dtype float16]

During a GAN stage G circles about what D lets pass; the mean of its weights at
several times is often better than any of them (Izmailov et al. 2018, stochastic
weight averaging). Generators that were trained apart have no such mean.
"""

import argparse
from collections.abc import Sequence
import pathlib
import sys
from typing import get_args

import jax

from srgan_jax import pretrained, weights


def average(
  sources: Sequence[str], output: pathlib.Path, dtype: weights.Dtype
) -> None:
  """Writes the mean of generators, with the training record of each.

  Args:
    sources: shipped names or weights files, one architecture.
    output: the file.
    dtype: what its tensors are stored as.

  Raises:
    ValueError: one line, where there is only one, a file is no generator, or
      architectures or labels differ.
  """
  if len(sources) < 2:
    raise ValueError(f'a mean takes two generators or more, not {sources[0]}')
  loaded = [weights.load_generator(pretrained.find(name)) for name in sources]
  first = loaded[0][2]
  for name, (_, _, metadata) in zip(sources, loaded, strict=True):
    for fact, ours, theirs in (
      ('architecture', metadata['architecture'], first['architecture']),
      ('label', _label(metadata), _label(first)),
    ):
      if ours != theirs:
        raise ValueError(
          f'{name} has the {fact} {ours}, but {sources[0]} has {theirs}'
        )
  mean = jax.tree.map(
    lambda *leaves: sum(leaves) / len(leaves),
    *(variables for _, variables, _ in loaded),
  )
  weights.save_generator(
    output,
    mean,
    architecture=first['architecture'],
    training={
      'label': _label(first),
      'mean_of': [metadata['training'] for _, _, metadata in loaded],
    },
    dtype=dtype,
  )


def _label(metadata: dict) -> str:
  return metadata['training'].get('label', '')


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add('sources', nargs='+', help='weights files or shipped names')
  add('-o', '--output', required=True, type=pathlib.Path, help='the file')
  add('--dtype', choices=get_args(weights.Dtype), default='float32')
  options = parser.parse_args(arguments)
  try:
    average(options.sources, options.output, options.dtype)
  except (ValueError, OSError) as error:
    sys.exit(f'average_generators: {" ".join(str(error).split())}')
  print(f'wrote {options.output}: the mean of {len(options.sources)}')


if __name__ == '__main__':
  main()
