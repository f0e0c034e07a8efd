"""Writes pictures as files, or makes Pillow images of them.

docs/upscaling.md has the table of what each format keeps.
"""

from collections.abc import Iterable
import dataclasses
import io
import struct
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image, features

from srgan_jax.imaging import alpha, boxes, exif, iptc, png, tiff_writing, xmp
from srgan_jax.imaging.colour_tags import gray_profile
from srgan_jax.imaging.pictures import Picture
from srgan_jax.imaging.reading import to_8_bit

# The format that a file's suffix stands for. Whatever else is read (GIF among
# it, whose 256 colours are too few) is written as PNG.
SUFFIXES = {
  **dict.fromkeys(('.jpg', '.jpeg', '.jpe', '.jfif'), 'JPEG'),
  '.png': 'PNG',
  '.webp': 'WEBP',
  **dict.fromkeys(('.tif', '.tiff'), 'TIFF'),
  **dict.fromkeys(('.bmp', '.dib'), 'BMP'),
  '.avif': 'AVIF',
}
# Pixels a side: what libjpeg and libwebp write, and what libavif reads.
_LARGEST = {'JPEG': 65500, 'WEBP': 16383, 'AVIF': 32768}
_MOST_AVIF = 2**28  # pixels; libavif reads no more
_QUALITY = {'JPEG': 95, 'WEBP': 95, 'AVIF': 90}
_FULL_COLOUR = 90  # from this quality on, at all pixels
_MOST_DENSITY = 65535  # dots an inch
_MOST_SEGMENT = 65533  # bytes in a segment of a JPEG
_XMP_MARKER = 29  # bytes before XMP in a segment
_JFIF_UNIT = 13  # where a JPEG says what its density counts
_COMMENT, _APP13 = 0xFE, 0xED  # kinds of segments


def output_format(suffix: str) -> str:
  """The format that a suffix stands for."""
  return SUFFIXES.get(suffix.lower(), 'PNG')


def check_format(form: str, height: int, width: int) -> None:
  """Raises a ValueError if a format is missing or cannot hold a size."""
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


def check_colour(picture: Picture, form: str) -> None:
  """Raises a ValueError if a format would show other colours."""
  if picture.colour_tags and (hdr := picture.colour_tags.hdr):
    if form not in ('PNG', 'AVIF'):
      raise ValueError(
        f'{form} cannot hold HDR ({hdr}): --format png or --format avif'
      )


def write(
  picture: Picture,
  file: BinaryIO,
  form: str,
  quality: int | None = None,
  scale: float = 1,
) -> list[str]:
  """Writes a picture to a binary file.

  What the format cannot hold is converted: transparency is composited over
  white for JPEG and BMP, 16 bits are rounded to 8 outside PNG and TIFF.

  Args:
    picture: what to write.
    file: open for writing.
    form: 'JPEG', 'PNG', 'WEBP', 'TIFF', 'BMP' or 'AVIF'.
    quality: 1..100 for JPEG, WebP and AVIF; 95 (AVIF 90) by default, and
      without loss for a WebP that came so.
    scale: from the size that the metadata describe to that of the pixels.

  Returns:
    Notes on what was lost, each for a person to read.

  Raises:
    ValueError: the format cannot hold the picture's colours.
  """
  check_colour(picture, form)
  pixels, channels = picture.pixels, picture.pixels.shape[-1]
  notes = _without_levels(picture, form)
  if form not in ('PNG', 'TIFF') and pixels.dtype == np.uint16:
    notes.append(f'its 16 bits a channel became 8: {form} has no more')
    pixels = to_8_bit(pixels)
  if form in ('JPEG', 'BMP') and channels in (2, 4):
    if pixels[..., -1].min() < 255:
      notes.append(f'its transparency became white: {form} has none')
    pixels = alpha.over_white(pixels)
  profile = _profile(picture, form)
  if form in ('WEBP', 'AVIF') and channels < 3:
    pixels = np.take(pixels, [0, 0, 0, 1][: channels + 2], axis=2)
    if profile and profile[16:20] == b'GRAY':
      # The colours of a gray profile are not those of RGB.
      notes.append('its ICC profile is of gray: dropped')
      profile = None
  height, width, _ = pixels.shape
  packet = picture.xmp and xmp.resized(picture.xmp, height, width, scale, form)
  picture = dataclasses.replace(
    picture, pixels=pixels, icc_profile=profile, xmp=packet
  )
  if form == 'PNG':
    _write_png(picture, file)
    return notes
  if form == 'JPEG':
    return notes + _write_jpeg(picture, file, quality or _QUALITY[form])
  if form == 'TIFF':
    tiff_writing.write(picture, file)
  elif form == 'BMP':
    image_of(pixels).save(file, form, **_given(dpi=picture.dpi))
  else:
    _write_modern(picture, file, form, quality)
  return notes + _without_place(picture, form)


def _lossy(quality: int) -> dict[str, Any]:
  """The options of JPEG and AVIF by a quality."""
  subsampling = '4:4:4' if quality >= _FULL_COLOUR else '4:2:0'
  return {'quality': quality, 'subsampling': subsampling}


def _given(**options: Any) -> dict[Any, Any]:
  """The options that have a value."""
  return {key: value for key, value in options.items() if value}


def _profile(picture: Picture, form: str) -> bytes | None:
  """The ICC profile to write: the picture's own, or one made of its tags."""
  tags, own = picture.colour_tags, picture.icc_profile
  is_gray = picture.pixels.shape[-1] < 3 and form not in ('WEBP', 'AVIF')
  if tags and tags.cicp and form != 'PNG':
    own = None  # a PNG may have both; cICP stands above it
  if own and is_gray and own[16:20] == b'RGB ':
    return gray_profile(own)
  if own or not tags:
    return own
  is_tagged = tags.chunks if form == 'PNG' else tags.cicp and not tags.chunks
  if form in ('PNG', 'AVIF') and is_tagged:
    return None  # they are written as they were
  return tags.icc_profile(is_gray)


def _write_png(picture: Picture, file: BinaryIO) -> None:
  tags, pixels = picture.colour_tags, picture.pixels
  chunks: list[png.Chunk] = []
  if tags and tags.chunks:
    chunks += tags.chunks + tags.levels
  elif tags and tags.hdr and tags.cicp:
    chunks.append(png.Chunk(b'cICP', bytes((*tags.cicp, 0, 1))))
  if picture.icc_profile:
    chunks.append(png.profile_chunk(picture.icc_profile))
  if picture.dpi:
    chunks.append(png.resolution_chunk(picture.dpi))
  elif picture.aspect:
    chunks.append(png.aspect_chunk(picture.aspect))
  chunks += picture.texts
  if picture.exif:
    block = picture.exif.removeprefix(exif.PREFIX)
    chunks.append(png.Chunk(b'eXIf', block))
  if picture.xmp:
    chunks.append(png.text_chunk(png.XMP, picture.xmp))
  if picture.iptc:
    resource = iptc.resource(picture.iptc)
    chunks.append(png.raw_profile_chunk('iptc', resource))
  for comment in picture.comments:
    chunks.append(png.text_chunk('Comment', _utf8(comment)))
  if pixels.dtype == np.uint16 and pixels.shape[-1] > 1:
    png.write_deep(file, pixels, chunks)
  else:
    image_of(pixels).save(cast(BinaryIO, png.Inserting(file, chunks)), 'PNG')


def _utf8(text: bytes) -> bytes:
  try:
    return text.decode().encode()
  except UnicodeDecodeError:
    return text.decode('latin-1').encode()


def _write_jpeg(picture: Picture, file: BinaryIO, quality: int) -> list[str]:
  """Writes a JPEG; returns notes on what its segments cannot hold."""
  density: tuple[float, float] | None = picture.dpi or picture.aspect
  notes, extra = [], b''
  if density and max(density) > _MOST_DENSITY:
    if not _is_resolution_in_exif(picture):
      notes.append(f'JPEG has no place for its {max(density):.0f} dpi')
    density = None
  options = _given(icc_profile=picture.icc_profile, dpi=density)
  too_long = 'its {} is too long for a JPEG: left out'
  for name, data, most in (
    ('EXIF', picture.exif, _MOST_SEGMENT),
    ('XMP', picture.xmp, _MOST_SEGMENT - _XMP_MARKER),
  ):
    if data and len(data) > most:
      notes.append(too_long.format(name))
    elif data:
      options[name.lower()] = data
  as_comments = [c for c in picture.texts if c.data.startswith(b'Comment\0')]
  segments = [
    ('comment', _COMMENT, text)
    for text in (*picture.comments, *map(png.text_of, as_comments))
  ]
  if picture.iptc:
    resource = iptc.MARKER + iptc.resource(picture.iptc)
    segments.append(('IPTC', _APP13, resource))
  for name, marker, body in segments:
    if len(body) > _MOST_SEGMENT:
      notes.append(too_long.format(name))
    else:
      extra += struct.pack('>BBH', 0xFF, marker, len(body) + 2) + body
  if lost := _keywords(c for c in picture.texts if c not in as_comments):
    notes.append(f'JPEG has no place for {lost}')
  image_of(picture.pixels).save(
    file, 'JPEG', extra=extra, **_lossy(quality), **options
  )
  if density and not picture.dpi:
    file.seek(_JFIF_UNIT)
    file.write(b'\0')
    file.seek(0, io.SEEK_END)
  return notes


def _write_modern(
  picture: Picture, file: BinaryIO, form: str, quality: int | None
) -> None:
  """Writes a WebP or an AVIF."""
  options = _given(
    icc_profile=picture.icc_profile, exif=picture.exif, xmp=picture.xmp
  )
  if form == 'WEBP' and picture.lossless and quality is None:
    options['lossless'] = True
  else:
    options |= _lossy(quality or _QUALITY[form])  # WebP has 4:2:0 alone
  image = image_of(picture.pixels)
  tags = picture.colour_tags
  if form == 'AVIF' and tags and tags.cicp and not picture.icc_profile:
    encoded = io.BytesIO()
    image.save(encoded, form, **options)
    file.write(boxes.with_cicp(encoded.getvalue(), tags.cicp))
  else:
    image.save(file, form, **options)


def _without_place(picture: Picture, form: str) -> list[str]:
  """A note on what TIFF, WebP, AVIF or BMP have no place for."""
  lost = {
    _keywords(picture.texts): picture.texts,
    'its comment': picture.comments,
    'its IPTC': form != 'TIFF' and picture.iptc,
    'its XMP': form == 'BMP' and picture.xmp,
    'its ICC profile': form == 'BMP' and picture.icc_profile,
    'its EXIF': form == 'BMP' and picture.exif,
    "its pixels' aspect": picture.aspect
    and form != 'TIFF'
    or _is_uneven(picture.dpi)
    and form in ('WEBP', 'AVIF')
    and not _is_resolution_in_exif(picture),
  }
  names = ' and '.join(name for name, value in lost.items() if value)
  return [f'{form} has no place for {names}'] if names else []


def _without_levels(picture: Picture, form: str) -> list[str]:
  """A note on the light that HDR is made for, which PNG alone gets."""
  levels = picture.colour_tags.levels if picture.colour_tags else ()
  if form == 'PNG' or not levels:
    return []
  names = ', '.join(chunk.kind.decode() for chunk in levels)
  return [f'its HDR levels are left out ({names}): only PNG gets them']


def _is_uneven(dpi: tuple[float, float] | None) -> bool:
  return dpi is not None and dpi[0] != dpi[1]


def _is_resolution_in_exif(picture: Picture) -> bool:
  return any(exif.stated_resolution(picture.exif or b''))


def _keywords(texts: Iterable[png.Chunk]) -> str:
  keys = dict.fromkeys(map(png.keyword_of, texts))
  return f'its text ({", ".join(keys)})' if keys else ''


def image_of(pixels: np.ndarray) -> Image.Image:
  """A Pillow image of uint8 [H, W, C], or of uint16 [H, W, 1]."""
  return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def own_format(form: str) -> str:
  """The format to write for a picture that was read from a format."""
  return form if form in SUFFIXES.values() else 'PNG'


def to_image(picture: Picture) -> Image.Image:
  """Makes a Pillow image with the picture's metadata in its `info`.

  Its mode is L, LA, RGB, RGBA or I;16; Pillow has no other of 16 bits, so those
  are rounded to 8.
  """
  pixels = picture.pixels
  image = image_of(to_8_bit(pixels) if pixels.shape[-1] > 1 else pixels)
  image.info |= _given(
    icc_profile=_profile(picture, ''),
    exif=picture.exif,
    dpi=picture.dpi,
    xmp=picture.xmp,
  )
  return image
