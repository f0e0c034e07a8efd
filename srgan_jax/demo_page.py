"""The page to try a generator on: what it shows, and what its buttons do."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
import functools
import pathlib
import re
import time
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from srgan_jax import SCALE, cli, files, pretrained
from srgan_jax.convert import published
from srgan_jax.imaging import opening, pictures, reading, writing
from srgan_jax.upscaling import Upscaler, load

# What the slider shows has at most this many pixels a side; the download is
# whole.
_SHOWN_SIDE = 4096
_POLL = 0.5  # seconds between two reports of progress
# Choices of back-projection, and what `load` takes for them.
_BACK_PROJECTION = {'as the model recommends': None, 'off': 0, 'on': 1}
_load = functools.lru_cache(maxsize=8)(load)


def page(
  models: Mapping[str, pathlib.Path],
  max_megapixels: float,
  room: Callable[[], bool] = lambda: True,
) -> Any:
  """Builds the page: `gradio.Blocks`, not launched.

  Args:
    models: by the name to choose it by.
    max_megapixels: larger pictures are refused.
    room: whether there is room for one more result.
  """

  def show(
    path: str | None, name: str, strength: float, back_projection: str
  ) -> Iterator[Any]:
    back_project = _BACK_PROJECTION[back_projection]
    open_model = functools.partial(
      _load, models[name], strength=strength, back_project=back_project
    )
    yield from _show(path, max_megapixels, name, open_model, room)

  with gr.Blocks(
    title='srgan_jax: upscale a picture',
    analytics_enabled=False,
  ) as blocks:
    gr.Markdown(
      f'# Upscale a picture x{SCALE}\nPictures stay on the computer that runs '
      'this page, and are deleted when it stops.'
    )
    with gr.Row():
      with gr.Column(scale=1, min_width=300):
        given = _add_choices(list(models), max_megapixels)
        status = gr.Markdown(elem_id='status')
        result = gr.DownloadButton(
          'Download the result (PNG)',
          variant='primary',
          interactive=False,
          elem_id='download',
        )
        _add_examples(given[0])
      with gr.Column(scale=3, min_width=480):
        slider = gr.ImageSlider(
          label='Before and after',
          format='png',
          max_height=720,
          interactive=False,
          buttons=['fullscreen'],
          elem_id='slider',
        )
    gr.on(
      [c.release if isinstance(c, gr.Slider) else c.change for c in given],
      show,
      given,
      [slider, result, status],
      show_progress_on=[slider],
      trigger_mode='always_last',
    )
  return blocks


def _add_choices(names: list[str], max_megapixels: float) -> list[Any]:
  """The components for what `show` takes: picture, model and so on."""
  return [
    gr.File(
      label=f'Picture, up to {max_megapixels:g} megapixels',
      # Not every system knows the suffixes of all that is read.
      file_types=['image', *opening.suffixes()],
      type='filepath',
      height=170,
      elem_id='picture',
    ),
    gr.Radio(names, value=names[0], label='Model', elem_id='model'),
    gr.Slider(0, 1, 1, step=0.1, label='Strength', elem_id='strength'),
    gr.Radio(
      list(_BACK_PROJECTION),
      value=next(iter(_BACK_PROJECTION)),
      label='Back-projection',
      elem_id='back_projection',
    ),
  ]


def _add_examples(picture: Any) -> None:
  """Small pictures to click on, each of which then is the picture."""
  examples = files.PHOTOS / 'validation'
  paths = sorted(str(path) for path in examples.glob('*.png'))
  thumbnails = gr.Dataset(
    components=[gr.Image(visible=False)],
    samples=[[path] for path in paths],
    label='Or try one of these',
    type='index',
  )
  thumbnails.click(lambda i: paths[i], thumbnails, picture)


def _show(
  path: str | None,
  max_megapixels: float,
  name: str,
  open_model: Callable[[], Upscaler],
  room: Callable[[], bool],
) -> Iterator[tuple[Any, Any, str]]:
  """The slider, the download and the line below, until all is done."""
  download = lambda file: gr.DownloadButton(
    value=file, interactive=file is not None
  )
  if path is None:
    yield None, download(None), ''
    return
  try:
    if not room():
      raise ValueError('the folder of pictures is full: try again later')
    lr = _read(path, max_megapixels)
    height, width = lr.pixels.shape[:2]
    before = _shown(lr.pixels, height, width)
    text = f'Upscaling {width} x {height} pixels with {name} …'
    yield (before, before), download(None), _literal(text)
    upscaler = open_model()
    start = time.perf_counter()
    counts: list[int] = []
    with futures.ThreadPoolExecutor(1) as pool:
      task = pool.submit(upscaler, lr.pixels, counts.append)
      while futures.wait([task], _POLL).not_done:
        done = sum(counts) / (height * width)
        yield gr.skip(), gr.skip(), _literal(f'{text} {done:.0%}')
    sr = lr.with_pixels(task.result())
    seconds = time.perf_counter() - start
    after = _shown(sr.pixels, height, width)
    source = pathlib.Path(path)
    model = re.sub(r'[^\w-]', '_', pathlib.Path(name).stem)
    target = source.with_name(f'{source.stem}_x{SCALE}_{model}.png')
    with open(target, 'wb') as file:
      writing.write(sr, file, 'PNG')
    text = (
      f'{SCALE * width} x {SCALE * height} pixels in {seconds:.1f} s. '
      f'Left of the slider: bicubic; right: {name}.'
    )
    text = ' '.join([text, *(f'Note: {note}.' for note in lr.notes)])
    yield (before, after), download(str(target)), _literal(text)
  except cli.FAULTS as error:
    line = _literal(cli.one_line(error))
    yield None, download(None), f'<span class="error">{line}</span>'


def _read(path: str, max_megapixels: float) -> pictures.Picture:
  """The uploaded picture.

  Raises:
    ValueError: one line, where it cannot be read or is too large.
  """
  name = pathlib.Path(path).name
  height, width = reading.image_size(path, name, None)
  if height * width > max_megapixels * 1e6:
    raise ValueError(
      f'{name} has {width} x {height} pixels, more than {max_megapixels:g} '
      'megapixels: crop it, use python -m srgan_jax.upscale, or start this '
      'page with --max-megapixels'
    )
  return pictures.read(path, name)


def _shown(pixels: np.ndarray, height: int, width: int) -> Image.Image:
  """What the slider shows: an LR picture of that size or its result, HR.

  An LR picture is enlarged by bicubic interpolation.
  """
  scale = min(SCALE, _SHOWN_SIDE / max(height, width))
  size = round(scale * width), round(scale * height)
  image = writing.image_of(reading.to_8_bit(pixels))
  return image.resize(size, Image.Resampling.BICUBIC)


def _literal(text: str) -> str:
  """Markdown that shows a text as it is: file names have stars and brackets."""
  return ''.join(c if c.isalnum() or c == ' ' else f'&#{ord(c)};' for c in text)


def find_models(given: Sequence[str]) -> dict[str, pathlib.Path]:
  """The files of generators to choose from, by the names to choose them by.

  Args:
    given: shipped or published names or weights files, which come first.

  Raises:
    ValueError: one line, where a file is no generator of ours.
  """
  models: dict[str, pathlib.Path] = {}
  for name in given:
    published.provide(name, print)
    models[name] = pretrained.find(name)
    load(models[name])
  # Of two shipped names for one file, the short one.
  for name in sorted(pretrained.FILES, key=len):
    if (file := pretrained.find(name)) not in models.values():
      models[name] = file
  return models
