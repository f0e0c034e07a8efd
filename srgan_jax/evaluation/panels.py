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
import dataclasses
import math
import pathlib
from typing import Any

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
  footer: str = '',
) -> Image.Image:
  """Draws rows of images of one size each, under a heading per column.

  Args:
    columns: the headings.
    rows: for each row, one (image, caption) per column; the images uint8
      [h, w, 3], of one size within a row; a caption is one line, or ''.
    zoom: how often every pixel is repeated along both axes.
    footer: a line below all, or none.

  Raises:
    ValueError: without columns or rows, for a row with another number of cells
      than there are columns, an image of another dtype or shape, or a zoom
      below 1.
  """
  _check(columns, rows, zoom)
  texts = [*columns, *(text for row in rows for _, text in row)]
  grid = _Grid.fitting(texts, zoom * max(row[0][0].shape[1] for row in rows))
  width = grid.left(len(columns)) - grid.column_gap + grid.margin
  if footer:
    width = max(width, 2 * grid.margin + math.ceil(grid.font.getlength(footer)))
  height = 2 * grid.margin + grid.line + grid.above_image - grid.row_gap
  height += sum(grid.height(row, zoom) for row in rows)
  height += grid.line * bool(footer)

  figure = Image.new('RGB', (width, height), _PAPER)
  pen = ImageDraw.Draw(figure)
  grid.write(pen, columns, grid.margin + grid.size, _INK)
  top = grid.margin + grid.line + grid.above_image
  for row in rows:
    below = top + grid.height(row, zoom)
    grid.write(
      pen,
      [text for _, text in row],
      top - grid.above_image + grid.size,
      _CAPTION_INK,
    )
    for i, (image, _) in enumerate(row):
      enlarged = image.repeat(zoom, axis=0).repeat(zoom, axis=1)
      left = grid.left(i) + (grid.column - enlarged.shape[1]) // 2
      y = below - grid.row_gap - enlarged.shape[0]
      figure.paste(Image.fromarray(enlarged), (left, y))
    top = below
  place = grid.margin, height - grid.margin
  pen.text(place, footer, fill=_CAPTION_INK, font=grid.font, anchor='ls')
  return figure


@dataclasses.dataclass(frozen=True)
class _Grid:
  """Where columns and lines stand, in pixels, by the font's size."""

  font: Any
  size: int
  column: int

  @classmethod
  def fitting(cls, texts: Sequence[str], widest: int) -> '_Grid':
    """With the largest font at which texts are no wider than the images."""
    for size in _FONT_SIZES:
      font = ImageFont.load_default(size)
      longest = max(map(font.getlength, texts))
      if longest <= _TEXT_WIDTH * widest:
        break
    return cls(font, size, max(widest, math.ceil(longest / _TEXT_WIDTH)))

  @property
  def margin(self) -> int:
    return self.size

  @property
  def line(self) -> int:
    return round(1.3 * self.size)

  @property
  def above_image(self) -> int:
    return round(0.3 * self.size)

  @property
  def column_gap(self) -> int:
    return max(4, round(0.5 * self.size))

  @property
  def row_gap(self) -> int:
    return round(0.9 * self.size)

  def height(self, row: Row, zoom: int) -> int:
    """Of a row's captions, if there are any, its images and the gap below."""
    captions = self.line * any(text for _, text in row)
    return captions + zoom * row[0][0].shape[0] + self.row_gap

  def left(self, index: int) -> int:
    """Where a column begins."""
    return self.margin + index * (self.column + self.column_gap)

  def write(
    self, pen: ImageDraw.ImageDraw, texts: Sequence[str], y: int, ink: tuple
  ) -> None:
    """A line of text, each in the middle of its column."""
    for i, text in enumerate(texts):
      middle = self.left(i) + self.column // 2
      pen.text((middle, y), text, fill=ink, font=self.font, anchor='ms')


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

  The protocol's scores are the captions and its name the footer; `zoom` is that
  of `panel`.

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
  with cli.failing_in_a_line('panels'):
    written = draw(options)
  for path in written:
    print(f'wrote {path}')


if __name__ == '__main__':
  cli.run(main)
