"""Scores a method on a benchmark.

  srgan-evaluate --model bicubic --hr Set5/HR --lr Set5/LRx4
  srgan-evaluate --model generator.safetensors --hr Set14/HR \
    --protocol paper,y,rgb --lpips lpips_alex.safetensors --json set14.json
  srgan-evaluate --sr theirs/Set5 --hr Set5/HR

Without --lr, LR images are made from the originals by MATLAB's imresize. With
--degrade they then suffer what photos do (`evaluation.degraded`). The protocols
are defined in docs/protocols.md.
"""

import argparse
from collections.abc import Sequence
import pathlib
import sys
from typing import TYPE_CHECKING

import srgan_jax
from srgan_jax import cli, files

if TYPE_CHECKING:
  from srgan_jax.evaluation import benchmarks, methods


def start() -> None:
  """The command: scores what `sys.argv` says."""
  cli.run(main)


def main(arguments: Sequence[str] | None = None) -> int:
  """The command; its exit status, 1 if an image or a figure is missing."""
  options = _parser().parse_args(arguments)
  cli.print_any_name()
  try:
    return int(_run(options))
  except cli.FAULTS as error:
    _say(error)
    return 1


def _parser() -> argparse.ArgumentParser:
  parser = cli.parser(__doc__, 'srgan-evaluate')
  cli.add_information(parser)
  add = parser.add_argument
  method = parser.add_mutually_exclusive_group(required=True)
  method.add_argument(
    '--model',
    help="'bicubic', 'nearest', a shipped or published generator's name or a "
    'weights file',
  )
  method.add_argument(
    '--sr', metavar='DIR', help='a folder of images that are upscaled already'
  )
  add('--hr', required=True, metavar='DIR', help='the originals')
  add('--lr', metavar='DIR', help='their low-resolution images')
  cli.add_generator_options(parser, back_project=0)
  add(
    '--degrade',
    type=_steps,
    default=[],
    metavar='STEP,...',
    help='what LR suffers, in order: jpegQ of quality Q, noiseN of N levels',
  )
  add(
    '--protocol',
    type=_protocols,
    metavar='NAME,...',
    help='of paper, y, rgb (docs/protocols.md); all by default',
  )
  add(
    '--metric',
    '--lpips',
    action='append',
    default=[],
    metavar='FILE',
    help='LPIPS, DISTS or NIQE too, by a file of srgan_jax.convert; repeatable',
  )
  add(
    '--max-megapixels',
    type=cli.number(1e-6, 10**9, float),
    metavar='N',
    help='the largest image that is read; 250 by default',
  )
  add('--json', type=pathlib.Path, metavar='FILE', help='also write JSON')
  add('--csv', type=pathlib.Path, metavar='FILE', help='also write CSV')
  return parser


def _run(options: argparse.Namespace) -> bool:
  """Evaluates; whether an image was left out, or not measured in full."""
  # Not before the arguments are read: help comes without JAX.
  from srgan_jax.evaluation import benchmarks, degraded, metrics, report
  from srgan_jax.imaging import opening

  _check(options)
  protocols = options.protocol or metrics.PROTOCOLS
  left_out: list[str] = []
  benchmark = benchmarks.Benchmark(
    options.hr,
    options.lr,
    protocols=protocols,
    left_out=left_out,
    max_megapixels=options.max_megapixels or opening.MAX_MEGAPIXELS,
  )
  method = _open_method(options, benchmark)
  distances = report.load_distances(options.metric)
  for line in benchmark.passed_over:
    _say(line)
  said = len(left_out)
  for line in left_out:
    _say(f'left out: {line}')
  pairs = cli.progress(benchmark, unit='image', leave=False)
  result = report.evaluate(
    method,
    (degraded.degrade(pair, options.degrade) for pair in pairs),
    protocols,
    distances,
    left_out,
    unmeasured=[],
  )
  source = options.lr or 'made by imresize'
  print(f'{method.name} ({method.origin})')
  print(f'HR: {options.hr}; LR: {", ".join([source, *options.degrade])}')
  print(result.table())
  for line in left_out[said:]:
    _say(f'left out: {line}')
  for line in result.unmeasured:
    _say(f'not measured: {line}')
  if options.json:
    facts = {'hr': options.hr, 'lr': source, 'degrade': options.degrade}
    whole = {'version': srgan_jax.__version__, **facts, **result.as_json()}
    files.write_json(options.json, whole)
  if options.csv:
    files.write_text(options.csv, result.as_csv())
  return bool(left_out or result.unmeasured)


def _open_method(
  options: argparse.Namespace, benchmark: 'benchmarks.Benchmark'
) -> 'methods.Method':
  from srgan_jax.convert import published
  from srgan_jax.evaluation import methods

  if options.sr:
    return methods.finished(pathlib.Path(options.sr), benchmark)
  published.provide(options.model, print)
  return methods.open_method(
    options.model,
    benchmark,
    strength=options.strength,
    back_project=options.back_project,
  )


def _check(options: argparse.Namespace) -> None:
  """Refuses options that do not go together, and files that are read."""
  from srgan_jax.evaluation import benchmarks, methods

  is_finished = options.sr or methods.is_finished(options.model)
  no_generator = is_finished or options.model in methods.BASELINES
  if no_generator and (options.strength != 1 or options.back_project):
    raise ValueError('--strength and --back-project are for generators alone')
  if is_finished and options.degrade:
    raise ValueError(
      f'--degrade changes LR, and {options.sr or options.model} is upscaled '
      'already'
    )
  inputs = benchmarks.input_files(
    options.hr, options.lr, options.sr, options.model, *options.metric
  )
  if options.json:
    files.require_place(options.json, *inputs)
  if options.csv:
    files.require_place(options.csv, options.json, *inputs)


def _protocols(text: str) -> list[str]:
  from srgan_jax.evaluation import metrics

  names = text.split(',')
  for name in names:
    if name not in metrics.PROTOCOLS:
      raise argparse.ArgumentTypeError(
        f'{name!r} is not one of {", ".join(metrics.PROTOCOLS)}'
      )
  return list(dict.fromkeys(names))


def _steps(text: str) -> list[str]:
  from srgan_jax.evaluation import degraded

  try:
    return degraded.parse(text)
  except ValueError as error:
    raise argparse.ArgumentTypeError(str(error)) from error


def _say(what: object) -> None:
  print(cli.visible(f'evaluate: {what}'), file=sys.stderr)


if __name__ == '__main__':
  start()
