"""TIFF files of more than 8 bits a channel, or with odd channels; writing.

Pillow decodes every compression, but knows few layouts of samples and halves
most deep ones. So it is shown such a file's rows as gray pixels of 8 bits, one
a byte, and the samples are put together here.

Written is uint8 or uint16 [H, W, C], C of 1 to 4, deflated; beyond 4 GiB as
BigTIFF. tifffile writes as well, but no Exif and GPS directories.
"""

from collections.abc import Mapping
import dataclasses
import os
import struct
from typing import BinaryIO
import zlib

import numpy as np
from PIL import Image

from srgan_jax.imaging import exif as exif_lib
from srgan_jax.imaging import ifd, photoshop, png

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_FILL_ORDER, _OFFSETS, _SAMPLES, _ROWS, _SIZES = 266, 273, 277, 278, 279
_PLANES, _PREDICTOR, _EXTRA, _FORMAT = 284, 317, 338, 339
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES = 322, 323, 324, 325
_X_RESOLUTION, _Y_RESOLUTION, _UNIT = 282, 283, 296
_XMP, _IPTC, _PHOTOSHOP, _PROFILE = 700, 33723, 34377, 34675

_BYTEWISE = (1, 5, 8, 32773, 32946, 34925, 50000)  # compressions of bytes
_COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}  # channels: gray, RGB, CMYK
_UNSPECIFIED, _ASSOCIATED, _UNASSOCIATED = 0, 1, 2
_STRIP_BYTES = 2**20
_MOST_CLASSIC = 2**32 - 2**24  # bytes; offsets of 32 bits end there
_BAND = 256  # rows whose bits are taken apart at a time


@dataclasses.dataclass(frozen=True)
class Layout:
  """How the samples of a file lie.

  Attributes:
    width: in pixels.
    height: in pixels.
    bits: a sample.
    samples: a pixel.
    photometric: 0 or 1 (gray), 2 (RGB) or 5 (CMYK).
    extra: what the samples beyond the colours are: 0 unspecified, 1 alpha
      that is multiplied in already, 2 alpha.
    is_planar: whether the channels lie apart.
    predictor: 1 for none, 2 for differences.
    tile_width: in pixels; 0 without tiles.
    order: '<' or '>' first.
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
    for tag in (_WIDTH, _HEIGHT)
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
    f'a TIFF of another kind than those that are read: bits {numbers(_BITS)}, '
    f'photometric {numbers(_PHOTOMETRIC)}, compression {numbers(_COMPRESSION)}'
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

  bits, kinds = values(_BITS, 1), values(_FORMAT, 1)
  layout = Layout(
    width=values(_WIDTH, 0)[0],
    height=values(_HEIGHT, 0)[0],
    bits=max(bits),
    samples=values(_SAMPLES, 1)[0],
    photometric=values(_PHOTOMETRIC, -1)[0],
    extra=values(_EXTRA),
    is_planar=values(_PLANES, 1)[0] == 2,
    predictor=values(_PREDICTOR, 1)[0],
    tile_width=values(_TILE_WIDTH, 0)[0],
    order=form.order,
  )
  if not min(layout.width, layout.height):
    return None, stream
  is_bytewise = values(_COMPRESSION, 1)[0] in _BYTEWISE
  if 3 in kinds and is_bytewise:
    raise ValueError('floating-point pixels have no known range')
  if 2 in kinds and max(bits) <= 16:
    raise ValueError('signed pixels have no known range')
  if max(bits) > (16 if layout.samples > 1 else 32):
    raise ValueError(f'integer pixels of {max(bits)} bits have no known range')
  extra = layout.samples - _COLOURS.get(layout.photometric, layout.samples)
  layout = dataclasses.replace(
    layout,
    extra=(layout.extra + (_UNSPECIFIED,) * extra)[: max(0, extra)],
  )
  is_odd = (
    8 < max(bits) <= 16
    or max(bits) not in (1, 2, 4, 8, 16, 32)
    or layout.extra not in ((), (_UNASSOCIATED,))
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
    piece = number(_TILE_HEIGHT) or min(number(_ROWS) or height, height)
    if height % piece:
      raise ValueError(
        'a TIFF with its channels in separate planes, whose last strips differ'
      )
    height *= layout.samples
  plain = {
    _WIDTH: whole(_row_bytes(layout.width * together, layout.bits)),
    _HEIGHT: whole(height),
    _BITS: ifd.of_numbers(form, 3, 8),
    _COMPRESSION: ifd.of_numbers(form, 3, number(_COMPRESSION) or 1),
    _PHOTOMETRIC: ifd.of_numbers(form, 3, 1),
    _SAMPLES: ifd.of_numbers(form, 3, 1),
  }
  for tag in (_OFFSETS, _SIZES, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES):
    if tag in fields:
      plain[tag] = whole(*values(tag))
  if _FILL_ORDER in fields:
    plain[_FILL_ORDER] = ifd.of_numbers(form, 3, number(_FILL_ORDER))
  if _ROWS in fields:
    plain[_ROWS] = whole(min(number(_ROWS), layout.height))
  if tile := number(_TILE_WIDTH):
    plain[_TILE_WIDTH] = whole(_row_bytes(tile * together, layout.bits))
  end = stream.seek(0, os.SEEK_END)
  offsets = values(_OFFSETS) or values(_TILE_OFFSETS)
  sizes = values(_SIZES) or values(_TILE_SIZES)
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
  return png.joined(
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
      meaning in (_ASSOCIATED, _UNASSOCIATED)
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
  iptc = data(_IPTC)
  if iptc is None and (resources := data(_PHOTOSHOP)):
    iptc = photoshop.find_iptc(resources)
  scale = {2: 1.0, 3: 2.54}.get(
    next(iter(ifd.numbers(form, fields.get(_UNIT))), 2)
  )
  x, y = (
    ifd.rational(form, fields.get(t)) for t in (_X_RESOLUTION, _Y_RESOLUTION)
  )
  description = fields.get(exif_lib.DESCRIPTION)
  is_plan = exif_lib.describes_pixels(description) and (
    # A few words of tifffile's own are no loss.
    not fields[exif_lib.DESCRIPTION].data.startswith(b'{')
  )
  return Metadata(
    icc_profile=data(_PROFILE),
    exif=exif_lib.of_tiff(stream, start),
    xmp=data(_XMP),
    iptc=iptc,
    dpi=(x * scale, y * scale) if scale and x and y else None,
    orientation=next(
      iter(ifd.numbers(form, fields.get(exif_lib.ORIENTATION))), 1
    ),
    pages=ifd.pages(stream, start),
    notes=('its description is a plan of other pixels: dropped',) * is_plan,
  )


def write(
  file: BinaryIO,
  pixels: np.ndarray,
  *,
  icc_profile: bytes | None = None,
  exif: bytes | None = None,
  dpi: tuple[float, float] | None = None,
  xmp: bytes | None = None,
  iptc: bytes | None = None,
) -> None:
  """Writes a TIFF of any kind of pixels, strip by strip.

  Args:
    file: open for writing, empty; it can seek.
    pixels: uint8 or uint16 [H, W, C], C of 1 to 4.
    icc_profile: for these pixels.
    exif: a block with its prefix.
    dpi: horizontally and vertically.
    xmp: for these pixels.
    iptc: IIM's records.
  """
  height, width, channels = pixels.shape
  bits = 8 * pixels.dtype.itemsize
  source, fields = exif_lib.fields(exif or b'')
  fields = ifd.reordered(fields, source.order, '<')
  form = ifd.Form('<', pixels.nbytes > _MOST_CLASSIC)
  if form.is_big:
    start = b'II' + struct.pack('<HHHQ', 43, 8, 0, 0)
  else:
    start = b'II' + struct.pack('<HI', 42, 0)
  file.write(start)
  rows = max(1, _STRIP_BYTES // (bits // 8 * channels * width))
  offsets, sizes = [], []
  for first in range(0, height, rows):
    strip = pixels[first : first + rows].astype(f'<u{bits // 8}')
    strip[:, 1:] -= strip[:, :-1].copy()  # predictor 2: differences
    data = zlib.compress(strip.tobytes())
    offsets.append(file.tell())
    sizes.append(len(data))
    file.write(data)
  file.write(bytes(-file.tell() % 16))
  place = file.tell()
  short = lambda *values: ifd.of_numbers(form, 3, *values)
  long = lambda *values: ifd.of_numbers(form, 16 if form.is_big else 4, *values)
  directory: dict[int, ifd.Field | ifd.Directory] = {
    **fields,
    _WIDTH: long(width),
    _HEIGHT: long(height),
    _BITS: short(*(bits,) * channels),
    _COMPRESSION: short(8),
    _PHOTOMETRIC: short(1 if channels < 3 else 2),
    _OFFSETS: long(*offsets),
    _SAMPLES: short(channels),
    _ROWS: long(rows),
    _SIZES: long(*sizes),
    _PLANES: short(1),
    _PREDICTOR: short(2),
  }
  if channels in (2, 4):
    directory[_EXTRA] = short(_UNASSOCIATED)
  if dpi:
    directory[_X_RESOLUTION] = ifd.of_fraction(form, dpi[0])
    directory[_Y_RESOLUTION] = ifd.of_fraction(form, dpi[1])
    directory[_UNIT] = short(2)  # inch
  for tag, kind, block in (
    (_PROFILE, 7, icc_profile),
    (_XMP, 1, xmp),
    (_IPTC, 7, iptc),
  ):
    if block:
      directory[tag] = ifd.Field(kind, len(block), block)
  file.write(ifd.build(form, directory, place))
  file.seek(len(start) - struct.calcsize(form.word))
  file.write(struct.pack(form.word, place))
