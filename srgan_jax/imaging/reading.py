"""Pixels of image files, as they are stored or as RGB of 8 bits.

Training and evaluation want one thing of a file: the picture as a person sees
it, uint8 [H, W, 3], full range 0..255, sRGB as stored (colour profiles are not
applied, save those of CMYK). Upscaling wants the pixels as they are
(`srgan_jax.imaging.pictures`). Both are read here.
"""

from collections.abc import Callable
import contextlib
import dataclasses
import io
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms

from srgan_jax.imaging import alpha, boxes, exif, png, tiff, xmp
from srgan_jax.imaging.opening import (
  MAX_MEGAPIXELS,
  ImageFile,
  Opened,
  opened,
)

SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap height and width
_PLAIN_MODES = {'1': 'L', 'La': 'LA', 'RGBa': 'RGBA'}
_CODESTREAM = b'\xff\x4f\xff\x51'  # the start of a JPEG 2000's, and its sizes


@dataclasses.dataclass(frozen=True)
class Decoded:
  """Pixels as a file stores them, before its orientation is applied.

  Attributes:
    pixels: uint8 or uint16 [H, W, C]; C is 1 (gray), 2 (gray and alpha), 3
      (RGB) or 4 (RGB and alpha).
    notes: what was given up, each for a person to read.
    is_srgb: whether the colours were converted, and the profile is spent.
  """

  pixels: np.ndarray
  notes: tuple[str, ...] = ()
  is_srgb: bool = False


def read_rgb(
  file: ImageFile, name: str, max_megapixels: float | None = MAX_MEGAPIXELS
) -> np.ndarray:
  """Reads an image file as RGB.

  Grayscale (8 and 16 bit), 1-bit, palette, CMYK and other modes are converted;
  transparency is composited over white; 16 bits are scaled to 8 (v / 257,
  rounded half up); the EXIF orientation is applied. Of an animation the first
  frame is read.

  Args:
    file: a path, the file's bytes, or a binary file (read from its start; it
      is closed).
    name: what to call the file in an error.
    max_megapixels: larger pictures are refused; None refuses none.

  Returns:
    uint8 [H, W, 3], 0..255.

  Raises:
    ValueError: the file is missing, truncated or otherwise unreadable, too
      large, or has no known range (floating point); one line with `name`.
  """
  with opened(file, name, max_megapixels) as found:
    pixels = to_8_bit(decode(found).pixels)
    if pixels.shape[-1] in (2, 4):
      pixels = alpha.over_white(pixels)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    return np.array(turn(pixels, orientation(found)))


def image_size(
  file: ImageFile, name: str, max_megapixels: float | None = MAX_MEGAPIXELS
) -> tuple[int, int]:
  """Height and width of `read_rgb`'s result, from the header alone.

  Takes what `read_rgb` takes.

  Raises:
    ValueError: no header that can be read; one line with `name`.
  """
  with opened(file, name, max_megapixels) as found:
    width, height = found.size
    if stored_orientation(found) in SIDEWAYS:
      width, height = height, width
    return height, width


def orientation(found: Opened) -> int:
  """EXIF orientation 1..8 of pixels as `decode` gives them."""
  if found.tiff and not found.tiff.layout:
    return 1  # Pillow has turned them
  return stored_orientation(found)


def stored_orientation(found: Opened) -> int:
  """EXIF orientation 1..8 of pixels as the file has them."""
  if found.png:
    stated = exif.orientation(found.png.exif or b'')
    return stated or xmp.orientation(found.png.xmp or b'')
  if found.tiff:
    return found.tiff.orientation
  return orientation_of(found.image)


def orientation_of(image: Image.Image) -> int:
  """EXIF orientation 1..8 as Pillow reads it."""
  with contextlib.suppress(Exception):  # broken metadata: as stored
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))
  return 1


def decode(found: Opened) -> Decoded:
  """The pixels of an image that was just opened."""
  image = found.image
  if found.tiff and found.tiff.layout:
    return _decode_tiff(found.tiff, found.tiff.layout, image)
  if png.is_deep(image):
    return Decoded(png.read_deep(found.plain))
  if found.tiff:  # Pillow turns its pixels by this
    image.getexif()[ExifTags.Base.Orientation] = found.tiff.orientation
  decoded = of_image(image)
  bits = _stored_bits(image, found.stream)
  if bits > 8 and decoded.pixels.dtype == np.uint8:
    note = f'its {bits} bits a channel became 8'
    decoded = dataclasses.replace(decoded, notes=(*decoded.notes, note))
  return decoded


def _decode_tiff(
  page: tiff.Page, layout: tiff.Layout, image: Image.Image
) -> Decoded:
  """The pixels of a TIFF that Pillow sees as bytes."""
  pixels, notes = tiff.samples(layout, image)
  if layout.photometric != 5:
    return Decoded(pixels, tuple(notes))
  if pixels.dtype == np.uint16:
    notes.append(f'CMYK of {layout.bits} bits became 8')
  pixels = to_8_bit(pixels)
  cmyk = Image.fromarray(np.ascontiguousarray(pixels[..., :4]), 'CMYK')
  colours, remark = _to_srgb(cmyk, page.fields.data(tiff.PROFILE))
  pixels = np.concatenate([np.asarray(colours), pixels[..., 4:]], axis=-1)
  return Decoded(pixels, (*notes, remark), is_srgb=True)


def of_image(image: Image.Image) -> Decoded:
  """The pixels of a Pillow image of any mode that has a known range.

  Raises:
    ValueError: for floating-point pixels, and integers beyond 16 bits.
  """
  mode, bits, remark = image.mode, png.gray_bits(image), ''
  image.load()
  if mode == 'F':
    raise ValueError('floating-point pixels have no known range')
  if mode.startswith('I'):
    return Decoded(_of_integers(image))
  if mode in ('CMYK', 'LAB'):
    image, remark = _to_srgb(image, image.info.get('icc_profile'))
  elif mode in ('P', 'PA'):
    image = image.convert('RGBA' if image.has_transparency_data else 'RGB')
    colours = np.asarray(image)
    if np.ptp(colours[..., :3], axis=2).max() == 0:
      image = image.convert('LA' if image.mode == 'RGBA' else 'L')
  elif mode in ('1', 'L', 'RGB') and image.has_transparency_data:
    image = _with_alpha(image, bits)
  elif mode not in ('L', 'LA', 'RGB', 'RGBA'):
    image = image.convert(_PLAIN_MODES.get(mode, 'RGB'))
  pixels = np.asarray(image)
  if pixels.ndim == 2:
    pixels = pixels[..., None]
  return Decoded(pixels, (remark,) * bool(remark), bool(remark))


def _with_alpha(image: Image.Image, bits: int) -> Image.Image:
  """An image of which one colour is transparent, with alpha instead."""
  key = image.info['transparency']
  if isinstance(key, int) and key < 1 << bits < 256:
    # Pillow scales the levels to 8 bits, but not their key.
    image = image.copy()
    image.info['transparency'] = key * 255 // ((1 << bits) - 1)
  return image.convert('RGBA' if image.mode == 'RGB' else 'LA')


def to_8_bit(pixels: np.ndarray) -> np.ndarray:
  """uint16 to uint8: v / 257, rounded half up; uint8 as it is."""
  if pixels.dtype == np.uint8:
    return pixels
  return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
  """What a viewer does for each EXIF orientation."""
  return _TURNS.get(orientation, lambda a: a)(pixels)


_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
  2: lambda a: a[:, ::-1],
  3: lambda a: a[::-1, ::-1],
  4: lambda a: a[::-1],
  5: lambda a: a.swapaxes(0, 1),
  6: lambda a: np.rot90(a, -1),
  7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
  8: lambda a: np.rot90(a),
}


def _to_srgb(image: Image.Image, profile: Any) -> tuple[Image.Image, str]:
  """CMYK or Lab to sRGB: by its profile where it has one that works."""
  mode = image.mode
  try:
    srgb = ImageCms.createProfile('sRGB')
    if mode == 'LAB':
      source: Any = ImageCms.createProfile('LAB')
    else:
      source = io.BytesIO(profile if isinstance(profile, bytes) else b'')
    converted = ImageCms.profileToProfile(image, source, srgb, outputMode='RGB')
    assert converted is not None
    how = '' if mode == 'LAB' else ' by its ICC profile'
    return converted, f'{mode} became sRGB{how}'
  except (ImageCms.PyCMSError, OSError):
    if mode == 'LAB':
      raise ValueError('Lab pixels that cannot be converted') from None
    return image.convert('RGB'), f'{mode} became RGB without an ICC profile'


def _of_integers(image: Image.Image) -> np.ndarray:
  """Gray of 16 bits, [H, W, C], with alpha where one level is transparent."""
  values = np.asarray(image)
  if values.min() < 0 or values.max() > 65535:
    raise ValueError('32-bit integer pixels have no known range')
  values = values.astype(np.uint16)[..., None]
  transparent = image.info.get('transparency')
  if isinstance(transparent, int):
    values = alpha.of_key(values, transparent)
  return values


def _stored_bits(image: Image.Image, stream: BinaryIO) -> int:
  """The bits of a channel of a file; 8 for formats that have no more."""
  stream.seek(0)
  head = stream.read(4096)
  if boxes.is_isobmff(head):
    return boxes.read(stream)[1]
  if image.format == 'JPEG2000':
    place = head.find(_CODESTREAM)
    size = head[place + 42 : place + 43] if place >= 0 else b''
    return (size[0] & 0x7F) + 1 if size else 8
  if image.format == 'SGI':
    return 8 * head[3]
  if image.format == 'PPM' and head[:2] in (b'P2', b'P3', b'P5', b'P6'):
    lines = [line.split(b'#')[0] for line in head.split(b'\n')]
    words = b' '.join(lines).split()
    return int(words[3]).bit_length() if words[3:] else 8
  return 8
