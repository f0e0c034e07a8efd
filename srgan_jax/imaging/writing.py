"""Pictures out: as files of the usual formats, or as Pillow's images.

docs/upscaling.md has the table of what each format keeps.
"""

from typing import Any, BinaryIO

import numpy as np
from PIL import Image, features

from srgan_jax.imaging import alpha, sixteen_bit
from srgan_jax.imaging.pictures import Picture

# The format that a file's suffix stands for. Whatever else is read (GIF among
# it, whose 256 colours are too few) is written as PNG.
SUFFIXES = {
  '.jpg': 'JPEG',
  '.jpeg': 'JPEG',
  '.jpe': 'JPEG',
  '.jfif': 'JPEG',
  '.png': 'PNG',
  '.webp': 'WEBP',
  '.tif': 'TIFF',
  '.tiff': 'TIFF',
  '.bmp': 'BMP',
  '.dib': 'BMP',
  '.avif': 'AVIF',
}
# Pixels a side: what libjpeg and libwebp write, and what libavif reads.
_LARGEST = {'JPEG': 65500, 'WEBP': 16383, 'AVIF': 32768}
_MOST_AVIF = 2**28  # pixels; libavif reads no more
_MOST_JPEG_EXIF = 65533  # bytes, of one marker
_QUALITY = {'JPEG': 95, 'WEBP': 95, 'AVIF': 90}


def output_format(suffix: str) -> str:
  """The format in which a picture with that suffix is written."""
  return SUFFIXES.get(suffix.lower(), 'PNG')


def check_format(form: str, height: int, width: int) -> None:
  """Raises a ValueError where a format cannot hold a size, or is missing."""
  if form == 'AVIF' and 'avif' not in features.get_supported_modules():
    raise ValueError('this Pillow was built without AVIF: --format png')
  largest = _LARGEST.get(form)
  if largest and max(height, width) > largest:
    raise ValueError(
      f'{form} holds at most {largest} pixels a side, not {height}x{width}: '
      '--format png'
    )
  if form == 'AVIF' and height * width > _MOST_AVIF:
    raise ValueError(
      f'AVIF holds at most {_MOST_AVIF} pixels, not {height}x{width}: '
      '--format png'
    )


def write(
  picture: Picture, file: BinaryIO, form: str, quality: int | None = None
) -> None:
  """Writes a picture.

  What the format cannot hold is converted: transparency is composited over
  white for JPEG and BMP, 16 bits are rounded to 8 outside PNG and TIFF, and
  EXIF too long for a JPEG is left out.

  Args:
    picture: what to write.
    file: a binary file, open for writing.
    form: 'JPEG', 'PNG', 'WEBP', 'TIFF', 'BMP' or 'AVIF'.
    quality: 1..100 for JPEG, WebP and AVIF; 95 (AVIF 90) by default, and
      without loss for a WebP that came so.

  Raises:
    ValueError: a TIFF would be larger than 4 GiB.
  """
  pixels = picture.pixels
  kept: dict[str, Any] = {
    'icc_profile': picture.icc_profile,
    'exif': picture.exif,
    'dpi': picture.dpi,
  }
  if form == 'BMP':
    kept = {'dpi': picture.dpi}
  elif form in ('WEBP', 'AVIF'):
    del kept['dpi']
  elif form == 'JPEG' and len(picture.exif or b'') > _MOST_JPEG_EXIF:
    del kept['exif']
  kept = {key: value for key, value in kept.items() if value}
  is_deep = pixels.dtype == np.uint16
  if form == 'TIFF':
    # 16-bit gray with alpha is a TIFF that few can read.
    if is_deep and pixels.shape[-1] == 2:
      pixels = _to_rgb(pixels)
      kept.pop('icc_profile', None)  # of gray
    sixteen_bit.write_tiff(file, pixels, **kept)
    return
  if form == 'PNG' and is_deep and pixels.shape[-1] > 1:
    sixteen_bit.write_png(file, pixels, **kept)
    return
  if form != 'PNG':
    pixels = to_8_bit(pixels)
  if form in ('JPEG', 'BMP') and pixels.shape[-1] in (2, 4):
    pixels = alpha.over_white(pixels)
  if form in ('WEBP', 'AVIF'):
    pixels = _to_rgb(pixels)
    # The colours of a gray profile are not those of RGB.
    if picture.pixels.shape[-1] < 3:
      kept.pop('icc_profile', None)
  options: dict[str, Any] = {}
  if form == 'WEBP' and picture.lossless and quality is None:
    options['lossless'] = True
  elif form in _QUALITY:
    options['quality'] = quality or _QUALITY[form]
  if form == 'JPEG':
    options['subsampling'] = 0 if options['quality'] >= 90 else 2
  image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
  image.save(file, format=form, **options, **kept)


def own_format(form: str) -> str:
  """The format for a picture that was read from one, by Pillow's names."""
  return form if form in SUFFIXES.values() else 'PNG'


def to_image(picture: Picture) -> Image.Image:
  """A Pillow image with the picture's metadata in its `info`.

  Its mode is L, LA, RGB, RGBA or I;16; Pillow has no other of 16 bits, so those
  are rounded to 8.
  """
  pixels = picture.pixels
  if pixels.shape[-1] > 1:
    pixels = to_8_bit(pixels)
  else:
    pixels = pixels[..., 0]
  image = Image.fromarray(pixels)
  for key in ('icc_profile', 'exif', 'dpi'):
    if (value := getattr(picture, key)) is not None:
      image.info[key] = value
  return image


def to_8_bit(pixels: np.ndarray) -> np.ndarray:
  """uint16 to uint8: v / 257, rounded half up; uint8 as it is."""
  if pixels.dtype == np.uint8:
    return pixels
  return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _to_rgb(pixels: np.ndarray) -> np.ndarray:
  """Gray, with or without alpha, as equal channels; colour as it is."""
  if pixels.shape[-1] > 2:
    return pixels
  return np.concatenate(
    [pixels[..., :1].repeat(3, axis=2), pixels[..., 1:]], axis=2
  )
