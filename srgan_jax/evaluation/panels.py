"""Pictures side by side with their scores in brackets (paper figures 2 and 6).

Images are uint8 [h, w, 3], RGB, and appear pixel for pixel: never resampled,
at most repeated by a whole number. Drawn with Pillow alone.
"""

from collections.abc import Mapping, Sequence
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

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
