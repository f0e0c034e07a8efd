"""Reads TIFF files of more than 8 bits a channel or with extra channels.

Pillow decodes every compression, but knows few layouts of samples and keeps
8 bits of most deep ones. So it gets a directory that calls each byte of a row
an 8-bit gray pixel, and the samples are put together here.
"""

import dataclasses
import itertools
import os
from typing import BinaryIO

import numpy as np
from PIL import Image

from srgan_jax import files
from srgan_jax.imaging import exif, ifd, xmp

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
FILL_ORDER, OFFSETS, SAMPLES, ROWS, SIZES = 266, 273, 277, 278, 279
PLANES, PREDICTOR, EXTRA, FORMAT = 284, 317, 338, 339
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES = 322, 323, 324, 325
_NEW_KIND, _KIND, _BELOW = 254, 255, 330  # of a page; pages below it
XMP, IPTC, PHOTOSHOP, PROFILE = 700, 33723, 34377, 34675

# Fields that stay valid where every byte is a pixel.
_OF_BYTES_TOO = (
  *(HEIGHT, COMPRESSION, FILL_ORDER, OFFSETS, SIZES, ROWS),
  *(TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES),
)
_BYTEWISE = (1, 5, 8, 32773, 32946, 34925, 50000)  # compressions of bytes
_COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}  # channels: gray, RGB, CMYK
_UNSPECIFIED, _ASSOCIATED, UNASSOCIATED = 0, 1, 2
_MOST_SAMPLES = 16  # a pixel
_MOST_PAGES = 16  # that are searched for one that is no thumbnail
_BAND = 256  # rows whose bits are taken apart at a time


@dataclasses.dataclass(frozen=True)
class Layout:
  """The layout of a file's samples.

  Photometric is 0 or 1 (gray), 2 (RGB) or 5 (CMYK); `extra` has the kinds of
  the samples beyond the colours: 0 unspecified, 1 premultiplied alpha, 2 alpha.
  Planar channels follow each other whole. A predictor of 2 means differences;
  the order is '<' or '>'.
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


@dataclasses.dataclass(frozen=True)
class Page:
  """The first page of a file that is no thumbnail.

  Attributes:
    form: of the file.
    places: the offsets of its directory and, before that, the thumbnail's.
    fields: of these directories.
    layout: of samples that Pillow would truncate or refuse; else None.
  """

  form: ifd.Form
  places: tuple[int, ...]
  fields: ifd.Fields
  layout: Layout | None

  @property
  def orientation(self) -> int:
    """As EXIF's, 1..8."""
    stated = self.fields.number(exif.ORIENTATION)
    return stated or xmp.orientation(self.fields.data(XMP) or b'')

  @property
  def size(self) -> tuple[int, int]:
    """Width and height as stored."""
    return self.fields.number(WIDTH), self.fields.number(HEIGHT)

  def describe(self) -> str:
    """Describes the kind of pixels, for an error."""
    bits, photometric, compression = (
      '/'.join(map(str, self.fields.numbers(tag)))
      for tag in (BITS, PHOTOMETRIC, COMPRESSION)
    )
    return (
      f'a TIFF of bits {bits}, photometric {photometric}, '
      f'compression {compression}'
    )


def split(stream: BinaryIO) -> tuple[Page, BinaryIO] | None:
  """Reads the page to take; returns it and the file as Pillow can decode it.

  Returns None for other files than TIFFs.

  Raises:
    ValueError: for samples of no known range or an unknown layout.
  """
  start = ifd.head(stream)
  if not start:
    return None
  form, first = start
  fields = own = ifd.read(stream, form, first)
  places: tuple[int, ...] = (first,)
  if _is_reduced(fields):
    below = fields.numbers(_BELOW)
    pages = itertools.chain(below, ifd.pages(stream, form, first)[1:])
    for place in itertools.islice(pages, _MOST_PAGES):
      found = ifd.read(stream, form, place)
      if found.number(WIDTH) and not _is_reduced(found):
        own, places = found, (first, place)
        fields = ifd.Fields(fields | own)
        break
  end = stream.seek(0, os.SEEK_END)
  # Pillow would read as much for many fields that claim one place.
  if sum(len(f.data) for f in own.values()) > end:
    raise ValueError('a TIFF whose fields lie upon each other')
  page = Page(form, places, fields, _find_layout(own, form))
  if page.layout:
    return page, _as_bytes(stream, form, own, page.layout)
  if own is not fields:
    top = ifd.beginning(form, places[-1])
    stream = files.joined(stream, [top, (len(top), end)])
  return page, stream


def _is_reduced(fields: ifd.Fields) -> bool:
  """Whether a page is a smaller copy of another."""
  return bool(fields.number(_NEW_KIND) & 1 or fields.number(_KIND) == 2)


def _find_layout(fields: ifd.Fields, form: ifd.Form) -> Layout | None:
  """The layout of samples that Pillow would truncate or refuse, or None."""
  bits, kinds = fields.numbers(BITS, 1), fields.numbers(FORMAT, 1)
  depth, samples = max(bits), fields.number(SAMPLES, 1)
  width, height = fields.number(WIDTH), fields.number(HEIGHT)
  photometric = fields.number(PHOTOMETRIC, -1)
  if not min(width, height):
    return None
  is_bytewise = fields.number(COMPRESSION, 1) in _BYTEWISE
  if 3 in kinds and is_bytewise:
    raise ValueError('floating-point pixels have no known range')
  if 2 in kinds and depth <= 16:
    raise ValueError('signed pixels have no known range')
  if depth > (16 if samples > 1 else 32):
    raise ValueError(f'integer pixels of {depth} bits have no known range')
  if samples > _MOST_SAMPLES:
    raise ValueError(f'a TIFF of {samples} channels')
  count = samples - _COLOURS.get(photometric, samples)
  extra = (fields.numbers(EXTRA) + (_UNSPECIFIED,) * count)[: max(0, count)]
  is_odd = (
    depth not in (1, 2, 4, 8, 32)
    or extra not in ((), (UNASSOCIATED,))
    or (photometric == 5 and count > 0)
    or form == ('>', True)
  )
  if not is_odd or photometric not in _COLOURS or not is_bytewise:
    return None
  if set(kinds) != {1} or len(set(bits)) > 1 or count < 0:
    raise ValueError(
      f'a TIFF of samples of {"/".join(map(str, bits))} bits, '
      f'kind {"/".join(map(str, kinds))}'
    )
  return Layout(
    width=width,
    height=height,
    bits=depth,
    samples=samples,
    photometric=photometric,
    extra=extra,
    is_planar=samples > 1 and fields.number(PLANES, 1) == 2,
    predictor=fields.number(PREDICTOR, 1),
    tile_width=fields.number(TILE_WIDTH),
    order=form.order,
  )


def _as_bytes(
  stream: BinaryIO, form: ifd.Form, fields: ifd.Fields, layout: Layout
) -> BinaryIO:
  """The file with a directory in which each byte is a gray pixel."""
  # Little first, which is all that Pillow reads of BigTIFF.
  form = form._replace(order='<')
  plain = {
    tag: fields.numbers(tag) for tag in _OF_BYTES_TOO if fields.numbers(tag)
  }
  together = 1 if layout.is_planar else layout.samples
  plain[WIDTH] = (_row_bytes(layout.width * together, layout.bits),)
  if layout.tile_width:
    row = layout.tile_width * together
    plain[TILE_WIDTH] = (_row_bytes(row, layout.bits),)
  if layout.is_planar:  # the planes below each other
    piece = fields.number(TILE_HEIGHT) or fields.number(ROWS, layout.height)
    if layout.height % min(piece, layout.height):
      raise ValueError(
        'a TIFF with its channels in separate planes, whose last strips differ'
      )
    plain[HEIGHT] = (layout.height * layout.samples,)
    plain[ROWS] = (min(piece, layout.height),)
  plain |= {BITS: (8,), PHOTOMETRIC: (1,), SAMPLES: (1,)}
  end = stream.seek(0, os.SEEK_END)
  offsets = plain.get(OFFSETS) or plain.get(TILE_OFFSETS, ())
  sizes = plain.get(SIZES) or plain.get(TILE_SIZES, ())
  if len(offsets) != len(sizes):
    raise ValueError('a TIFF without the sizes of its strips')
  # What follows the file here would be taken for its pixels.
  if any(o + s > end for o, s in zip(offsets, sizes, strict=True)):
    raise ValueError('image file is truncated')
  place = end + -end % 16
  kind, head = 16 if form.is_big else 4, ifd.beginning(form, place)
  table = {tag: ifd.of_numbers(kind, *values) for tag, values in plain.items()}
  directory = ifd.build(form, table, place)
  return files.joined(
    stream, [head, (len(head), end), bytes(place - end), directory]
  )


def _row_bytes(samples: int, bits: int) -> int:
  return -(-samples * bits // 8)


def samples(layout: Layout, image: Image.Image) -> tuple[np.ndarray, list[str]]:
  """Decodes the pixels of an image whose bytes Pillow sees as pixels.

  Returns:
    uint8 or uint16 [H, W, C]: gray, RGB or CMYK, with alpha if there is one;
    and notes on further channels.
  """
  rows = np.asarray(image)
  if layout.is_planar:
    planes = np.split(rows, layout.samples)
    values = np.concatenate([_unpack(layout, p, 1) for p in planes], axis=2)
  else:
    values = _unpack(layout, rows, layout.samples)
  values = _scale(values, layout.bits)
  colours, notes = _COLOURS[layout.photometric], []
  top = np.iinfo(values.dtype).max
  if layout.photometric == 0:
    values[..., 0] = top - values[..., 0]
  alphas = (_ASSOCIATED, UNASSOCIATED)
  alpha = next((i for i, e in enumerate(layout.extra) if e in alphas), None)
  if layout.extra == (_UNSPECIFIED,) and values[..., colours].any():
    # Most programs write alpha so; nobody hides a whole picture.
    alpha = 0
    notes.append('its extra channel is taken as alpha')
  result = values[..., :colours]
  if alpha is not None:
    opacity = values[..., colours + alpha, None]
    if layout.extra[alpha] == _ASSOCIATED:
      whole = np.maximum(opacity, 1).astype(np.uint32)
      divided = (result.astype(np.uint32) * top + whole // 2) // whole
      result = np.minimum(divided, top).astype(values.dtype)
    result = np.concatenate([result, opacity], axis=-1)
  if left_out := layout.samples - result.shape[-1]:
    notes.append(f'{left_out} extra channel{"s" * (left_out > 1)} left out')
  return np.ascontiguousarray(result), notes


def _unpack(layout: Layout, rows: np.ndarray, samples: int) -> np.ndarray:
  """Unpacks rows of bytes to uint8 or uint16 [H, W, samples]."""
  shape = len(rows), layout.width, samples
  if layout.bits == 8:
    values = rows.reshape(shape).copy()
  elif layout.bits == 16:
    values = np.ascontiguousarray(rows).view(f'{layout.order}u2')
    values = values.astype(np.uint16).reshape(shape)
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
  """Scales levels to the full range of uint8 or uint16."""
  if bits in (8, 16):
    return values
  top = 255 if bits < 8 else 65535
  most = (1 << bits) - 1
  scaled = (values.astype(np.uint32) * top + most // 2) // most
  return scaled.astype(np.uint8 if bits < 8 else np.uint16)
