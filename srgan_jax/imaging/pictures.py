"""Reads pictures with their metadata.

Training reads RGB of 8 bits (`srgan_jax.imaging.reading`); upscaling keeps gray
or colour, alpha, 16 bits, the colours that the file states, the resolution,
EXIF, XMP, IPTC, comments and text. The EXIF orientation is applied to the
pixels and its tag dropped. `srgan_jax.imaging.writing` writes pictures.

Pixels are uint8 or uint16 [H, W, C]; C is 1 (gray), 2 (gray and alpha), 3 (RGB)
or 4 (RGB and alpha), alpha not premultiplied.
"""

import contextlib
import dataclasses
from typing import BinaryIO

import numpy as np
from PIL import Image

from srgan_jax.imaging import (
  blocks,
  boxes,
  colour_tags,
  exif,
  ifd,
  iptc,
  jpeg,
  png,
  reading,
  resolution,
  tiff,
  webp,
  xmp,
)
from srgan_jax.imaging.colour_tags import ColourTags
from srgan_jax.imaging.opening import ImageFile, Opened, opened

# Chunks of a PNG that are kept, stand elsewhere here, or say little of it.
_PNG_KNOWN = {
  *(b'iCCP', b'sRGB', b'gAMA', b'cHRM', b'cICP', b'eXIf'),
  *(b'tEXt', b'zTXt', b'iTXt', b'pHYs', b'tIME', b'bKGD', b'hIST', b'sBIT'),
  *(b'sPLT', b'vpAg', b'caNv', b'orNT'),
  *(b'iDOT', b'zxIf', b'mkBF', b'mkTS', b'mkBS', b'mkBT', b'prVW'),
}
# Those that say something of it, but of other pixels or to few programs.
_PNG_LEFT_OUT = {*colour_tags.LEVELS, b'oFFs', b'pCAL', b'sCAL', b'sTER'}


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture and its metadata.

  Attributes:
    pixels: uint8 or uint16 [H, W, C].
    format: Pillow's name of what it was read from, '' if from memory.
    icc_profile: of the pixels as they are here.
    colour_tags: what the file states of its colours besides a profile.
    exif: a block with its prefix, without orientation.
    xmp: a packet.
    iptc: IIM's records.
    comments: a JPEG's, GIF's or PPM's.
    texts: a PNG's chunks of text.
    dpi: horizontally and vertically.
    aspect: pixels along equal sides, of pixels that are not square.
    lossless: whether it was a WebP without loss.
    notes: what was given up or left aside, each for a person to read.
  """

  pixels: np.ndarray
  format: str = ''
  icc_profile: bytes | None = None
  colour_tags: ColourTags | None = None
  exif: bytes | None = None
  xmp: bytes | None = None
  iptc: bytes | None = None
  comments: tuple[bytes, ...] = ()
  texts: tuple[png.Chunk, ...] = ()
  dpi: tuple[float, float] | None = None
  aspect: tuple[int, int] | None = None
  lossless: bool = False
  notes: tuple[str, ...] = ()

  def with_pixels(self, pixels: np.ndarray) -> 'Picture':
    """The same picture with other pixels of the same kind."""
    return dataclasses.replace(self, pixels=pixels)


def read(file: ImageFile, name: str) -> Picture:
  """Reads a picture file of any number of pixels.

  Of an animation or a file with several pages the first is read, and noted.

  Args:
    file: a path, the file's bytes, or a binary file (it is closed).
    name: what to call the file in an error.

  Raises:
    ValueError: the file is missing, truncated or otherwise unreadable, or has
      no known range (floating point, 32 bits); one line with `name`.
  """
  with opened(file, name, None) as found:
    decoded = reading.decode(found)
    orientation = reading.stored_orientation(found)
    form = found.image.format or ''
    picture = Picture(
      _turned(decoded.pixels, reading.orientation(found)),
      format='JPEG' if form == 'MPO' else form,
      lossless=form == 'WEBP' and webp.is_lossless(found.stream),
      notes=decoded.notes,
    )
    if found.png:
      picture = _with_png(picture, found.png)
    elif found.tiff:
      picture = _with_tiff(picture, found.tiff, found.stream)
    else:
      picture = _with_info(picture, found.image)
      picture = _with_stream(picture, found)
    return _settled(picture, orientation, decoded.is_srgb)


def from_image(image: Image.Image) -> Picture:
  """A Pillow image as a picture.

  Raises:
    ValueError: for floating-point pixels, and integers beyond 16 bits.
  """
  decoded = reading.of_image(image)
  orientation = reading.orientation_of(image)
  pixels = _turned(decoded.pixels, orientation)
  picture = Picture(pixels, image.format or '', notes=decoded.notes)
  picture = _with_info(picture, image)
  return _settled(picture, orientation, decoded.is_srgb)


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
  return np.ascontiguousarray(reading.turn(pixels, orientation))


def _settled(picture: Picture, orientation: int, is_srgb: bool) -> Picture:
  """Metadata of pixels that were turned; drops profiles of other pixels."""
  profile, tags, notes = picture.icc_profile, picture.colour_tags, picture.notes
  if is_srgb:
    profile = tags = None
  elif profile and not _fits(profile, picture.pixels):
    notes += ('its ICC profile is for another kind of pixels: dropped',)
    profile = None
  dpi, aspect = picture.dpi, picture.aspect
  if picture.exif and not dpi and not aspect:
    dpi, aspect = exif.stated_resolution(picture.exif)
  if orientation in reading.SIDEWAYS:
    dpi, aspect = dpi and dpi[::-1], aspect and aspect[::-1]
  block, lost = exif.clean(picture.exif or b'', dpi)
  return dataclasses.replace(
    picture,
    icc_profile=profile,
    colour_tags=tags,
    exif=block,
    xmp=picture.xmp and xmp.upright(picture.xmp, orientation),
    dpi=dpi,
    aspect=aspect,
    notes=(*notes, *lost),
  )


def _fits(profile: bytes, pixels: np.ndarray) -> bool:
  """Whether a profile's colour space has the pixels' colours."""
  is_rgb = profile[16:20] == b'RGB '
  if pixels.shape[-1] > 2:
    return is_rgb
  if is_rgb:
    return colour_tags.gray_profile(profile) is not None
  return profile[16:20] == b'GRAY'


def _with_png(picture: Picture, chunks: png.Metadata) -> Picture:
  notes = _noted_pages(chunks.frames)
  if chunks.damaged:
    kinds = ', '.join(dict.fromkeys(chunks.damaged))
    notes.append(f'damaged chunks are left out ({kinds})')
  profile = chunks.icc_profile
  if profile is None and chunks.find(b'iCCP'):
    notes.append('its ICC profile cannot be unpacked: dropped')
  tags = colour_tags.of_png(chunks)
  kept = {c.kind for c in (tags.levels if tags else ())}
  notes += _left_out_of_png({c.kind for c in chunks.chunks} - kept)
  records, resources = iptc.of_blocks(
    chunks.raw_profile('iptc') or b'', chunks.raw_profile('8bim') or b''
  )
  notes += iptc.left_out(resources)
  return dataclasses.replace(
    picture,
    icc_profile=profile,
    colour_tags=tags,
    exif=chunks.exif,
    xmp=chunks.xmp,
    iptc=records,
    texts=chunks.words,
    dpi=resolution.plausible(*chunks.dpi),
    aspect=resolution.aspect(*chunks.aspect),
    notes=(*picture.notes, *notes),
  )


def _left_out_of_png(kinds: set[bytes]) -> list[str]:
  """Notes on the chunks that the result has not."""
  others = kinds - _PNG_KNOWN - png.OF_PIXELS
  notes = []
  for what, found in (
    ('chunks', others & _PNG_LEFT_OUT),
    ('chunks of an unknown kind', others - _PNG_LEFT_OUT),
  ):
    if found:
      names = ', '.join(sorted(kind.decode('latin-1') for kind in found))
      notes.append(f'{what} are left out ({names})')
  return notes


def _with_tiff(picture: Picture, page: tiff.Page, stream: BinaryIO) -> Picture:
  fields = page.fields
  resources = dict(iptc.split(fields.data(tiff.PHOTOSHOP) or b''))
  records = fields.data(tiff.IPTC) or resources.get(iptc.RECORDS)
  dpi, aspect = resolution.of_fields(fields)
  block, lost = exif.of_tiff(stream, page.form, page.places)
  lost += iptc.left_out(resources)
  pages = len(ifd.pages(stream, page.form, page.places[0]))
  notes = _noted_pages(pages - len(page.places) + 1)
  return dataclasses.replace(
    picture,
    icc_profile=fields.data(tiff.PROFILE),
    exif=block,
    xmp=fields.data(tiff.XMP),
    iptc=records,
    dpi=dpi,
    aspect=aspect,
    notes=(*picture.notes, *notes, *lost),
  )


def _with_info(picture: Picture, image: Image.Image) -> Picture:
  """Adds the metadata that Pillow reads."""
  info, block, dpi = image.info, None, None
  notes = _noted_pages(_frames(image))
  with contextlib.suppress(Exception):  # broken metadata is no broken picture
    block = info.get('exif') or image.getexif().tobytes()
  # Of a JPEG that states none, Pillow makes one of EXIF's X alone.
  if info.get('jfif_unit') or image.format not in ('JPEG', 'MPO'):
    with contextlib.suppress(Exception):
      x, y = info['dpi']
      dpi = resolution.plausible(float(x), float(y))
  density = info.get('jfif_density', (0, 0))
  profile, packet, comment = map(info.get, ('icc_profile', 'xmp', 'comment'))
  tags = None
  if ('gamma' in info or 'chromaticity' in info) and not (
    profile or 'srgb' in info
  ):
    tags = ColourTags(
      gamma=1 / info['gamma'] if info.get('gamma') else None,
      chromaticities=info.get('chromaticity'),
    )
  resources = info.get('photoshop')
  if not isinstance(resources, dict):  # a PSD has its own
    own = getattr(image, 'resources', ())
    resources = {kind: data for kind, _, data in own}
  records = resources.get(iptc.RECORDS)
  notes += iptc.left_out(resources)
  return dataclasses.replace(
    picture,
    icc_profile=profile if isinstance(profile, bytes) and profile else None,
    colour_tags=tags,
    exif=block if isinstance(block, bytes) else None,
    xmp=packet.encode() if isinstance(packet, str) else packet,
    iptc=records if isinstance(records, bytes) else None,
    comments=(comment,) if isinstance(comment, bytes) and comment else (),
    dpi=dpi,
    aspect=None if info.get('jfif_unit') else resolution.aspect(*density),
    notes=(*picture.notes, *notes),
  )


def _with_stream(picture: Picture, found: Opened) -> Picture:
  """Adds metadata that Pillow does not read."""
  stream = found.stream
  notes: list[str] = []
  changes = blocks.read(found.image, stream)
  stream.seek(0)
  is_isobmff = boxes.is_isobmff(stream.read(12))
  if is_isobmff and not picture.icc_profile:
    changes['colour_tags'] = colour_tags.of_cicp(boxes.read(stream)[0])
  if levels := boxes.levels(stream) if is_isobmff else []:
    notes.append(f'its HDR levels are left out ({", ".join(levels)})')
  if found.image.format == 'AVIF':
    with contextlib.suppress(Exception):
      # Where the file is to be turned, Pillow writes its EXIF anew, as ASCII.
      decoder = getattr(found.image, '_decoder')  # noqa: B009
      changes['exif'] = decoder.get_info()[4]
  if picture.format == 'JPEG':  # Pillow's `comment` is the last of them
    segments = getattr(found.image, 'applist')  # noqa: B009
    texts = [data for kind, data in segments if kind == 'COM' and data]
    changes['comments'] = tuple(texts)
    notes += jpeg.left_out(segments, stream)
  elif picture.format == 'WEBP':
    notes += webp.left_out(stream)
  elif picture.format in ('AVIF', 'HEIF', 'JPEG2000'):
    notes += [exif.NO_CREDENTIALS] * boxes.has_credentials(stream)
  notes += blocks.left_out_of_heif(found.image.info)
  packet = picture.xmp or b''
  if b'hdrgm:Version' in packet and _frames(found.image) == 1:
    notes.append('its HDR gain map is left out')
  if b'HasExtendedXMP' in packet:
    notes.append('the second part of its XMP is left out')
  return dataclasses.replace(picture, **changes, notes=(*picture.notes, *notes))


def _frames(image: Image.Image) -> int:
  with contextlib.suppress(Exception):  # counting them may meet damage
    return getattr(image, 'n_frames', 1)
  return 1


def _noted_pages(count: int) -> list[str]:
  return [f'the first of {count} frames or pages'] if count > 1 else []
