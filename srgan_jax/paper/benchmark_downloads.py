"""Brings the benchmarks' original images into a folder, verified.

  python -m srgan_jax.paper.benchmark_downloads [NAME...] -o data

NAME: Set5, Set14, BSD100 or Urban100; without one, all four. The images go to
data/NAME/HR, which is what `python -m srgan_jax.evaluate --hr` takes; it makes
LR itself. A folder that has images already is only verified: where a set's home
cannot be reached, put your own copy there.

What is verified: that the set has all of its images and every one opens. Set5
and Set14 image by image, by the SHA-256 of their pixels (uint8 RGB, row by row,
cropped to a multiple of 4 as for x4), under whatever names and in whatever
lossless format they come. BSD100 and Urban100 have no pinned pixels: the set's
SHA-256 is printed, so that two copies can be compared. A set that is wrong is
named with its image, and nothing is put in place.

Set5: Bevilacqua et al. 2012; Set14: Zeyde et al. 2010; BSD100: Martin et al.
2001; Urban100: Huang et al. 2015. For research; see their pages for the terms.
"""

from collections.abc import Sequence
import contextlib
import dataclasses
import hashlib
import os
import pathlib
import tarfile
import tempfile

from srgan_jax import cli, files, weights
from srgan_jax.convert import downloads
from srgan_jax.evaluation import benchmarks
from srgan_jax.imaging import reading

_SUFFIXES = ('.png', '.bmp', '.jpg', '.jpeg', '.tif', '.tiff')
# Urban100's largest file has a few MB, all of them 135 MB.
_MAX_MEMBERS, _MAX_BYTES = 10_000, 2**29
_HOME = (
  'https://huggingface.co/datasets/eugenesiow/{0}/resolve/main/data/'
  '{0}_HR.tar.gz'
)

# SHA-256 of each image's pixels, computed from the public x4 pairs: their LR is
# the exact resize of these pixels, byte for byte, and nearest and bicubic get
# the PSNR and SSIM on them that the paper prints (docs/protocols.md).
_SET5 = """
  baby f14d515486b1a110a8f6a08b23114a7c0ef79e96337692bb48e24dfd8943b3b7
  bird 0f7ca11adc96abc59dd08160fb99dc77a3732ffc7b903db6832eceeb5592dcbf
  butterfly 200d3ae507119f83763ea74f31f54de31cad6a36ec478cae7a8eab2de2304163
  head 1aca63a883d2cabd7a143dd452427305ca9fa8ab965d7202d9081fcce5cbd508
  woman 6d9d5a40b83984bde434c44ae6e070484ec37b15741b4561c684b2001deb474f
"""
_SET14 = """
  baboon 98907465928a27865658a818db29276338ea9eaf528f7dbe1515a0d800f74614
  barbara 0267e5896588256605a865df7b6bbe7c346b8059e970bbf8cae99b0973f38cec
  bridge 278689daf6c3cb7add8f09315fc6079fe987f5ecd4d98871ffc34ec5d84aefa8
  coastguard 59e27df80c33a7cbef338414b81a5745cc9bf8d72a6d9275d7c773cd9f149520
  comic 23db5710e335ccff27f56f38056124373818c3fdb9bf1a6bf29e06f65637467e
  face 10729944d3efb29e5ec99a92cb80ddfa4a69f6853549ba9691a98dd81a01ebf7
  flowers fead702dd719a5939e88338d9416c9be5ad7fdfe4498dcb6f69a222425d66cf1
  foreman df44893b86c999937d2354ff96a9b56ccf95afbac530005bdb342f3b84eca818
  lenna 467e7e33da6f66bd3b9a61510cb7ce87d7fd004d82d8a15e3febecd7a5f314c9
  man 6b586ecfe5e768e612442c459430a451ba4490934d28ec7ac6c6ccfd025f802a
  monarch 601d3e0f5563eeef71d45f8a89ac73cf2f3d546cf572b8f8744950d17927c0d8
  pepper a18d4e9adaa8677dbf9d454680ace6000767e81a349ddbebf988670d1623bb85
  ppt3 7854ac7175dca55ce63bbe999c1c233d370a60c5bef27c9849c90c98c573fc7f
  zebra 4b54f709cd2148ac275e8842124234b64409a54333c53bd9b4942a18929abcac
"""


@dataclasses.dataclass(frozen=True)
class Benchmark:
  """A set of images, and how it is recognised.

  Attributes:
    name: as in papers.
    count: how many images it has.
    pixels: a line an image: its usual name and the SHA-256 of its pixels; ''
      where they are not pinned.
  """

  name: str
  count: int
  pixels: str = ''


BENCHMARKS = {
  benchmark.name.lower(): benchmark
  for benchmark in (
    Benchmark('Set5', 5, _SET5),
    Benchmark('Set14', 14, _SET14),
    Benchmark('BSD100', 100),
    Benchmark('Urban100', 100),
  )
}


def fetch(benchmark: Benchmark, directory: pathlib.Path) -> str:
  """Puts a benchmark's originals into `directory/NAME/HR`, or verifies them.

  They come from its home's archive: from a copy in the directory, else it is
  downloaded, and removed afterwards. Returns one line: how many images lie
  where, and how they are known.

  Raises:
    ValueError: one line; nothing is put in place.
  """
  target = directory / benchmark.name / 'HR'
  if target.is_dir() and any(target.iterdir()):
    count = len(benchmarks.list_images(target))
    line = f'{benchmark.name}: {count} images in {target} (there before), '
    try:
      return line + _verify(benchmark, target, str(target))
    except ValueError as error:
      return f'{line}used as they are. WARNING: {error}'
  files.make_folder(directory)
  url = _HOME.format(benchmark.name)
  archive = directory / url.rpartition('/')[2]
  if archive.exists():
    return _install(benchmark, archive, target)
  try:
    downloads.download(url, archive)
  except ValueError as error:
    raise ValueError(
      f'{error} and run this again, or put your copy of {benchmark.name} into '
      f'{target}'
    ) from error
  try:
    return _install(benchmark, archive, target)
  finally:
    archive.unlink()


def _install(
  benchmark: Benchmark, archive: pathlib.Path, target: pathlib.Path
) -> str:
  """Unpacks an archive, verifies it and puts it in place; `fetch`'s line."""
  with tempfile.TemporaryDirectory(
    dir=target.parent.parent, prefix=f'.{benchmark.name}.'
  ) as staging:
    folder = pathlib.Path(staging, 'HR')
    folder.mkdir()
    _unpack(archive, folder)
    verdict = _verify(benchmark, folder, str(archive))
    target.parent.mkdir(exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
      target.rmdir()  # it is empty
    os.replace(folder, target)
  return f'{benchmark.name}: {benchmark.count} images in {target}, {verdict}'


def _verify(benchmark: Benchmark, folder: pathlib.Path, name: str) -> str:
  """Says how a folder's images are known to be the set.

  Raises:
    ValueError: one line that begins with `name`, for a wrong number, an image
      that does not open, or pixels that are not the set's.
  """
  images = benchmarks.list_images(folder)
  if len(images) != benchmark.count:
    raise ValueError(
      f'{name} has {len(images)} images; {benchmark.name} has {benchmark.count}'
    )
  known = set(benchmark.pixels.split()[1::2])
  found: dict[str, str] = {}
  for file in images:
    image = reading.read_rgb(file, f'{name}: {file.name}')
    digest = hashlib.sha256(benchmarks.crop(image).tobytes()).hexdigest()
    if known and digest not in known:
      raise ValueError(
        f'{name}: {file.name} has the pixels of none of the images of '
        f'{benchmark.name} (SHA-256 {digest[:16]}...)'
      )
    if digest in found:
      raise ValueError(f'{name}: {found[digest]} and {file.name} are one image')
    found[digest] = file.name
  if known:
    return 'all known by their pixels'
  combined = hashlib.sha256(''.join(sorted(found)).encode()).hexdigest()
  return f'pixels not pinned, SHA-256 of the set {combined[:16]}'


def _unpack(archive: pathlib.Path, folder: pathlib.Path) -> None:
  """Writes a tar's images into a folder, under their own names.

  Raises:
    ValueError: one line with the archive's name: it is not whole, has no
      images, two of one name, a path that leads outside, or is too large.
  """
  weights.reject_placeholder(archive)
  try:
    images = _read(archive)
  except files.TAR_FAULTS as error:
    detail = cli.one_line(error)
    raise ValueError(f'{archive} is not a whole archive ({detail})') from error
  except ValueError as error:
    raise ValueError(f'{archive}: {error}') from error
  names: dict[str, pathlib.PurePosixPath] = {}
  for path, content in images.items():
    if (other := names.setdefault(path.name, path)) is not path:
      raise ValueError(f'{archive} has both {other} and {path}')
    (folder / path.name).write_bytes(content)
  if not names:
    raise ValueError(f'{archive} has no images')


def _read(archive: pathlib.Path) -> dict[pathlib.PurePosixPath, bytes]:
  """The image files of a tar.

  Raises:
    ValueError: for a path that leads outside, too many members or bytes.
  """
  images: dict[pathlib.PurePosixPath, bytes] = {}
  left = _MAX_BYTES
  with tarfile.open(archive) as tar:
    for count, member in enumerate(tar):
      if count >= _MAX_MEMBERS:
        raise ValueError(f'it has more than {_MAX_MEMBERS} members')
      path = pathlib.PurePosixPath(member.name)
      if path.is_absolute() or '..' in path.parts or '\\' in member.name:
        raise ValueError(f'{member.name!r} leads outside: not unpacked')
      left -= member.size
      if left < 0:
        raise ValueError(f'{path} makes it larger than a benchmark can be')
      # '._x.png' is what macOS leaves beside x.png: metadata, no picture.
      is_image = path.suffix.lower() in _SUFFIXES and path.name[0] != '.'
      if is_image and member.isfile():
        file = tar.extractfile(member)
        assert file is not None
        images[path] = file.read()
  return images


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = cli.parser(__doc__)
  parser.add_argument(
    'names', nargs='*', metavar='NAME', help='Set5, Set14, BSD100, Urban100'
  )
  parser.add_argument(
    '-o', '--output', type=pathlib.Path, required=True, metavar='DIR'
  )
  options = parser.parse_args(arguments)
  with cli.failing_in_a_line('fetch_benchmarks'):
    for name in options.names:
      if name.lower() not in BENCHMARKS:
        known = ', '.join(b.name for b in BENCHMARKS.values())
        raise ValueError(f'{name!r} is not one of {known}')
    for name in options.names or BENCHMARKS:
      benchmark = BENCHMARKS[name.lower()]
      print(fetch(benchmark, options.output), flush=True)


if __name__ == '__main__':
  cli.run(main)
