"""Crops of methods side by side, as the paper's figures 2 and 6.

  python -m srgan_jax.evaluation.panels --hr Set14/HR --method SRResNet=FILE \
    --method SRGAN=FILE --crop img_001:220,80,96,96 --crop img_014 -o figure.png
  python -m srgan_jax.evaluation.panels --hr Set14/HR --method SRGAN=FILE \
    --full -o figures/

Columns are bicubic, the methods in the order given, and the original; PSNR and
SSIM in brackets are the whole image's. A crop is IMAGE:LEFT,TOP,WIDTH,HEIGHT
in pixels of the original, or IMAGE alone for the square that bicubic
interpolation misses most; without --crop every image has such a row. Into a
folder, every image gets a picture of its own; --full shows images whole, as
the paper's supplement does. A method is a weights file, a shipped generator's
name or a folder of finished images.

Images are uint8 [h, w, 3], RGB, and appear pixel for pixel: never resampled, at
most repeated by a whole number. Regions are (left, top, width, height) in
pixels of HR. Drawn with Pillow alone.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
import math
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from srgan_jax import cli, files
from srgan_jax.evaluation import benchmarks, methods, metrics
from srgan_jax.evaluation.benchmarks import Pair
from srgan_jax.evaluation.methods import Method, bicubic

Region = tuple[int, int, int, int]
Cell = tuple[np.ndarray, str]
Row = Sequence[Cell]

_FONT_SIZES = range(28, 11, -1)  # the largest at which the texts fit is taken
_TEXT_WIDTH = 0.94  # of its column, at most
_INK = (0, 0, 0)
_CAPTION_INK = (64, 64, 64)
_PAPER = (255, 255, 255)


def caption(scores: Mapping[str, float]) -> str:
  """The paper's '(21.59 dB / 0.6423)' from what `evaluation.score` returns."""
  texts = []
  if 'psnr' in scores:
    texts.append(f'{scores["psnr"]:.2f} dB')
  if 'ssim' in scores:
    texts.append(f'{scores["ssim"]:.4f}')
  return f'({" / ".join(texts)})' if texts else ''


def panel(
  columns: Sequence[str],
  rows: Sequence[Row],
  *,
  zoom: int = 1,
  font_size: int | None = None,
  footer: str = '',
) -> Image.Image:
  """Draws rows of images of one size each, under a heading per column.

  Args:
    columns: the headings, e.g. 'bicubic', 'SRResNet', 'SRGAN', 'original'.
    rows: for each row, one (image, caption) per column; the images uint8
      [h, w, 3], of one size within a row; the caption, in one line above its
      image, may be empty.
    zoom: how often every pixel is repeated along both axes.
    font_size: in pixels; by default, what fits the columns.
    footer: a line below all, or none.

  Returns:
    An RGB image on white.

  Raises:
    ValueError: without columns or rows, for a row with another number of cells
      than there are columns, an image of another dtype or shape, or a zoom
      below 1.
  """
  _check(columns, rows, zoom)
  texts = [*columns, *(text for row in rows for _, text in row)]
  widest = zoom * max(row[0][0].shape[1] for row in rows)
  if font_size is None:
    font_size = _fitting_size(texts, widest)
  font = ImageFont.load_default(font_size)

  # (1) Measures, all in proportion to the text.
  column_width = max(
    widest, *(math.ceil(font.getlength(text) / _TEXT_WIDTH) for text in texts)
  )
  line = round(1.3 * font_size)
  above_image = round(0.3 * font_size)
  column_gap = max(4, round(0.5 * font_size))
  row_gap = round(0.9 * font_size)
  margin = font_size
  captions = [any(text for _, text in row) for row in rows]
  heights = [
    has_captions * line + zoom * row[0][0].shape[0]
    for has_captions, row in zip(captions, rows, strict=True)
  ]
  width = 2 * margin + len(columns) * (column_width + column_gap) - column_gap
  height = 2 * margin + line + above_image
  height += sum(heights) + (len(rows) - 1) * row_gap
  if footer:
    width = max(width, 2 * margin + math.ceil(font.getlength(footer)))
    height += line

  # (2) Headings.
  figure = Image.new('RGB', (width, height), _PAPER)
  draw = ImageDraw.Draw(figure)
  lefts = [
    margin + index * (column_width + column_gap)
    for index in range(len(columns))
  ]
  baseline = margin + font_size

  def write(text: str, left: int, baseline: int, ink: tuple) -> None:
    middle = left + column_width // 2
    draw.text((middle, baseline), text, fill=ink, font=font, anchor='ms')

  for heading, left in zip(columns, lefts, strict=True):
    write(heading, left, baseline, _INK)

  # (3) Rows: captions, then images centred in their columns.
  top = margin + line + above_image
  for row, has_captions in zip(rows, captions, strict=True):
    if has_captions:
      for (_, text), left in zip(row, lefts, strict=True):
        write(text, left, top - above_image + font_size, _CAPTION_INK)
      top += line
    for (image, _), left in zip(row, lefts, strict=True):
      enlarged = image.repeat(zoom, axis=0).repeat(zoom, axis=1)
      indent = (column_width - enlarged.shape[1]) // 2
      figure.paste(Image.fromarray(enlarged), (left + indent, top))
    top += zoom * row[0][0].shape[0] + row_gap

  # (4) The footer, on the last row's left edge.
  draw.text(
    (margin, height - margin), footer, fill=_CAPTION_INK, font=font, anchor='ls'
  )
  return figure


def _fitting_size(texts: Sequence[str], width: int) -> int:
  for size in _FONT_SIZES:
    font = ImageFont.load_default(size)
    if all(font.getlength(text) <= _TEXT_WIDTH * width for text in texts):
      break
  return size


def _check(columns: Sequence[str], rows: Sequence[Row], zoom: int) -> None:
  if not columns or not rows:
    raise ValueError(
      'a panel needs at least one column and one row, not '
      f'{len(columns)} and {len(rows)}'
    )
  if zoom < 1:
    raise ValueError(f'zoom must be a whole number from 1 on, not {zoom}')
  for index, row in enumerate(rows):
    if len(row) != len(columns):
      raise ValueError(
        f'row {index} has {len(row)} cells for {len(columns)} columns'
      )
    for heading, (image, _) in zip(columns, row, strict=True):
      if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(
          f'row {index}, {heading!r}: an image must be uint8 [h, w, 3], not '
          f'{image.dtype} {list(image.shape)}'
        )
      if image.shape != row[0][0].shape:
        raise ValueError(
          f'row {index}, {heading!r}: the image is {list(image.shape)}, the '
          f'first of its row {list(row[0][0].shape)}'
        )


def compare(
  rows: Sequence[tuple[Pair, Region]],
  columns: Sequence[Method],
  *,
  protocol: str = 'paper',
  zoom: int = 1,
) -> Image.Image:
  """Draws a row an image, a column a method, and the original, named, last.

  Args:
    rows: the images, and what is shown of each.
    columns: the methods, headed by their names.
    protocol: of the scores; its name is written below.
    zoom: how often every pixel is repeated along both axes.

  Raises:
    ValueError: naming the image, for a region that does not lie inside or an
      image that cannot be scored.
  """
  cells = []
  for pair, region in rows:
    cut = _cutter(pair, region)
    row = []
    for method in columns:
      sr = method.upscale(pair)
      scores = metrics.score(sr, pair.hr, protocol)
      row.append((cut(sr), caption(scores)))
    cells.append([*row, (cut(pair.hr), pair.name)])
  headings = [*(method.name for method in columns), 'original']
  measures = ' / '.join(name.upper() for name in scores)
  footer = f'in brackets: {measures} of the whole image, protocol {protocol}'
  return panel(headings, cells, zoom=zoom, footer=footer)


def whole(pair: Pair) -> Region:
  """All of the image."""
  height, width = pair.hr.shape[:2]
  return 0, 0, width, height


def centre(pair: Pair, largest: int) -> Region:
  """The middle, at most `largest` pixels a side."""
  height, width = (min(side, largest) for side in pair.hr.shape[:2])
  top, left = (pair.hr.shape[0] - height) // 2, (pair.hr.shape[1] - width) // 2
  return left, top, width, height


def hardest(pair: Pair, side: int) -> Region:
  """The square of `side` pixels in which bicubic misses the original most."""
  height, width = (min(length, side) for length in pair.hr.shape[:2])
  error = (bicubic(pair).astype(np.float64) - pair.hr) ** 2
  sums = np.pad(error.sum(-1).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
  inside = (
    sums[height:, width:]
    - sums[:-height, width:]
    - sums[height:, :-width]
    + sums[:-height, :-width]
  )
  top, left = np.unravel_index(inside.argmax(), inside.shape)
  return int(left), int(top), width, height


def _cutter(pair: Pair, region: Region) -> Callable[[np.ndarray], np.ndarray]:
  left, top, width, height = region
  rows, columns = pair.hr.shape[:2]
  if (
    min(left, top) < 0
    or min(width, height) < 1
    or left + width > columns
    or top + height > rows
  ):
    raise ValueError(
      f'{pair.name} has {columns}x{rows} pixels; the region {width}x{height} '
      f'at {left},{top} is not inside'
    )
  return lambda image: image[top : top + height, left : left + width]


def parse_crop(text: str) -> tuple[str, Region | None]:
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
  benchmark = benchmarks.Benchmark(options.hr, options.lr)
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
  groups: dict[pathlib.Path, list[tuple[Pair, Region]]] = {
    options.output if is_one else folder / f'{name}.png': []
    for name, _ in crops
  }
  for path, rows in groups.items():
    for name, region in crops:
      if is_one or path.stem == name:
        pair = benchmark[benchmark.names.index(name)]
        if options.full:
          region = whole(pair)
        rows.append((pair, region or hardest(pair, options.side)))
    image = compare(rows, columns, protocol=options.protocol, zoom=options.zoom)
    with files.replacing(path) as beside:
      image.save(beside, format='PNG')
  return list(groups)


@cli.command('panels')
def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = cli.parser(__doc__)
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
  written = draw(options)
  for path in written:
    print(f'wrote {path}')


if __name__ == '__main__':
  cli.run(main)
