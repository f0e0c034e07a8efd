"""Pictures in, with all that people keep in them.

Where training wants RGB of 8 bits (`srgan_jax.imaging.reading`), upscaling
gives back what it was given: gray or colour, alpha, 16 bits, the colours that
the file states, the resolution, EXIF, XMP, IPTC, comments and text. The EXIF
orientation is applied to the pixels and its tag dropped.
`srgan_jax.imaging.writing` is the way out.

Pixels are uint8 or uint16 [H, W, C]; C is 1 (gray), 2 (gray and alpha), 3 (RGB)
or 4 (RGB and alpha), alpha not premultiplied.
"""

import contextlib
import dataclasses
import os
import struct
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image

from srgan_jax.imaging import boxes, png, reading, tiff
from srgan_jax.imaging import colour_tags as colour_tags_lib
from srgan_jax.imaging import exif as exif_lib
from srgan_jax.imaging import further as further_lib
from srgan_jax.imaging.colour_tags import ColourTags
from srgan_jax.imaging.further import Further
from srgan_jax.imaging.opening import ImageFile, Opened, opened

# Chunks of a PNG that are kept, stand elsewhere here, or say nothing of it.
_PNG_KNOWN = {
  *(b'iCCP', b'sRGB', b'gAMA', b'cHRM', b'cICP', b'mDCV', b'cLLI', b'eXIf'),
  *(b'tEXt', b'zTXt', b'iTXt', b'pHYs', b'tIME', b'bKGD', b'hIST', b'sBIT'),
  *(b'sPLT', b'oFFs', b'pCAL', b'sCAL', b'sTER', b'vpAg', b'caNv', b'orNT'),
  *(b'iDOT', b'zxIf', b'mkBF', b'mkTS', b'mkBS', b'mkBT', b'prVW'),
}
_INCH = 0.0254  # metres


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture and what came with it.

  Attributes:
    pixels: uint8 or uint16 [H, W, C].
    format: Pillow's name of what it was read from, '' if from memory.
    icc_profile: of the pixels as they are here.
    colour_tags: what was stated of its colours where there is no profile.
    exif: a block with its prefix, without orientation.
    further: XMP, IPTC, comments and text.
    dpi: horizontally and vertically.
    lossless: whether it was a WebP without loss.
    notes: what was given up or left aside, each for a person to read.
  """

  pixels: np.ndarray
  format: str = ''
  icc_profile: bytes | None = None
  colour_tags: ColourTags | None = None
  exif: bytes | None = None
  further: Further = Further()
  dpi: tuple[float, float] | None = None
  lossless: bool = False
  notes: tuple[str, ...] = ()

  def with_pixels(self, pixels: np.ndarray) -> 'Picture':
    """The same with other pixels of the same kind."""
    return dataclasses.replace(self, pixels=pixels)


@dataclasses.dataclass(frozen=True)
class _Metadata:
  """What a file says, before it is set right for the pixels as they are."""

  orientation: int = 1
  icc_profile: bytes | None = None
  tags: ColourTags | None = None
  exif: exif_lib.Cleaned = exif_lib.Cleaned(None)
  further: Further = Further()
  dpi: tuple[float, float] | None = None
  pages: int = 1
  notes: tuple[str, ...] = ()


def read(
  file: ImageFile, name: str, max_megapixels: float | None = None
) -> Picture:
  """Reads a picture file, by default of any number of pixels.

  Of an animation or a file with several pages the first is read, and noted.

  Args:
    file: a path, the file's bytes, or a binary file (it is closed).
    name: what to call the file in an error.
    max_megapixels: larger pictures are refused; None refuses none.

  Raises:
    ValueError: the file is missing, truncated or otherwise unreadable, or has
      no known range (floating point, 32 bits); one line with `name`.
  """
  with opened(file, name, max_megapixels) as found:
    decoded = reading.decode(found)
    orientation = reading.orientation(found)
    if found.png:
      metadata = _of_png(found.png)
    elif tiff.is_tiff(found.stream):
      metadata = _of_tiff(found.stream)
    else:
      metadata = _of_image(found.image)
      metadata = _with_stream(metadata, found)
    metadata = dataclasses.replace(metadata, orientation=orientation)
    form = found.image.format or ''
    picture = _picture(decoded, metadata, 'JPEG' if form == 'MPO' else form)
    if form == 'WEBP':
      lossless = _is_lossless_webp(found.stream)
      picture = dataclasses.replace(picture, lossless=lossless)
    return picture


def from_image(image: Image.Image) -> Picture:
  """A Pillow image as a picture.

  Raises:
    ValueError: for floating-point pixels, and integers beyond 16 bits.
  """
  image.load()
  metadata = _of_image(image)
  decoded = reading.of_image(image, metadata.icc_profile)
  return _picture(decoded, metadata, image.format or '')


def _picture(
  decoded: reading.Decoded, metadata: _Metadata, form: str
) -> Picture:
  notes = [*decoded.notes, *metadata.notes]
  if metadata.pages > 1:
    notes.insert(0, f'the first of {metadata.pages} frames or pages')
  profile, tags = metadata.icc_profile, metadata.tags
  if decoded.is_srgb:
    profile = tags = None
  elif profile and not _fits(profile, decoded.pixels):
    notes.append('its ICC profile is for another kind of pixels: dropped')
    profile = None
  if metadata.exif.is_georeferenced:
    notes.append('its georeference is for other pixels: dropped')
  turned = reading.turn(decoded.pixels, metadata.orientation)
  return Picture(
    np.ascontiguousarray(turned),
    format=form,
    icc_profile=profile,
    colour_tags=tags,
    exif=metadata.exif.block,
    further=metadata.further.upright(),
    dpi=metadata.dpi,
    notes=tuple(notes),
  )


def _fits(profile: bytes, pixels: np.ndarray) -> bool:
  """Whether a profile's colour space is that of the pixels."""
  return profile[16:20] == (b'GRAY' if pixels.shape[-1] < 3 else b'RGB ')


def _of_png(chunks: png.Metadata) -> _Metadata:
  notes = []
  if chunks.damaged:
    kinds = ', '.join(dict.fromkeys(chunks.damaged))
    notes.append(f'damaged chunks are left out ({kinds})')
  profile = chunks.icc_profile
  if profile is None and chunks.find(b'iCCP'):
    notes.append('its ICC profile cannot be unpacked: dropped')
  others = {c.kind for c in chunks.chunks} - _PNG_KNOWN - png.OF_PIXELS
  if others:
    names = ', '.join(sorted(kind.decode('latin-1') for kind in others))
    notes.append(f'chunks of an unknown kind are left out ({names})')
  tags = colour_tags_lib.of_png(chunks)
  block = chunks.find(b'eXIf') or further_lib.raw_profile(chunks, 'exif')
  dpi = None
  resolution = chunks.find(b'pHYs') or b''
  if len(resolution) == 9 and resolution[8] == 1:
    x, y, _ = struct.unpack('>IIB', resolution)
    dpi = _true(x * _INCH, y * _INCH)
  return _Metadata(
    icc_profile=None if tags and tags.cicp else profile,
    tags=tags,
    exif=exif_lib.clean(block) if block else exif_lib.Cleaned(None),
    further=further_lib.of_png(chunks),
    dpi=dpi,
    pages=_animation_frames(chunks),
    notes=tuple(notes),
  )


def _animation_frames(chunks: png.Metadata) -> int:
  control = chunks.find(b'acTL')
  return struct.unpack('>I', control[:4])[0] if control else 1


def _of_tiff(stream: BinaryIO) -> _Metadata:
  found = tiff.read_metadata(stream)
  return _Metadata(
    icc_profile=found.icc_profile,
    exif=found.exif,
    further=Further(xmp=found.xmp, iptc=found.iptc),
    dpi=_true(*found.dpi) if found.dpi else None,
    pages=found.pages,
    notes=found.notes,
  )


def _of_image(image: Image.Image) -> _Metadata:
  """What Pillow says of an image."""
  info, cleaned, orientation = image.info, exif_lib.Cleaned(None), 1
  with contextlib.suppress(Exception):  # broken metadata is no broken picture
    orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    cleaned = exif_lib.clean(info.get('exif') or image.getexif().tobytes())
  dpi = None
  with contextlib.suppress(Exception):
    dpi = _true(*(float(value) for value in info['dpi']))
  pages = 1
  with contextlib.suppress(Exception):  # counting them may meet damage
    pages = getattr(image, 'n_frames', 1)
  profile = info.get('icc_profile')
  tags = None
  if 'gamma' in info or 'chromaticity' in info:
    tags = ColourTags(
      gamma=1 / info['gamma'] if info.get('gamma') else None,
      chromaticities=info.get('chromaticity'),
    )
  return _Metadata(
    orientation=orientation,
    icc_profile=profile if isinstance(profile, bytes) and profile else None,
    tags=None if profile or 'srgb' in info else tags,
    exif=cleaned,
    further=further_lib.of_info(info),
    dpi=dpi,
    pages=pages,
  )


def _with_stream(metadata: _Metadata, found: Opened) -> _Metadata:
  """Adds what Pillow does not say of a JPEG, AVIF or HEIF."""
  stream, notes, more = found.stream, [], metadata.further
  stream.seek(0)
  if boxes.is_isobmff(stream.read(12)) and not metadata.icc_profile:
    tags = colour_tags_lib.of_cicp(boxes.read(stream).cicp)
    metadata = dataclasses.replace(metadata, tags=tags)
  if found.image.format == 'AVIF':
    with contextlib.suppress(Exception):
      # Where the file is to be turned, Pillow writes its EXIF anew, as ASCII.
      decoder = getattr(found.image, '_decoder')  # noqa: B009
      cleaned = exif_lib.clean(decoder.get_info()[4] or b'')
      metadata = dataclasses.replace(metadata, exif=cleaned)
  if found.image.format in ('JPEG', 'MPO'):
    more = dataclasses.replace(more, comments=further_lib.jpeg_comments(stream))
  if b'hdrgm:Version' in (more.xmp or b'') and metadata.pages == 1:
    notes.append('its HDR gain map is left out')
  if b'HasExtendedXMP' in (more.xmp or b''):
    notes.append('the second part of its XMP is left out')
  return dataclasses.replace(
    metadata, further=more, notes=(*metadata.notes, *notes)
  )


def _true(x: float, y: float) -> tuple[float, float] | None:
  """Dots an inch, where they can be true."""
  return (x, y) if 1 < min(x, y) and max(x, y) < 1e6 else None


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
