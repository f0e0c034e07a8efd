"""TIFF files of more than 8 bits a channel or with odd channels, read.

Pillow decodes every compression, but knows few layouts of samples and halves
most deep ones. So it is shown such a file's rows as gray pixels of 8 bits, one
a byte, and the samples are put together here.
"""

from collections.abc import Mapping
import dataclasses
import os
import struct
from typing import BinaryIO

import numpy as np
from PIL import Image

from srgan_jax import files
from srgan_jax.imaging import exif as exif_lib
from srgan_jax.imaging import ifd, photoshop

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
FILL_ORDER, OFFSETS, SAMPLES, ROWS, SIZES = 266, 273, 277, 278, 279
PLANES, PREDICTOR, EXTRA, FORMAT = 284, 317, 338, 339
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES = 322, 323, 324, 325
X_RESOLUTION, Y_RESOLUTION, UNIT = 282, 283, 296
XMP, IPTC, PHOTOSHOP, PROFILE = 700, 33723, 34377, 34675

_BYTEWISE = (1, 5, 8, 32773, 32946, 34925, 50000)  # compressions of bytes
_COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}  # channels: gray, RGB, CMYK
_UNSPECIFIED, _ASSOCIATED, UNASSOCIATED = 0, 1, 2
_MOST_SAMPLES = 16  # a pixel
_BAND = 256  # rows whose bits are taken apart at a time


@dataclasses.dataclass(frozen=True)
class Layout:
  """How the samples of a file lie.

  Photometric is 0 or 1 (gray), 2 (RGB) or 5 (CMYK); `extra` says what samples
  beyond the colours are: 0 unspecified, 1 alpha that is multiplied in already,
  2 alpha. Planar: the channels lie apart. A predictor of 2 means differences, a
  tile width of 0 no tiles; the order is '<' or '>'.
  """

  width: int
  height: int
  bits: int
  samples: int
  photometric: int
  extra: tuple[int, ...]
  is_planar: bool
  predictor: int
  tile_width: int
  order: str


def is_tiff(stream: BinaryIO) -> bool:
  """Whether a file, rewound afterwards, begins as a TIFF does."""
  found = ifd.head(stream) is not None
  stream.seek(0)
  return found


def size(stream: BinaryIO) -> tuple[int, int]:
  """Width and height of the first page, as stored."""
  start = ifd.head(stream)
  assert start
  fields = ifd.read(stream, start.form, start.first)
  width, height = (
    next(iter(ifd.numbers(start.form, fields.get(tag))), 0)
    for tag in (WIDTH, HEIGHT)
  )
  return width, height


def describe(stream: BinaryIO) -> str:
  """A file's kind of pixels, for an error; '' of no TIFF."""
  start = ifd.head(stream)
  if not start:
    return ''
  fields = ifd.read(stream, start.form, start.first)
  numbers = lambda tag: '/'.join(
    map(str, ifd.numbers(start.form, fields.get(tag)))
  )
  return (
    f'a TIFF of another kind than those that are read: bits {numbers(BITS)}, '
    f'photometric {numbers(PHOTOMETRIC)}, compression {numbers(COMPRESSION)}'
  )


def split(stream: BinaryIO) -> tuple[Layout | None, BinaryIO]:
  """The layout, and the file as Pillow can decode it, of what needs both.

  Raises:
    ValueError: for samples without a known range or a layout not known.
  """
  start = ifd.head(stream)
  assert start
  form = start.form
  fields = ifd.read(stream, form, start.first)
  stream.seek(0)

  def values(tag: int, *default: int) -> tuple[int, ...]:
    return ifd.numbers(form, fields.get(tag)) or default

  bits, kinds = values(BITS, 1), values(FORMAT, 1)
  layout = Layout(
    width=values(WIDTH, 0)[0],
    height=values(HEIGHT, 0)[0],
    bits=max(bits),
    samples=values(SAMPLES, 1)[0],
    photometric=values(PHOTOMETRIC, -1)[0],
    extra=values(EXTRA),
    is_planar=values(PLANES, 1)[0] == 2,
    predictor=values(PREDICTOR, 1)[0],
    tile_width=values(TILE_WIDTH, 0)[0],
    order=form.order,
  )
  if not min(layout.width, layout.height):
    return None, stream
  is_bytewise = values(COMPRESSION, 1)[0] in _BYTEWISE
  if 3 in kinds and is_bytewise:
    raise ValueError('floating-point pixels have no known range')
  if 2 in kinds and max(bits) <= 16:
    raise ValueError('signed pixels have no known range')
  if max(bits) > (16 if layout.samples > 1 else 32):
    raise ValueError(f'integer pixels of {max(bits)} bits have no known range')
  if layout.samples > _MOST_SAMPLES:
    raise ValueError(f'a TIFF of {layout.samples} channels')
  extra = layout.samples - _COLOURS.get(layout.photometric, layout.samples)
  layout = dataclasses.replace(
    layout,
    extra=(layout.extra + (_UNSPECIFIED,) * extra)[: max(0, extra)],
  )
  is_odd = (
    8 < max(bits) <= 16
    or max(bits) not in (1, 2, 4, 8, 16, 32)
    or layout.extra not in ((), (UNASSOCIATED,))
    or (layout.photometric == 5 and extra > 0)
  )
  if not is_odd or layout.photometric not in _COLOURS or not is_bytewise:
    return None, stream
  if set(kinds) != {1} or len(set(bits)) > 1 or extra < 0:
    raise ValueError(
      f'a TIFF of samples of {"/".join(map(str, bits))} bits, '
      f'kind {"/".join(map(str, kinds))}'
    )
  return layout, _as_bytes(stream, start, layout, fields)


def _as_bytes(
  stream: BinaryIO,
  start: ifd.Head,
  layout: Layout,
  fields: Mapping[int, ifd.Field],
) -> BinaryIO:
  """The file with a directory that tells of a gray pixel for each byte."""
  # Little first, which is all that Pillow reads of BigTIFF.
  form = ifd.Form('<', start.form.is_big)
  values = lambda tag: ifd.numbers(start.form, fields.get(tag))
  number = lambda tag: next(iter(values(tag)), 0)
  whole = lambda *values: ifd.of_numbers(
    form, 16 if form.is_big else 4, *values
  )
  together = 1 if layout.is_planar else layout.samples
  height = layout.height
  if layout.is_planar:  # the planes below each other
    piece = number(TILE_HEIGHT) or min(number(ROWS) or height, height)
    if height % piece:
      raise ValueError(
        'a TIFF with its channels in separate planes, whose last strips differ'
      )
    height *= layout.samples
  plain = {
    WIDTH: whole(_row_bytes(layout.width * together, layout.bits)),
    HEIGHT: whole(height),
    BITS: ifd.of_numbers(form, 3, 8),
    COMPRESSION: ifd.of_numbers(form, 3, number(COMPRESSION) or 1),
    PHOTOMETRIC: ifd.of_numbers(form, 3, 1),
    SAMPLES: ifd.of_numbers(form, 3, 1),
  }
  for tag in (OFFSETS, SIZES, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES):
    if tag in fields:
      plain[tag] = whole(*values(tag))
  if FILL_ORDER in fields:
    plain[FILL_ORDER] = ifd.of_numbers(form, 3, number(FILL_ORDER))
  if ROWS in fields:
    plain[ROWS] = whole(min(number(ROWS), layout.height))
  if tile := number(TILE_WIDTH):
    plain[TILE_WIDTH] = whole(_row_bytes(tile * together, layout.bits))
  end = stream.seek(0, os.SEEK_END)
  offsets = values(OFFSETS) or values(TILE_OFFSETS)
  sizes = values(SIZES) or values(TILE_SIZES)
  if len(offsets) != len(sizes):
    raise ValueError('a TIFF without the sizes of its strips')
  # What follows the file here would be taken for its pixels.
  if any(o + s > end for o, s in zip(offsets, sizes, strict=True)):
    raise ValueError('image file is truncated')
  place = end + -end % 16
  if form.is_big:
    head = b'II' + struct.pack('<HHHQ', 43, 8, 0, place)
  else:
    head = b'II' + struct.pack('<HI', 42, place)
  directory = ifd.build(form, plain, place)
  return files.joined(
    stream, [head, (len(head), end), bytes(place - end), directory]
  )


def _row_bytes(samples: int, bits: int) -> int:
  return -(-samples * bits // 8)


def samples(layout: Layout, image: Image.Image) -> tuple[np.ndarray, list[str]]:
  """The pixels of a file that `split` showed to Pillow.

  Returns:
    uint8 or uint16 [H, W, C]: gray, RGB or CMYK, and alpha where there is one;
    and notes on what else there was.
  """
  rows = np.asarray(image)
  if layout.is_planar:
    planes = np.split(rows, layout.samples)
    values = np.stack(
      [_unpack(layout, plane, 1)[..., 0] for plane in planes], -1
    )
  else:
    values = _unpack(layout, rows, layout.samples)
  top = 255 if layout.bits <= 8 else 65535
  values = _scale(values, layout.bits)
  colours = _COLOURS[layout.photometric]
  if layout.photometric == 0:
    values[..., 0] = top - values[..., 0]
  notes = []
  kept, alpha = colours, None
  for index, meaning in enumerate(layout.extra):
    is_alpha = alpha is None and (
      meaning in (_ASSOCIATED, UNASSOCIATED)
      # Most programs write alpha so; nobody hides a whole picture.
      or (len(layout.extra) == 1 and values[..., colours + index].any())
    )
    if is_alpha:
      alpha, kept = values[..., colours + index], colours + 1
      if meaning == _ASSOCIATED:
        whole = np.maximum(alpha, 1).astype(np.uint32)[..., None]
        colour = values[..., :colours].astype(np.uint32)
        values[..., :colours] = np.minimum(
          (colour * top + whole // 2) // whole, top
        )
      elif meaning == _UNSPECIFIED:
        notes.append('its extra channel is taken as alpha')
  if colours + len(layout.extra) > kept:
    count = colours + len(layout.extra) - kept
    notes.append(f'{count} extra channel{"s" * (count > 1)} left out')
  result = values[..., :colours]
  if alpha is not None:
    result = np.concatenate([result, alpha[..., None]], axis=-1)
  return np.ascontiguousarray(result), notes


def _unpack(layout: Layout, rows: np.ndarray, samples: int) -> np.ndarray:
  """Rows of bytes as uint8 or uint16 [H, W, samples]."""
  shape = len(rows), layout.width, samples
  if layout.bits == 8:
    values = rows.reshape(shape).copy()
  elif layout.bits == 16:
    order = np.dtype(f'{layout.order}u2')
    values = np.ascontiguousarray(rows).view(order).astype(np.uint16)
    values = values.reshape(shape)
  else:
    count = layout.width * samples
    values = np.zeros((len(rows), count), np.uint16)
    for first in range(0, len(rows), _BAND):
      bits = np.unpackbits(rows[first : first + _BAND], axis=1)
      bits = bits[:, : count * layout.bits].reshape(-1, count, layout.bits)
      weights = 1 << np.arange(layout.bits - 1, -1, -1)
      values[first : first + _BAND] = bits @ weights.astype(np.uint16)
    values = values.reshape(shape)
  if layout.predictor == 2:  # differences to the left, within a tile
    for first in range(0, layout.width, layout.tile_width or layout.width):
      tile = values[:, first : first + (layout.tile_width or layout.width)]
      np.add.accumulate(tile, axis=1, dtype=values.dtype, out=tile)
  elif layout.predictor != 1:
    raise ValueError(f'a TIFF with predictor {layout.predictor}')
  return values


def _scale(values: np.ndarray, bits: int) -> np.ndarray:
  """Levels of some bits as uint8 or uint16, white as white."""
  if bits in (8, 16):
    return values
  top = 255 if bits < 8 else 65535
  most = (1 << bits) - 1
  scaled = (values.astype(np.uint32) * top + most // 2) // most
  return scaled.astype(np.uint8 if bits < 8 else np.uint16)


@dataclasses.dataclass(frozen=True)
class Metadata:
  """What a TIFF says of itself; None and () where it does not."""

  icc_profile: bytes | None = None
  exif: exif_lib.Cleaned = exif_lib.Cleaned(None)
  xmp: bytes | None = None
  iptc: bytes | None = None
  dpi: tuple[float, float] | None = None
  orientation: int = 1
  pages: int = 1
  notes: tuple[str, ...] = ()


def read_metadata(stream: BinaryIO) -> Metadata:
  """What a TIFF says of its first page."""
  start = ifd.head(stream)
  assert start
  form = start.form
  fields = ifd.read(stream, form, start.first)
  data = lambda tag: fields[tag].data if tag in fields else None
  iptc = data(IPTC)
  if iptc is None and (resources := data(PHOTOSHOP)):
    iptc = photoshop.find_iptc(resources)
  scale = {2: 1.0, 3: 2.54}.get(
    next(iter(ifd.numbers(form, fields.get(UNIT))), 2)
  )
  x, y = (
    ifd.rational(form, fields.get(t)) for t in (X_RESOLUTION, Y_RESOLUTION)
  )
  description = fields.get(exif_lib.DESCRIPTION)
  is_plan = exif_lib.describes_pixels(description) and (
    # A few words of tifffile's own are no loss.
    not fields[exif_lib.DESCRIPTION].data.startswith(b'{')
  )
  return Metadata(
    icc_profile=data(PROFILE),
    exif=exif_lib.of_tiff(stream, start),
    xmp=data(XMP),
    iptc=iptc,
    dpi=(x * scale, y * scale) if scale and x and y else None,
    orientation=next(
      iter(ifd.numbers(form, fields.get(exif_lib.ORIENTATION))), 1
    ),
    pages=ifd.pages(stream, start),
    notes=('its description is a plan of other pixels: dropped',) * is_plan,
  )
