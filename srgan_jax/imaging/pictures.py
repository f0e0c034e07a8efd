"""Pictures in, with all that people keep in them.

Where training wants RGB of 8 bits (`srgan_jax.imaging.io`), upscaling gives
back what it was given: gray or colour, alpha, 16 bits, the ICC profile, the
resolution, EXIF. The EXIF orientation is applied to the pixels and its tag
dropped. `srgan_jax.imaging.writing` is the way out.

Pixels are uint8 or uint16 [H, W, C]; C is 1 (gray), 2 (gray and alpha), 3 (RGB)
or 4 (RGB and alpha), alpha not premultiplied.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import io
import os
import struct
import threading
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms

from srgan_jax.imaging import reading, sixteen_bit

# EXIF tags that describe how the file's pixels were stored: no longer true.
# The last is Photoshop's layers.
_STORAGE_TAGS = {
  *(0xFE, 0xFF, 0x100, 0x101, 0x102, 0x103, 0x106, 0x10A, 0x111, 0x112),
  *(0x115, 0x116, 0x117, 0x11A, 0x11B, 0x11C, 0x128, 0x13D, 0x140, 0x142),
  *(0x143, 0x144, 0x145, 0x14A, 0x152, 0x153, 0x15B, 0x201, 0x202, 0x211),
  *(0x212, 0x213, 0x214, 0x2BC, 0x83BB, 0x8649, 0x8773),
  0x935C,
}
# Tags that place the old file's pixels on a map, and GeoTIFF's keys to them.
_GEOREFERENCE_TAGS = {
  *(0x830E, 0x8480, 0x8482, 0x85D8, 0x87AF, 0x87B0, 0x87B1, 0xC69C),
}
# Of the Exif directory: what counts pixels, and the Interop directory, of which
# only the place is known here.
_PIXEL_TAGS = {0x9214, 0xA002, 0xA003, 0xA005, 0xA20E, 0xA20F, 0xA210, 0xA214}

_lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture and what came with it.

  Attributes:
    pixels: uint8 or uint16 [H, W, C].
    format: Pillow's name of what it was read from, '' if from memory.
    icc_profile: of the pixels as they are here.
    exif: as Pillow writes it, without orientation.
    dpi: horizontally and vertically.
    lossless: whether it was a WebP without loss.
    notes: what was given up or left aside, each for a person to read.
  """

  pixels: np.ndarray
  format: str = ''
  icc_profile: bytes | None = None
  exif: bytes | None = None
  dpi: tuple[float, float] | None = None
  lossless: bool = False
  notes: tuple[str, ...] = ()

  def with_pixels(self, pixels: np.ndarray) -> 'Picture':
    """The same with other pixels of the same kind."""
    return dataclasses.replace(self, pixels=pixels)


def read(file: reading.ImageFile, name: str) -> Picture:
  """Reads a picture file, of any number of pixels.

  Of an animation or a file with several pages the first is read, and noted.

  Args:
    file: a path, the file's bytes, or a binary file (read from its start; it
      is closed).
    name: what to call the file in an error.

  Raises:
    ValueError: the file is missing, truncated or otherwise unreadable, or has
      no known range (floating point, 32 bits); one line with `name`.
  """
  if not isinstance(file, str | os.PathLike | bytes):
    with file:  # it is opened twice below
      file = file.read()
  low = None
  with _opened(file, name) as (image, _):
    is_deep = sixteen_bit.is_deep(image)
    if is_deep:
      low = sixteen_bit.low_bytes(image)
  with _opened(file, name) as (image, stream):
    image.load()
    picture = from_image(image, low)
    if image.format == 'WEBP':
      lossless = _is_lossless_webp(stream)
      picture = dataclasses.replace(picture, lossless=lossless)
    return picture


def size(file: reading.ImageFile, name: str) -> tuple[int, int]:
  """Height and width, from the header alone; as `reading.image_size`.

  Raises:
    ValueError: no header that Pillow can read; one line with `name`.
  """
  with _no_limit():
    return reading.image_size(file, name)


def from_image(image: Image.Image, low: np.ndarray | None = None) -> Picture:
  """A Pillow image as a picture.

  Args:
    image: of any mode that has a known range.
    low: uint8 [H, W, C], the low bytes of the samples of a deep image.

  Raises:
    ValueError: for floating-point pixels, and integers beyond 16 bits.
  """
  image.load()
  notes = []
  frames = 1
  with contextlib.suppress(Exception):  # counting them may meet damage
    frames = getattr(image, 'n_frames', 1)
  # The further images of an MPO are a phone's previews and depth maps.
  if frames > 1 and image.format != 'MPO':
    notes.append(f'the first of {frames} frames or pages')
  profile = image.info.get('icc_profile')
  plain, remark = _to_plain_mode(image, profile)
  pixels = _to_array(plain, low, image.info.get('transparency'))
  if remark:
    notes.append(remark)
    profile = None
  elif profile and not _fits(profile, pixels):
    notes.append('its ICC profile is for another kind of pixels: dropped')
    profile = None
  orientation, exif, is_georeferenced = _metadata(image)
  if is_georeferenced:
    notes.append('its georeference is for other pixels: dropped')
  form = image.format or ''
  return Picture(
    np.ascontiguousarray(_TURNS.get(orientation, _as_stored)(pixels)),
    format='JPEG' if form == 'MPO' else form,
    icc_profile=profile or None,
    exif=exif,
    dpi=_resolution(image),
    notes=tuple(notes),
  )


@contextlib.contextmanager
def _opened(
  file: reading.ImageFile, name: str
) -> Iterator[tuple[Image.Image, BinaryIO]]:
  with contextlib.ExitStack() as stack:
    with _no_limit():
      opened = stack.enter_context(reading.opened(file, name))
    yield opened


@contextlib.contextmanager
def _no_limit() -> Iterator[None]:
  """Pillow opens pictures of any size; the limit here is the command's own."""
  with _lock:
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
      yield
    finally:
      Image.MAX_IMAGE_PIXELS = limit


def _is_lossless_webp(stream: BinaryIO) -> bool:
  """Whether a WebP's pixels, or its first frame's, are kept without loss."""
  stream.seek(12)
  while len(header := stream.read(8)) == 8:
    kind, length = struct.unpack('<4sI', header)
    if kind in (b'VP8 ', b'VP8L'):
      return kind == b'VP8L'
    # A frame's own chunks lie within it, behind 16 bytes.
    stream.seek(16 if kind == b'ANMF' else length + length % 2, os.SEEK_CUR)
  return False


def _to_plain_mode(
  image: Image.Image, profile: bytes | None
) -> tuple[Image.Image, str]:
  """An image in L, LA, RGB, RGBA or of 16 bits, and what its profile became."""
  mode, plain, remark = image.mode, image, ''
  if mode == 'F':
    raise ValueError('floating-point pixels have no known range')
  if mode in ('CMYK', 'LAB'):
    plain, remark = _to_srgb(image, profile)
  elif mode in ('P', 'PA'):
    plain = image.convert('RGBA' if image.has_transparency_data else 'RGB')
    colours = np.asarray(plain)
    if np.ptp(colours[..., :3], axis=2).max() == 0:
      plain = plain.convert('LA' if plain.mode == 'RGBA' else 'L')
  elif mode in ('L', 'RGB') and image.has_transparency_data:
    plain = image.convert(mode + 'A')
  elif mode not in ('L', 'LA', 'RGB', 'RGBA') and not mode.startswith('I'):
    plain = image.convert(_PLAIN_MODES.get(mode, 'RGB'))
  return plain, remark


_PLAIN_MODES = {'1': 'L', 'La': 'LA', 'RGBa': 'RGBA'}


def _to_srgb(
  image: Image.Image, profile: bytes | None
) -> tuple[Image.Image, str]:
  """CMYK or Lab to sRGB: by its profile where it has one that works."""
  mode = image.mode
  try:
    srgb = ImageCms.createProfile('sRGB')
    if mode == 'LAB':
      source: Any = ImageCms.createProfile('LAB')
    else:
      source = io.BytesIO(profile or b'')
    converted = ImageCms.profileToProfile(image, source, srgb, outputMode='RGB')
    assert converted is not None
    return converted, f'{mode} became sRGB by its ICC profile'
  except (ImageCms.PyCMSError, OSError):
    if mode == 'LAB':
      raise ValueError('Lab pixels that cannot be converted') from None
    return image.convert('RGB'), f'{mode} became RGB without an ICC profile'


def _to_array(
  image: Image.Image, low: np.ndarray | None, transparent: Any
) -> np.ndarray:
  """The pixels of an image in a plain mode, [H, W, C]."""
  if image.mode.startswith('I'):
    values = reading.gray16(image)
    if isinstance(transparent, int):
      alpha = np.where(values == transparent, 0, 65535).astype(np.uint16)
      return np.stack([values, alpha], axis=-1)
  else:
    values = np.asarray(image)
  if values.ndim == 2:
    values = values[..., None]
  if low is None:
    return values
  if low.shape[-1] == 2:  # gray and alpha, which Pillow opens as RGBA
    values = values[..., [0, 3]]
  # Pillow compares a transparent colour by its high bytes: done again below.
  values = values[..., : low.shape[-1]].astype(np.uint16) << 8 | low
  if isinstance(transparent, tuple) and values.shape[-1] == 3:
    is_key = (values == np.array(transparent)).all(axis=2)
    alpha = np.where(is_key, 0, 65535).astype(np.uint16)
    values = np.concatenate([values, alpha[..., None]], axis=2)
  return values


def _fits(profile: Any, pixels: np.ndarray) -> bool:
  """Whether a profile's colour space is that of the pixels."""
  space = b'GRAY' if pixels.shape[-1] < 3 else b'RGB '
  return isinstance(profile, bytes) and profile[16:20] == space


def _resolution(image: Image.Image) -> tuple[float, float] | None:
  """Dots an inch, where the file says something that can be true."""
  with contextlib.suppress(Exception):
    x, y = (float(value) for value in image.info['dpi'])
    if 1 < min(x, y) and max(x, y) < 1e6:
      return x, y
  return None


def _metadata(image: Image.Image) -> tuple[int, bytes | None, bool]:
  """What EXIF says.

  Returns:
    The orientation 1..8, EXIF without what is no longer true, and whether a
    georeference was among that.
  """
  orientation, data, is_georeferenced = 1, None, False
  directories = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
  with contextlib.suppress(Exception):  # broken metadata is no broken picture
    exif = image.getexif()
    orientation = int(exif.get(ExifTags.Base.Orientation, 1))
    is_georeferenced = not _GEOREFERENCE_TAGS.isdisjoint(exif)
    kept = Image.Exif()
    for tag, value in exif.items():
      if tag not in _STORAGE_TAGS | _GEOREFERENCE_TAGS | {*directories}:
        kept[tag] = value
    for directory in directories:
      fields = exif.get_ifd(directory)
      fields = {k: v for k, v in fields.items() if k not in _PIXEL_TAGS}
      if fields:
        kept[directory] = fields
    if len(kept):
      data = kept.tobytes()
  return orientation, data, is_georeferenced


def _as_stored(pixels: np.ndarray) -> np.ndarray:
  return pixels


# What a viewer does for each EXIF orientation.
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
  2: lambda a: a[:, ::-1],
  3: lambda a: a[::-1, ::-1],
  4: lambda a: a[::-1],
  5: lambda a: a.swapaxes(0, 1),
  6: lambda a: np.rot90(a, -1),
  7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
  8: lambda a: np.rot90(a),
}
