"""Crops of methods side by side, as the paper's figures 2 and 6.

  python -m srgan_jax.evaluation.panels --hr Set14/HR --method SRResNet=FILE \
    --method SRGAN=FILE --crop img_001:220,80,96,96 --crop img_014 -o figure.png
  python -m srgan_jax.evaluation.panels --hr Set14/HR --method SRGAN=FILE \
    --full -o figures/

Columns are bicubic, the methods in the order given, and the original; PSNR and
SSIM in brackets are the whole image's, by the protocol `paper`. A crop is
IMAGE:LEFT,TOP,WIDTH,HEIGHT in pixels of the original, or IMAGE alone for the
square of 96 pixels that bicubic interpolation misses most; without --crop every
image has such a row. Into a folder, every image gets a picture of its own;
--full shows images whole, as the paper's supplement does. A method is a weights
file, a shipped generator's name or a folder of finished images.

Images are uint8 [h, w, 3], RGB, and appear pixel for pixel: never resampled, at
most repeated by a whole number. Regions are (left, top, width, height) in
pixels of HR. Drawn with Pillow alone; for letters such as é and β with
Matplotlib's font, where that is installed.
"""

import argparse
from collections.abc import Mapping, Sequence
import contextlib
import math
import pathlib
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from srgan_jax import cli, files
from srgan_jax.evaluation import benchmarks, methods, metrics
from srgan_jax.evaluation.benchmarks import Pair
from srgan_jax.evaluation.methods import Method, bicubic
from srgan_jax.imaging import opening

Region = tuple[int, int, int, int]
Row = Sequence[tuple[np.ndarray, str]]

_SIDE = 96  # of the squares that are chosen
_FONT_SIZES = range(28, 11, -1)  # the largest at which the texts fit is taken
_TEXT_WIDTH = 0.94  # of its column, at most
_MOST_MEGAPIXELS = 500  # of a figure: 1.5 GB
_INK = (0, 0, 0)
_CAPTION_INK = (64, 64, 64)
_PAPER = (255, 255, 255)
_FOOTER = 'in brackets: PSNR / SSIM of the whole image, protocol paper'


def caption(scores: Mapping[str, float]) -> str:
  """The paper's '(21.59 dB / 0.6423)' from what `evaluation.score` returns."""
  return f'({scores["psnr"]:.2f} dB / {scores["ssim"]:.4f})'


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
    ValueError: for a zoom below 1, or a figure that is too large.
  """
  if zoom < 1:
    raise ValueError(f'zoom must be a whole number from 1 on, not {zoom}')
  texts = [*columns, *(text for row in rows for _, text in row)]
  widest = zoom * max(row[0][0].shape[1] for row in rows)
  font, size, column = _fit(texts, widest)
  margin, line, above_image = size, round(1.3 * size), round(0.3 * size)
  column_gap, row_gap = max(4, round(0.5 * size)), round(0.9 * size)
  lefts = [margin + i * (column + column_gap) for i in range(len(columns))]
  heights = [
    line * any(text for _, text in row) + zoom * row[0][0].shape[0] + row_gap
    for row in rows
  ]
  width = max(
    lefts[-1] + column + margin,
    2 * margin + math.ceil(font.getlength(footer)),
  )
  height = 2 * margin + line + above_image + sum(heights) - row_gap
  height += line * bool(footer)
  figure = _blank(width, height)
  pen = ImageDraw.Draw(figure)

  def write(texts: Sequence[str], y: int, ink: tuple[int, ...]) -> None:
    for left, text in zip(lefts, texts, strict=True):
      middle = left + column // 2
      pen.text((middle, y), text, fill=ink, font=font, anchor='ms')

  write(columns, margin + size, _INK)
  top = margin + line + above_image
  for row, row_height in zip(rows, heights, strict=True):
    below = top + row_height
    write([text for _, text in row], top - above_image + size, _CAPTION_INK)
    for left, (image, _) in zip(lefts, row, strict=True):
      enlarged = image.repeat(zoom, axis=0).repeat(zoom, axis=1)
      x = left + (column - enlarged.shape[1]) // 2
      y = below - row_gap - enlarged.shape[0]
      figure.paste(Image.fromarray(enlarged), (x, y))
    top = below
  place = margin, height - margin
  pen.text(place, footer, fill=_CAPTION_INK, font=font, anchor='ls')
  return figure


def _blank(width: int, height: int) -> Image.Image:
  if width * height > 1e6 * _MOST_MEGAPIXELS:
    raise ValueError(
      f'a figure of {width}x{height} pixels is over the limit of '
      f'{_MOST_MEGAPIXELS} megapixels: take a smaller zoom or fewer images'
    )
  return Image.new('RGB', (width, height), _PAPER)


def _fit(texts: Sequence[str], widest: int) -> tuple[Any, int, int]:
  """The largest font at which texts are no wider than the images.

  Returns the font, its size and the width of a column, both in pixels.
  """
  for size in _FONT_SIZES:
    font = _font(texts, size)
    longest = max(map(font.getlength, texts))
    if longest <= _TEXT_WIDTH * widest:
      break
  return font, size, max(widest, math.ceil(longest / _TEXT_WIDTH))


def _font(texts: Sequence[str], size: int) -> Any:
  """Pillow's own font; Matplotlib's for letters that this one lacks."""
  if not ''.join(texts).isascii():
    with contextlib.suppress(ImportError):
      import matplotlib

      file = f'{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf'
      return ImageFont.truetype(file, size)
  return ImageFont.load_default(size)


def compare(
  rows: Sequence[tuple[Pair, Region]],
  columns: Sequence[Method],
  *,
  zoom: int = 1,
) -> Image.Image:
  """Draws a row an image, a column a method, and the original, named, last.

  The captions are the scores by the protocol `paper`; `zoom` is that of
  `panel`.

  Raises:
    ValueError: naming the image, for a region that does not lie inside or an
      image that cannot be scored.
  """
  cells = []
  for pair, (left, top, width, height) in rows:
    _check_region(pair, left, top, width, height)
    window = slice(top, top + height), slice(left, left + width)
    row = []
    for method in columns:
      sr = method.upscale(pair)
      row.append((sr[window], caption(metrics.score(sr, pair.hr, 'paper'))))
    cells.append([*row, (pair.hr[window], pair.name)])
  headings = [*(method.name for method in columns), 'original']
  return panel(headings, cells, zoom=zoom, footer=_FOOTER)


def centre(pair: Pair, largest: int) -> Region:
  """The middle, at most `largest` pixels a side."""
  height, width = (min(side, largest) for side in pair.hr.shape[:2])
  top, left = (pair.hr.shape[0] - height) // 2, (pair.hr.shape[1] - width) // 2
  return left, top, width, height


def hardest(pair: Pair, side: int = _SIDE) -> Region:
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


def _check_region(
  pair: Pair, left: int, top: int, width: int, height: int
) -> None:
  rows, columns = pair.hr.shape[:2]
  if not (
    0 <= left < left + width <= columns and 0 <= top < top + height <= rows
  ):
    raise ValueError(
      f'{pair.name} has {columns}x{rows} pixels; the region {width}x{height} '
      f'at {left},{top} is not inside'
    )


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
  is_one = options.output.suffix.lower() == '.png'
  if not is_one and opening.is_image(options.output.name):
    raise ValueError(f'{options.output}: panels are .png files')
  benchmark = benchmarks.Benchmark(options.hr, options.lr)
  crops = options.crop or [(name, None) for name in benchmark.names]
  models = methods.parse(['bicubic=bicubic', *options.method])
  columns = [
    methods.open_method(model, benchmark, name)
    for name, model in models.items()
  ]
  folder = options.output.parent if is_one else options.output
  groups: dict[pathlib.Path, list[tuple[str, Region | None]]] = {}
  for name, region in crops:
    if name not in benchmark.names:
      raise ValueError(
        f'{options.hr} has no image {name!r}: {", ".join(benchmark.names)}'
      )
    path = options.output if is_one else folder / f'{name}.png'
    groups.setdefault(path, []).append((name, region))
  files.make_folder(folder)
  inputs = benchmarks.input_files(options.hr, options.lr, *models.values())
  for path in groups:
    files.require_place(path, *inputs)
  zoom = options.zoom or (1 if options.full else 3)
  for path, chosen in groups.items():
    rows = []
    for name, region in chosen:
      pair = benchmark[benchmark.names.index(name)]
      if options.full:
        region = centre(pair, max(pair.hr.shape))
      rows.append((pair, region or hardest(pair)))
    image = compare(rows, columns, zoom=zoom)
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
  zoom = cli.number(1, 100)
  add('--zoom', type=zoom, help='3, and 1 with --full, by default')
  add(
    '-o',
    '--output',
    type=pathlib.Path,
    required=True,
    metavar='PNG',
    help='a .png file, or a folder for a picture an image',
  )
  options = parser.parse_args(arguments)
  with cli.failing_in_a_line('panels'):
    written = draw(options)
  for path in written:
    print(f'wrote {path}')


if __name__ == '__main__':
  cli.run(main)
