"""Averages the weights of generators that a chain of runs went through.

  python -m srgan_jax.paper.averaging runs/a/generator_best.safetensors \
    runs/b/generator_best.safetensors -o mean.safetensors \
    [--data 'tar:photos/*.tar'] [--dtype float16]

During a GAN stage G circles about what D lets pass; the mean of its weights at
several times is often better than any of them (Izmailov et al. 2018, stochastic
weight averaging). Generators that were trained apart have no such mean. The
mean's own feature maps have other batch statistics than the mean of theirs:
`--data` measures them anew (there, section 3.2).
"""

from collections.abc import Mapping, Sequence
import functools
import pathlib
from typing import Any, get_args

import jax
import jax.numpy as jnp

from srgan_jax import cli, files, pretrained, weights
from srgan_jax.data import batch, draw, loader, opening
from srgan_jax.models import layers
from srgan_jax.models.generator import Generator
from srgan_jax.upscaling import back_projection

_CROPS = 1024  # of the paper's size, for the batch statistics
_CROP_SIZE = 96


def average(
  files: Sequence[str],
  output: pathlib.Path,
  dtype: weights.Dtype,
  data: str = '',
) -> None:
  """Writes the mean of generators, with the training record of each.

  It is of all their labels, authors and licences, and recommends the
  back-projections that all of them do.

  Batch statistics are measured on the photos of `data` (`opening.open_source`);
  without any they are the mean of the generators' own.

  Raises:
    ValueError: one line, where there is only one, a file is no generator,
      architectures differ, generators were trained apart, or there are no such
      photos.
  """
  if len(files) < 2:
    raise ValueError(f'a mean takes two generators or more, not {files[0]}')
  parts = []
  for name in files:
    generator, variables, metadata = weights.load_generator(
      pretrained.find(name)
    )
    back_projection.recommended(metadata['training'], name)
    parts.append((name, variables, metadata))
  mean = weights.mix(parts, [1 / len(files)] * len(files))
  records = [metadata['training'] for *_, metadata in parts]
  training: dict[str, Any] = describe(records) | {'mean_of': records}
  if data:
    source = opening.open_source(data, min_size=_CROP_SIZE)
    drawn = draw.draw(
      0, 0, sizes=source.sizes, batch_size=_CROPS, crop_size=_CROP_SIZE
    )
    crops = loader.host_batch(source, drawn, crop_size=_CROP_SIZE)
    mean['batch_stats'] = measure(generator, mean, **crops)
    training['statistics'] = {'crops': _CROPS, 'images': len(source)}
  weights.save_generator(
    output,
    mean,
    architecture=metadata['architecture'],
    training=training,
    dtype=dtype,
  )


def describe(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """What the training records of a mean's parts say of the mean itself."""

  def stated(key: str) -> list[str]:
    texts = (str(record.get(key) or '') for record in records)
    return list(dict.fromkeys(text for text in texts if text))

  described: dict[str, Any] = {
    key: ' + '.join(texts)
    for key in ('label', 'author')
    if (texts := stated(key))
  }
  if licences := stated('licence'):
    if not all(record.get('licence') for record in records):
      licences.append('not stated')
    parts = ' + '.join(licences)
    described['licence'] = f'of its parts: {parts}' if licences[1:] else parts
  rounds = [record.get('back_project', 0) for record in records]
  if rounds[0] and all(count == rounds[0] for count in rounds):
    described['back_project'] = rounds[0]
  return described


@functools.partial(jax.jit, static_argnums=0)
def measure(
  generator: Generator, variables: Any, crop: jax.Array, symmetry: jax.Array
) -> Any:
  """A generator's batch statistics, float32, over one batch.

  The batch is as `batch.make_batch` takes it.
  """
  lr = batch.make_batch(crop, symmetry).lr
  zeros = jax.tree.map(jnp.zeros_like, variables['batch_stats'])
  with jax.default_matmul_precision('highest'):
    _, updated = generator.apply(
      {'params': variables['params'], 'batch_stats': zeros},
      lr,
      train=True,
      mutable=['batch_stats'],
    )
  return jax.tree.map(
    lambda x: x / (1 - layers.MOMENTUM), updated['batch_stats']
  )


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = cli.parser(__doc__)
  add = parser.add_argument
  add('files', nargs='+', help='weights files or shipped names')
  add('-o', '--output', required=True, type=pathlib.Path, help='the file')
  add('--data', help='photos to measure batch statistics on')
  add('--dtype', choices=get_args(weights.Dtype), default='float32')
  options = parser.parse_args(arguments)
  with cli.failing_in_a_line('average_generators'):
    files.require_place(options.output, *map(pretrained.find, options.files))
    average(options.files, options.output, options.dtype, options.data or '')
  print(f'wrote {options.output}: the mean of {len(options.files)}')


if __name__ == '__main__':
  cli.run(main)
