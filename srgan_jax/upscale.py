"""Upscales pictures with a trained generator: the command.

  srgan-upscale IN... [-o OUT] [--model NAME|FILE] [--scale X]

IN: pictures, folders (all pictures in them, the structure kept) or - for
standard input; OUT: a folder, a file for a single picture, or - for standard
output. Without OUT, photo.jpg becomes photo_x4.jpg. A picture is written in its
own format with all that it kept (docs/upscaling.md). The call from Python is
`srgan_jax.load`.
"""

import argparse
from collections.abc import Sequence
import hashlib
import pathlib
import sys
from typing import TYPE_CHECKING, Any, get_args

import tqdm

from srgan_jax import SCALE, cli, files, pretrained, upscaling

if TYPE_CHECKING:
  from srgan_jax.upscaling import planning


def start() -> None:
  """The command: upscales what `sys.argv` says."""
  cli.run(main)


def main(arguments: Sequence[str] | None = None) -> int:
  """The command; its exit status."""
  options = _parser().parse_args(arguments)
  cli.print_any_name()
  # Not before the arguments are read: help comes without JAX.
  from srgan_jax.imaging import finding
  from srgan_jax.upscaling import planning

  try:
    plan = _plan(options)
    if options.report:
      pictures = [
        path for job in plan.jobs for path in (job.source, job.target)
      ]
      files.require_place(options.report, options.model, *pictures)
  except (OSError, ValueError) as error:
    _say(cli.one_line(error))
    return 1
  code = _upscale(plan.jobs, options)
  for line in finding.describe(plan.passed_over):
    _say(line)
  if options.report:
    try:
      planning.write_report(options.report, plan.jobs)
    except OSError as error:
      _say(f'{options.report}: {error.strerror}')
      code = code or 1
  return code or int(
    bool(plan.faults)
    or any(job.status == 'failed' for job in plan.jobs)
    or any(item.is_fault for item in plan.passed_over)
  )


def _plan(options: argparse.Namespace) -> 'planning.Plan':
  """Which pictures are made; those that are there already are not.

  Raises:
    ValueError: one line on what cannot be.
  """
  from srgan_jax.upscaling import planning, sizes

  if options.scale and (options.width or options.height):
    raise ValueError('a result has a --scale, or a --width and a --height')
  scale = options.scale or SCALE
  size = sizes.Size(scale, options.width, options.height)
  tail = options.suffix
  if tail is None:
    tail = '' if options.output else f'_{size}'
  plan = planning.plan(
    options.input,
    options.output,
    options.format,
    tail=tail,
    size=size,
    overwrite=options.overwrite,
  )
  for fault in plan.faults:
    _say(fault)
  for job in plan.jobs:
    if job.status == 'failed':
      _say(job.note)
  if skipped := [job for job in plan.jobs if job.status == 'skipped']:
    line = f'{len(skipped)} there already, skipped'
    makers = {job.origin[0] for job in skipped}
    if others := makers - {'', _origin(options)}:
      names = sorted(text.rpartition(' ')[0] for text in others)
      line += f', some made by another model: {", ".join(names)}'
    _say(f'{line} (--overwrite makes them again)')
  return plan


def _origin(options: argparse.Namespace) -> str:
  """The model, and a digest of its weights and of the options with them."""
  digest = hashlib.sha256()
  if not pretrained.is_published(options.model):
    digest.update(pretrained.find(options.model).read_bytes())
  digest.update(f'{options.strength} {options.back_project}'.encode())
  return f'{options.model} {digest.hexdigest()[:16]}'


def _upscale(
  jobs: 'Sequence[planning.Job]', options: argparse.Namespace
) -> int:
  """Makes the pictures that wait; the exit status."""
  if not any(job.status == 'waiting' for job in jobs):
    return 0
  from srgan_jax import runtime
  from srgan_jax.convert import published
  from srgan_jax.upscaling import batch

  try:
    with cli.sigterm_as_ctrl_c():
      runtime.enable_compilation_cache()
      published.provide(options.model, _say)
      upscaler = upscaling.load(
        options.model,
        tile=options.tile,
        precision=options.precision,
        back_project=options.back_project,
        strength=options.strength,
      )
      batch.Batch(
        jobs,
        say=_say,
        quality=options.quality,
        max_megapixels=options.max_megapixels,
        origin=_origin(options),
      ).run(upscaler)
  except (ValueError, OSError) as error:  # of the model, or standard output
    _say(str(error))
    return 1
  except KeyboardInterrupt:
    _say('stopped; pictures that are finished stay')
    return cli.STOPPED
  return 0


def _parser() -> argparse.ArgumentParser:
  parser = cli.parser(__doc__, 'srgan-upscale')
  cli.add_information(parser)
  add = parser.add_argument
  add(
    'input',
    nargs='+',
    type=_path,
    help='pictures, folders, or - for standard input',
  )
  add(
    '-o',
    '--output',
    type=_path,
    help='a folder, a file for a single picture, or - for standard output; '
    'beside the input by default',
  )
  _add_size(parser)
  add(
    '--model',
    default=pretrained.DEFAULT,
    help='a shipped or published name or a generator.safetensors; %(default)s '
    'by default',
  )
  cli.add_generator_options(parser)
  add(
    '--format',
    choices=sorted(upscaling.FORMATS),
    help="of the results; by default each picture's own, PNG for the rest",
  )
  add(
    '--quality',
    type=cli.number(1, 100),
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
    choices=get_args(upscaling.Precision),
    default='float32',
    help='bfloat16 is faster on GPUs and a few levels off; 8-bit pictures only',
  )
  _add_overwrite(parser)
  add('--report', type=pathlib.Path, help='a CSV file with a line a picture')
  add(
    '--max-megapixels',
    type=cli.number(1, 10**9),
    default=upscaling.MAX_MEGAPIXELS,
    help='the largest result that is made; %(default)s by default',
  )
  return parser


def _add_size(parser: argparse.ArgumentParser) -> None:
  add = parser.add_argument
  add(
    '--suffix',
    type=str,  # which may be empty
    help='what names get in front of their ending; by default _x4 (as the '
    'scale is) beside the input, nothing elsewhere',
  )
  add(
    '--scale',
    type=_scale,
    metavar='2|3|4|8|X',
    help='of the result, 4 by default: x4 as often as needed, then the exact '
    'bicubic resize',
  )
  add('--width', type=cli.number(1, 2**20), help='of the result, in its place')
  add(
    '--height',
    type=cli.number(1, 2**20),
    help='likewise; of width and height the other follows',
  )


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
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


def _path(text: str) -> pathlib.Path:
  """A path; ./- is a file, which pathlib would take for standard input."""
  path = pathlib.Path(cli.text(text))
  return path.absolute() if str(path) == '-' != text else path


def _scale(text: str) -> float:
  value = float(text)
  if not 1 <= value <= upscaling.MAX_SCALE:
    raise argparse.ArgumentTypeError(
      f'{text} is not from 1 to {upscaling.MAX_SCALE}'
    )
  return value


def _tile(text: str) -> Any:
  return text if text == 'auto' else cli.number(1, 2**20)(text)


def _say(line: str) -> None:
  tqdm.tqdm.write(cli.visible(f'srgan-upscale: {line}'), file=sys.stderr)


if __name__ == '__main__':
  start()
