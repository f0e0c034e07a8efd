"""The paper's opinion test on your own models (docs/opinion_scores.md).

  python -m srgan_jax.mos prepare --hr data/Set5/HR --hr data/Set14/HR \
    --method SRResNet-MSE=FILE --method SRGAN-VGG54=FILE -o study
  python -m srgan_jax.mos serve study
  python -m srgan_jax.mos report study

Needs the extra `mos`.
"""

import argparse
from collections.abc import Callable, Sequence
import pathlib
from typing import Any

from srgan_jax import cli


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  options = _parser().parse_args(arguments)
  with cli.failing_in_a_line('mos', extra='mos'):
    options.run(options)


# Each imports what it needs: a server comes up without JAX, and images are
# made without the extra.


def _prepare(options: argparse.Namespace) -> None:
  from srgan_jax.evaluation import benchmarks, methods
  from srgan_jax.mos import prepare

  calibration = options.calibration
  study = prepare.prepare(
    prepare.open_sets(options.hr, options.lr),
    methods.parse(options.method),
    options.output,
    only={k: v.split(',') for k, v in methods.parse(options.only).items()},
    calibration=benchmarks.list_images(calibration) if calibration else (),
    examples=options.examples,
    repeats=options.repeats,
    seed=options.seed,
    say=print,
  )
  print(
    f'wrote {options.output}: {len(study.versions)} images, '
    f'{len(study.files)} ratings a rater with the repeated ones, '
    f'{len(study.examples)} examples'
  )


def _serve(options: argparse.Namespace) -> None:
  from srgan_jax.mos import server, study

  folder = options.study
  server.serve(folder, study.load(folder), host=options.host, port=options.port)


def _report(options: argparse.Namespace) -> None:
  from srgan_jax.mos import report

  output = options.output or options.study / 'report'
  print(
    report.write(
      options.study, output, pairing=options.pairs, without=options.without
    )
  )
  print(f'wrote {output}')


def _parser() -> argparse.ArgumentParser:
  parser = cli.parser(__doc__, 'python -m srgan_jax.mos')
  commands = parser.add_subparsers(required=True, metavar='COMMAND')
  for name, run, add_options, purpose in (
    ('prepare', _prepare, _add_prepare_options, 'make the images of a study'),
    ('serve', _serve, _add_serve_options, 'show them to raters'),
    ('report', _report, _add_report_options, 'evaluate their scores'),
  ):
    command = commands.add_parser(name, help=purpose)
    command.set_defaults(run=run)
    add_options(command.add_argument)
  return parser


def _add_prepare_options(add: Callable[..., object]) -> None:
  repeatable: dict[str, Any] = {'action': 'append', 'default': []}
  add(
    '--hr',
    action='append',
    required=True,
    metavar='[NAME=]DIR',
    help='a set of originals; repeatable',
  )
  add(
    '--lr',
    **repeatable,
    metavar='DIR',
    help="each set's LR images; by default LRx4 beside HR, or made from HR",
  )
  add(
    '--method',
    **repeatable,
    metavar='NAME=MODEL',
    help='a weights file, a shipped name, or a folder of finished images '
    '(DIR, or DIR/SET); repeatable. nearest, bicubic and HR are always there',
  )
  add(
    '--only',
    **repeatable,
    metavar='NAME=SET,...',
    help='show a method on these sets alone; repeatable',
  )
  add(
    '--calibration',
    metavar='DIR',
    help="photos for the examples, of no set; by default the package's own",
  )
  add('--examples', type=int, default=20, help='photos at most (20)')
  add(
    '--repeats',
    type=int,
    default=10,
    help='images at most whose versions are shown twice (10)',
  )
  add('--seed', type=int, default=0)
  add('-o', '--output', type=pathlib.Path, required=True, metavar='STUDY')


def _add_serve_options(add: Callable[..., object]) -> None:
  add('study', type=pathlib.Path, metavar='STUDY')
  add(
    '--host',
    default='127.0.0.1',
    help="the address to listen on; others than this machine's own need the "
    'token that is then printed',
  )
  add('--port', type=int, default=8000, help='0 for any that is free')


def _add_report_options(add: Callable[..., object]) -> None:
  add('study', type=pathlib.Path, metavar='STUDY')
  add('-o', '--output', type=pathlib.Path, metavar='DIR')
  add(
    '--pairs',
    choices=('raters', 'ratings'),
    default='raters',
    help="what the tests compare: raters' means, or single ratings",
  )
  add(
    '--without',
    type=_numbers,
    default=(),
    metavar='N,...',
    help='leave these raters out',
  )


def _numbers(text: str) -> list[int]:
  try:
    return [int(number) for number in text.split(',')]
  except ValueError as error:
    raise argparse.ArgumentTypeError(f'{text!r} is not like 7,12') from error


if __name__ == '__main__':
  cli.run(main)
