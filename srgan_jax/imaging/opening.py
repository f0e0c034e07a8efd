"""Opens image files: which formats are read, and up to which size.

Every picture of this package is opened here, with a list of formats that
Pillow decodes by itself: nothing reaches Ghostscript or another program,
whatever a file's name. Pillow gets a PNG without its metadata, so that its
checks of these refuse no picture; `Opened.png` has them.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import io
import os
import struct
import threading
from typing import Any, BinaryIO, cast
import warnings

from PIL import Image, UnidentifiedImageError, features

from srgan_jax import cli
from srgan_jax.imaging import png as png_lib
from srgan_jax.imaging import tiff as tiff_lib

ImageFile = str | os.PathLike[str] | bytes | BinaryIO

MAX_MEGAPIXELS = 250  # of a picture that is read, unless a caller says so
_MOST_ICON = 17  # megapixels; Pillow decodes an icon with its header

# Pillow's names of the formats that are read.
_FORMATS = (
  'AVIF BMP DDS GIF ICO JPEG JPEG2000 PCX PNG PPM PSD QOI SGI TGA TIFF WEBP '
  'XBM DIB'
).split()
# Those that a Pillow may have been built without.
_FEATURES = {'AVIF': 'avif', 'JPEG2000': 'jpg_2000', 'WEBP': 'webp'}
_DRAWINGS = 'they are drawings: export a PNG'
_VIDEOS = 'python -m srgan_jax.video upscales videos'
# What reads pictures that are not read here, by their suffixes.
_READERS = {
  'pip install pillow-heif': '.heic .heics .heif .heifs .hif',
  'a Pillow that was built with AVIF': '.avif .avifs',
  'a Pillow that was built with WebP': '.webp',
  'a Pillow that was built with JPEG 2000': '.j2c .j2k .jp2 .jpc .jpf .jpx',
  "libjxl's djxl makes PNGs of them": '.jxl',
  'a raw converter (darktable, RawTherapee) makes TIFFs of them': (
    '.3fr .arw .cr2 .cr3 .crw .dng .erf .iiq .kdc .mef .mos .mrw .nef .nrw '
    '.orf .pef .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f'
  ),
  'they are HDR: a TIFF or PNG is read': '.exr .hdr',
  _DRAWINGS: '.ai .eps .pdf .ps .svg .svgz .emf .wmf',
  _VIDEOS: (
    '.3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .vob .webm '
    '.wmv'
  ),
  'ImageMagick makes PNGs of them': '.cur .fits .fts .icns .jls .jxr .wdp .xcf',
}
_HEIF_BRANDS = (b'heic', b'heix', b'heim', b'hevc', b'mif1', b'msf1')
_HEADS = {
  b'\xff\x0a': 'JPEG XL',
  b'\0\0\0\x0cjxl ': 'JPEG XL',
  b'%!ps': 'PostScript',
  b'%pdf': 'PDF',
  b'<svg': 'SVG',
  b'<?xml': 'XML',
  b'<!doctype': 'a web page',
  b'<html': 'a web page',
  b'version https://git-lfs': 'a Git LFS pointer (git lfs pull)',
}


@dataclasses.dataclass(frozen=True)
class Opened:
  """An image file whose pixels are not decoded yet.

  Attributes:
    image: as Pillow sees it.
    stream: the whole file.
    plain: what Pillow reads.
    png: a PNG's metadata.
    tiff: a TIFF's first page.
  """

  image: Image.Image
  stream: BinaryIO
  plain: BinaryIO
  png: png_lib.Metadata | None = None
  tiff: tiff_lib.Page | None = None

  @property
  def size(self) -> tuple[int, int]:
    """Width and height as stored; Pillow turns some TIFFs'."""
    return self.tiff.size if self.tiff else self.image.size


@functools.cache
def formats() -> tuple[str, ...]:
  """The formats that the installed Pillow reads, by its names."""
  parts = features.get_supported()
  found = [f for f in _FORMATS if _FEATURES.get(f, 'pil') in parts]
  with contextlib.suppress(ImportError):
    import pillow_heif

    pillow_heif.register_heif_opener()
    found.append('HEIF')
  return tuple(found)


@functools.cache
def suffixes() -> tuple[str, ...]:
  """The suffixes of files that are read, in lower case."""
  known = (*formats(), 'MPO')
  extensions = Image.registered_extensions()
  return tuple(sorted(s for s, form in extensions.items() if form in known))


def is_image(name: str) -> bool:
  """Whether a file's name is that of a picture that is read."""
  base = os.path.basename(name)
  # '._x.jpg' is what macOS leaves beside x.jpg: metadata, no picture.
  return base.lower().endswith(suffixes()) and not base.startswith('.')


def what_reads(name: str) -> str | None:
  """What reads a picture or video that is not read here; else None."""
  suffix = os.path.splitext(name)[1].lower()
  if os.path.basename(name).startswith('.') or suffix in suffixes():
    return None
  return next(
    (how for how, known in _READERS.items() if suffix in known.split()), None
  )


def may_be_photo(reader: str) -> bool:
  """Whether what `what_reads` has given reads photos."""
  return reader not in (_DRAWINGS, _VIDEOS)


def holds_image(path: str | os.PathLike[str]) -> bool:
  """Whether a file is a picture that is read, whatever its name."""
  try:
    with opened(path, '', None):
      return True
  except ValueError:
    return False


@contextlib.contextmanager
def opened(
  file: ImageFile, name: str, max_megapixels: float | None = MAX_MEGAPIXELS
) -> Iterator[Opened]:
  """Opens an image; any failure inside becomes a ValueError.

  Args:
    file: a path, the file's bytes, or a binary file (closed afterwards).
    name: what to call the file in an error.
    max_megapixels: larger pictures are refused; None refuses none.
  """
  metadata = page = None
  try:
    with _stream(file) as stream, _quiet_pillow():
      plain = stream
      if found := png_lib.split(stream):
        metadata, plain = found
      elif tiff := tiff_lib.split(stream):
        page, plain = tiff
      for size in _icon_sizes(stream):
        most = _MOST_ICON if max_megapixels is None else max_megapixels
        _check_size(size, min(most, _MOST_ICON))
      with _open(plain, stream, page) as image:
        result = Opened(image, stream, plain, metadata, page)
        _check_size(result.size, max_megapixels)
        yield result
  except MemoryError:
    raise
  except Exception as error:  # Pillow's plugins raise all sorts on bad files
    why = cli.reason(error)
    if (reader := what_reads(name)) and reader not in why:
      why += f'; {reader}'
    if page and why.startswith('decoder error'):
      why += f': damaged, or not decoded here ({page.describe()})'
    raise ValueError(f'{name}: not a readable image: {why}') from error


def _open(
  plain: BinaryIO, stream: BinaryIO, page: tiff_lib.Page | None
) -> Image.Image:
  try:
    return Image.open(plain, formats=formats())
  except UnidentifiedImageError:
    why = page.describe() if page else _describe(stream)
    raise ValueError(why) from None


def _describe(stream: BinaryIO) -> str:
  """Why a file is not read, by its first bytes."""
  stream.seek(0)
  start = stream.read(512)
  if not start:
    return 'empty'
  if start[4:8] == b'ftyp' and start[8:12] in _HEIF_BRANDS:
    reader = what_reads('a.heic')
    return 'HEIF, whatever its name' + (f': {reader}' if reader else '')
  if start.startswith(b'8BPS'):
    return 'a PSD of more than 8 bits or with colours that are not read'
  for head, what in _HEADS.items():
    if start.lstrip().lower().startswith(head):
      return f'{what}, whatever its name'
  return 'no image format that is read'


def _stream(file: ImageFile) -> BinaryIO:
  if isinstance(file, bytes):
    return io.BytesIO(file)
  if isinstance(file, str | os.PathLike):
    return open(file, 'rb')
  return file


def _check_size(size: tuple[int, int], max_megapixels: float | None) -> None:
  pixels = size[0] * size[1]
  if max_megapixels is not None and pixels > max_megapixels * 1e6:
    raise ValueError(
      f'{size[0]}x{size[1]} pixels are over the limit of {max_megapixels:g} '
      'megapixels'
    )


def _icon_sizes(stream: BinaryIO) -> list[tuple[int, int]]:
  """The true sizes of an ICO's pictures, which its own header understates."""
  stream.seek(0)
  head = stream.read(6)
  sizes = []
  if head.startswith(b'\0\0\1\0'):
    table = stream.read(16 * int.from_bytes(head[4:], 'little'))
    for place in range(12, len(table) - 3, 16):
      stream.seek(int.from_bytes(table[place : place + 4], 'little'))
      start = stream.read(24)
      if start.startswith(png_lib.SIGNATURE):
        sizes.append(struct.unpack('>II', start[16:]))
      elif len(start) == 24:
        width, height = struct.unpack('<ii', start[4:12])
        sizes.append((abs(width), abs(height) // 2))
  return sizes


_lock = threading.Lock()
_readers = contextlib.ExitStack()
_count = 0


@contextlib.contextmanager
def _quiet_pillow() -> Iterator[None]:
  """Suspends Pillow's size limit and its warnings while any file is open.

  Both are global: the first reader changes them, the last restores them.
  """
  global _count
  with _lock:
    if not _count:
      limit = Image.MAX_IMAGE_PIXELS
      Image.MAX_IMAGE_PIXELS = None
      _readers.callback(setattr, Image, 'MAX_IMAGE_PIXELS', limit)
      warnings.filterwarnings('ignore', module=r'PIL\.')
      _readers.callback(_remove_filter, warnings.filters[0])
    _count += 1
  try:
    yield
  finally:
    with _lock:
      _count -= 1
      if not _count:
        _readers.close()


def _remove_filter(item: Any) -> None:
  # Not by warnings.catch_warnings, which would undo what others set meanwhile.
  with contextlib.suppress(ValueError):
    cast(list[Any], warnings.filters).remove(item)
