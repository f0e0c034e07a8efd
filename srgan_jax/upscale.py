"""Upscales pictures by 4 with a trained generator: the command.

  python -m srgan_jax.upscale IN... -o OUT [--model srgan|srresnet|NAME|FILE]

IN: pictures, folders (all pictures in them, the structure kept) or - for
standard input; OUT: a folder, a file for a single picture, or - for standard
output. A picture is written in its own format with all that it kept
(docs/upscaling.md). The call from Python is `srgan_jax.load`.
"""

import argparse
from collections.abc import Sequence
import os
import pathlib
import sys
from typing import Any, get_args

import tqdm

from srgan_jax import cli, files, pretrained, runtime
from srgan_jax.convert import published
from srgan_jax.imaging import finding
from srgan_jax.upscaling import Precision, load, planning
from srgan_jax.upscaling.batch import MAX_MEGAPIXELS, Batch
from srgan_jax.upscaling.planning import FORMATS, STANDARD


def main(arguments: Sequence[str] | None = None) -> int:
  """The command; returns its exit status."""
  options = _parser().parse_args(arguments)
  cli.print_any_name()
  try:
    plan = planning.plan(options.input, options.output, options.format)
    if options.report:
      files.require_place(options.report)
  except ValueError as error:
    _say(str(error))
    return 1
  jobs = plan.jobs
  for fault in plan.faults:
    _say(fault)
  for job in jobs:
    if job.status == 'failed':
      _say(job.note)
    elif not options.overwrite and _exists(job.target):
      job.status = 'skipped'
  if skipped := sum(job.status == 'skipped' for job in jobs):
    _say(f'{skipped} there already, skipped (--overwrite makes them again)')
  batch = Batch(
    jobs,
    say=_say,
    quality=options.quality,
    max_megapixels=options.max_megapixels,
  )
  code = 0
  try:
    with cli.sigterm_as_ctrl_c():
      if any(job.status == 'waiting' for job in jobs):
        runtime.enable_compilation_cache()
        published.provide(options.model, _say)
        batch.run(
          load(
            options.model,
            tile=options.tile,
            precision=options.precision,
            back_project=options.back_project,
            strength=options.strength,
          )
        )
  except ValueError as error:  # of the model
    _say(str(error))
    code = 1
  except KeyboardInterrupt:
    _say('stopped; pictures that are finished stay')
    code = cli.STOPPED
  for line in finding.describe(plan.passed_over):
    _say(line)
  if options.report:
    try:
      planning.write_report(options.report, jobs)
    except OSError as error:
      _say(f'{options.report}: {error.strerror}')
      code = code or 1
  if code == cli.STOPPED and arguments is None:
    # As a program: Python's own end would wait for the tiles under way.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
  return code or int(
    bool(plan.faults)
    or any(job.status == 'failed' for job in jobs)
    or any(item.is_fault for item in plan.passed_over)
  )


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog='srgan-upscale', description='Upscales pictures by 4.'
  )
  add = parser.add_argument
  add(
    'input',
    nargs='+',
    type=pathlib.Path,
    help='pictures, folders, or - for standard input',
  )
  add(
    '-o',
    '--output',
    required=True,
    type=pathlib.Path,
    help='a folder, a file for a single picture, or - for standard output',
  )
  add(
    '--model',
    default=pretrained.DEFAULT,
    help='a shipped or published name or a generator.safetensors; %(default)s '
    'by default',
  )
  cli.add_generator_options(parser)
  add(
    '--format',
    choices=sorted(FORMATS),
    help="of the results; by default each picture's own, PNG for the rest",
  )
  add(
    '--quality',
    type=_number(1, 100),
    help='of JPEG, WebP and AVIF, 1 to 100; 95 by default, AVIF 90',
  )
  add(
    '--tile',
    type=_tile,
    default='auto',
    help='side of the tiles in pixels; by default as memory allows',
  )
  add(
    '--precision',
    choices=get_args(Precision),
    default='float32',
    help='bfloat16 is faster on GPUs and a few levels off; 8-bit pictures only',
  )
  again = parser.add_mutually_exclusive_group()
  again.add_argument(
    '--skip-existing',
    action='store_true',
    help='leave what is there already, so that a stopped command goes on: the '
    'default',
  )
  again.add_argument(
    '--overwrite', action='store_true', help='also make what is there already'
  )
  add('--report', type=pathlib.Path, help='a CSV file with a line a picture')
  add(
    '--max-megapixels',
    type=_number(1, 10**9),
    default=MAX_MEGAPIXELS,
    help=f'the largest result that is made; {MAX_MEGAPIXELS} by default',
  )
  return parser


def _number(low: int, high: int) -> Any:
  def parse(text: str) -> int:
    value = int(text)
    if not low <= value <= high:
      raise argparse.ArgumentTypeError(f'{value} is not in {low}..{high}')
    return value

  parse.__name__ = 'number'  # for argparse's message
  return parse


def _tile(text: str) -> Any:
  return text if text == 'auto' else _number(1, 2**20)(text)


def _exists(target: pathlib.Path) -> bool:
  # A device or a pipe is there to be written to.
  return target != STANDARD and os.path.isfile(target)


def _say(line: str) -> None:
  tqdm.tqdm.write(cli.visible(f'srgan-upscale: {line}'), file=sys.stderr)


if __name__ == '__main__':
  sys.exit(main())
