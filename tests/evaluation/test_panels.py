"""The panel holds every pixel of its images, and text where text belongs."""

import sys

import numpy as np
import pytest

from srgan_jax.evaluation import panels

COLUMNS = ['bicubic', 'SRGAN', 'original']


def _row(height, width, seed, captions=('(21.59 dB / 0.6423)', '(1 dB)', '')):
  rng = np.random.default_rng(seed)
  return [
    (rng.integers(0, 256, (height, width, 3), np.uint8), text)
    for text in captions
  ]


def _find(figure, image):
  """The (top, left) corners at which the image lies in the figure."""
  windows = np.lib.stride_tricks.sliding_window_view(figure, image.shape)
  corner = (windows[:, :, 0, :2, :2] == image[:2, :2]).all((-1, -2, -3))
  return [
    (top, left)
    for top, left in np.argwhere(corner)
    if (windows[top, left, 0] == image).all()
  ]


@pytest.mark.parametrize('zoom', [1, 3])
def test_images_are_pixel_exact_in_rows_and_columns(zoom):
  rows = [_row(20, 40, 0), _row(30, 24, 1)]
  figure = np.asarray(panels.panel(COLUMNS, rows, zoom=zoom))
  corners = []
  for row in rows:
    for image, _ in row:
      enlarged = np.kron(image, np.ones((zoom, zoom, 1), np.uint8))
      (corner,) = _find(figure, enlarged)
      corners.append(corner)
  tops, lefts = np.array(corners).reshape(2, 3, 2).transpose(2, 0, 1)
  assert (tops == tops[:, :1]).all()
  assert tops[1, 0] > tops[0, 0] + 20 * zoom
  # Centred in columns of one width.
  np.testing.assert_array_equal(lefts[1], lefts[0] + (40 - 24) * zoom // 2)
  assert len(set(np.diff(lefts[0]))) == 1


def test_text_stands_over_its_own_column_on_white():
  black = np.zeros((40, 200, 3), np.uint8)
  row = [(black, '(21.59 dB / 0.6423)'), (black, ''), (black, '')]
  figure = np.asarray(panels.panel(['one', '', 'three'], [row]))
  (top, *_), *_ = np.argwhere((figure == 0).all(-1).sum(1) >= 600)
  dark = (figure[:top] < 200).all(-1)
  lines = np.flatnonzero(np.diff(dark.any(1).astype(int)) == 1)
  assert len(lines) == 2  # the heading, the caption
  thirds = np.array_split(np.arange(figure.shape[1]), 3)
  ink = [dark[:, third].sum() for third in thirds]
  assert ink[0] > ink[2] > 0 and ink[1] == 0
  for edge in (figure[0], figure[-1], figure[:, 0], figure[:, -1]):
    assert (edge == 255).all()


def test_columns_widen_for_text_that_is_wider_than_the_images():
  narrow = panels.panel(COLUMNS, [_row(10, 10, 0)])
  assert narrow.width > 3 * 100
  assert panels.panel(COLUMNS, [_row(10, 10, 0, ('', '', ''))]).width < 250


def test_captions_print_the_papers_digits():
  assert panels.caption({'psnr': 21.587, 'ssim': 0.64234}) == (
    '(21.59 dB / 0.6423)'
  )


def test_a_zoom_below_one_is_refused():
  with pytest.raises(ValueError, match='not 0'):
    panels.panel(COLUMNS, [_row(8, 8, 0)], zoom=0)


@pytest.mark.parametrize('zoom', ['0', '-1', '101', 'nan'])
def test_a_zoom_that_makes_no_sense_is_refused_at_once(zoom, capsys):
  with pytest.raises(SystemExit):
    panels.main(['--hr=nowhere', '-o=a.png', f'--zoom={zoom}'])
  assert 'argument --zoom: ' in capsys.readouterr().err


def test_a_figure_too_large_is_refused_before_it_is_drawn():
  with pytest.raises(ValueError, match='over the limit of 500 megapixels'):
    panels.panel(COLUMNS, [_row(96, 96, 0)] * 10, zoom=100)


def test_letters_beyond_english_are_drawn():
  pytest.importorskip('matplotlib', reason='needs the extra figures')
  drawn = {
    panels.panel([letter] * 3, [_row(96, 96, 0)]).tobytes()
    for letter in 'éëβγ'  # where a font lacks them, all are the same box
  }
  assert len(drawn) == 4


def test_without_matplotlib_boxes_stand_for_them(monkeypatch):
  monkeypatch.setitem(sys.modules, 'matplotlib', None)
  assert panels.panel(['é'] * 3, [_row(96, 96, 0)]).width > 3 * 96
