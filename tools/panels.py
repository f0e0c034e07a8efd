"""Crops of methods side by side, as the paper's figures 2 and 6.

  python tools/panels.py --hr Set14/HR --method SRResNet=FILE \
    --method SRGAN=FILE --crop img_001:220,80,96,96 --crop img_014 -o figure.png
  python tools/panels.py --hr Set14/HR --method SRGAN=FILE --full -o figures/

Columns are bicubic, the methods in the order given, and the original; PSNR and
SSIM in brackets are the whole image's. A crop is IMAGE:LEFT,TOP,WIDTH,HEIGHT
in pixels of the original, or IMAGE alone for the square that bicubic
interpolation misses most; without --crop every image has such a row. Into a
folder, every image gets a picture of its own; --full shows images whole, as
the paper's supplement does. A method is a weights file, a shipped generator's
name or a folder of finished images.
"""

import argparse
from collections.abc import Sequence
import pathlib
import sys

from srgan_jax import files
from srgan_jax.evaluation import comparison, methods, metrics, pairs


def parse_crop(text: str) -> tuple[str, comparison.Region | None]:
  """'IMAGE:LEFT,TOP,WIDTH,HEIGHT' or 'IMAGE'.

  Raises:
    argparse.ArgumentTypeError: for another form.
  """
  name, _, numbers = text.partition(':')
  if not numbers:
    return name, None
  try:
    left, top, width, height = map(int, numbers.split(','))
  except ValueError as error:
    raise argparse.ArgumentTypeError(
      f'{text!r} is not IMAGE:LEFT,TOP,WIDTH,HEIGHT'
    ) from error
  return name, (left, top, width, height)


def draw(options: argparse.Namespace) -> list[pathlib.Path]:
  """Writes what the options ask for; returns the files.

  Raises:
    ValueError: one line naming the file, the image or the method.
  """
  benchmark = pairs.Benchmark(options.hr, options.lr)
  crops = options.crop or [(name, None) for name in benchmark.names]
  for name, _ in crops:
    if name not in benchmark.names:
      raise ValueError(
        f'{options.hr} has no image {name!r}: {", ".join(benchmark.names)}'
      )
  models = {'bicubic': 'bicubic'} | methods.parse(options.method)
  columns = [
    methods.open_method(model, benchmark, name)
    for name, model in models.items()
  ]
  is_one = options.output.suffix == '.png'
  folder = options.output.parent if is_one else options.output
  folder.mkdir(parents=True, exist_ok=True)
  groups = {
    options.output if is_one else folder / f'{name}.png': []
    for name, _ in crops
  }
  for path, rows in groups.items():
    for name, region in crops:
      if is_one or path.stem == name:
        pair = benchmark[benchmark.names.index(name)]
        if options.full:
          region = comparison.whole(pair)
        rows.append((pair, region or comparison.hardest(pair, options.side)))
    image = comparison.compare(
      rows, columns, protocol=options.protocol, zoom=options.zoom
    )
    with files.replacing(path) as beside:
      image.save(beside, format='PNG')
  return list(groups)


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add('--hr', required=True, metavar='DIR', help='the originals')
  add('--lr', metavar='DIR', help='their low-resolution images')
  add('--method', action='append', default=[], metavar='NAME=MODEL')
  shown = parser.add_mutually_exclusive_group()
  shown.add_argument(
    '--crop', type=parse_crop, action='append', default=[], metavar='CROP'
  )
  shown.add_argument('--full', action='store_true', help='show images whole')
  add('--side', type=int, default=96, help='of the squares that are chosen')
  add('--zoom', type=int, help='3, and 1 with --full, by default')
  add('--protocol', choices=metrics.PROTOCOLS, default='paper')
  add(
    '-o',
    '--output',
    type=pathlib.Path,
    required=True,
    metavar='PNG',
    help='a .png file, or a folder for a picture an image',
  )
  options = parser.parse_args(arguments)
  options.zoom = options.zoom or (1 if options.full else 3)
  try:
    written = draw(options)
  except (ValueError, OSError, FloatingPointError, MemoryError) as error:
    sys.exit(f'panels: {error}')
  for path in written:
    print(f'wrote {path}')


if __name__ == '__main__':
  main()
