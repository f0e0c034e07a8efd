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
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms

from srgan_jax.imaging import alpha, depth, exif, further, png, tiff
from srgan_jax.imaging.opening import (
  MAX_MEGAPIXELS,
  ImageFile,
  Opened,
  opened,
)

_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap height and width
_PLAIN_MODES = {'1': 'L', 'La': 'LA', 'RGBa': 'RGBA'}


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
    if tiff.is_tiff(found.stream):
      # Some versions of Pillow have already turned a TIFF's `size`.
      size = tiff.size(found.stream)
    else:
      size = found.image.size
    width, height = size
    if orientation(found) in _SIDEWAYS:
      width, height = height, width
    return height, width


def orientation(found: Opened) -> int:
  """EXIF orientation 1..8 of pixels as `decode` gives them.

  Before that, of pixels as the file has them.
  """
  with contextlib.suppress(Exception):  # broken metadata: as stored
    if found.png:
      block = found.png.find(b'eXIf') or further.raw_profile(found.png, 'exif')
      if block:
        return exif.orientation(block)
      return further.of_png(found.png).orientation
    if found.tiff:
      return tiff.read_metadata(found.stream).orientation
    return int(found.image.getexif().get(ExifTags.Base.Orientation, 1))
  return 1


def decode(found: Opened) -> Decoded:
  """The pixels of an image that was just opened."""
  image = found.image
  if found.tiff:
    image.load()
    pixels, notes = tiff.samples(found.tiff, image)
    if found.tiff.photometric != 5:
      return Decoded(pixels, tuple(notes))
    if pixels.dtype == np.uint16:
      notes.append(f'CMYK of {found.tiff.bits} bits became 8')
    pixels = to_8_bit(pixels)
    profile = tiff.read_metadata(found.stream).icc_profile
    cmyk = Image.fromarray(np.ascontiguousarray(pixels[..., :4]), 'CMYK')
    colours, remark = _to_srgb(cmyk, profile)
    pixels = np.concatenate([np.asarray(colours), pixels[..., 4:]], axis=-1)
    return Decoded(pixels, (*notes, remark), is_srgb=True)
  low = None
  if png.is_deep(image):
    # Decoded twice: Pillow keeps one byte of each sample.
    found.plain.seek(0)
    low = png.low_bytes(Image.open(found.plain, formats=['PNG']))
    found.plain.seek(0)
    image = Image.open(found.plain, formats=['PNG'])
  image.load()
  decoded = of_image(image, profile_of(found), low)
  bits = depth.of_file(image, found.stream)
  if bits > 8 and decoded.pixels.dtype == np.uint8:
    note = f'its {bits} bits a channel became 8'
    decoded = dataclasses.replace(decoded, notes=(*decoded.notes, note))
  return decoded


def profile_of(found: Opened) -> bytes | None:
  """The ICC profile of a file."""
  if found.png:
    return found.png.icc_profile
  profile = found.image.info.get('icc_profile')
  return profile if isinstance(profile, bytes) else None


def of_image(
  image: Image.Image, profile: bytes | None, low: np.ndarray | None = None
) -> Decoded:
  """The pixels of a loaded Pillow image of any mode that has a known range.

  `low` are the low bytes of the samples of a deep image, uint8 [H, W, C].

  Raises:
    ValueError: for floating-point pixels, and integers beyond 16 bits.
  """
  plain, remark = _to_plain_mode(image, profile)
  pixels = _to_array(plain, low, image.info.get('transparency'))
  return Decoded(
    np.ascontiguousarray(pixels), (remark,) * bool(remark), bool(remark)
  )


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
    values = _of_16_bits(np.asarray(image))
    if isinstance(transparent, int):
      opacity = np.where(values == transparent, 0, 65535).astype(np.uint16)
      return np.stack([values, opacity], axis=-1)
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
    opacity = np.where(is_key, 0, 65535).astype(np.uint16)
    values = np.concatenate([values, opacity[..., None]], axis=2)
  return values


def _of_16_bits(values: np.ndarray) -> np.ndarray:
  if values.min() < 0 or values.max() > 65535:
    raise ValueError('32-bit integer pixels have no known range')
  return values.astype(np.uint16)
