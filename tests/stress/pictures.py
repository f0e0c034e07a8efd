"""A folder of pictures of every kind, name and damage, upscaled in one go.

Each is upscaled, refused in one line, or named as passed over; inputs stay as
they were, and outputs are whole.
"""

from collections.abc import Iterator
import csv
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from PIL import Image

from srgan_jax import SCALE, cli
from srgan_jax.imaging import pictures
from tests.stress import Row
from tests.support import image_files, small

HEADER = ('pictures in a nasty folder', 'how many')
_CASES = pathlib.Path(
  os.environ.get('SRGAN_JAX_SHARED', '../shared'), 'cases', 'pictures'
)


def _encode(mode: str, form: str, size: tuple[int, int] = (6, 5)) -> bytes:
  noise = image_files.noise(size[1], size[0])
  return image_files.encode(Image.fromarray(noise).convert(mode), form)


_PNG = _encode('RGB', 'PNG')
_NAMES = (
  os.fsdecode(b'caf\xe9.png'),  # no UTF-8
  '\u5199\u771f \xe9.png',
  'e\u0301.png',
  'two\nlines\x1b[31m.png',
  'l' * 246 + '.png',
  '-o\'"; $x.png',
  'UPPER.PNG',
  'upper.png',
  'deep/er/a.png',
  'folder.png/a.png',
)
_GOOD = {name: _PNG for name in _NAMES} | {
  f'{mode}.{suffix}': _encode(mode, form)
  for suffix, form, modes in (
    ('png', 'PNG', '1 L LA P RGB RGBA I;16'),
    ('jpg', 'JPEG', 'L RGB CMYK'),
    ('tif', 'TIFF', '1 L LA P RGB RGBA CMYK LAB I;16'),
    ('webp', 'WEBP', 'RGB RGBA'),
    ('gif', 'GIF', 'P'),
    ('bmp', 'BMP', '1 L P RGB'),
    ('ppm', 'PPM', 'L RGB'),
    ('jp2', 'JPEG2000', 'L RGB RGBA'),
    ('tga', 'TGA', 'RGB'),
  )
  for mode in modes.split()
} | {
  'one pixel.png': _encode('RGB', 'PNG', (1, 1)),
  'a row.png': _encode('RGB', 'PNG', (300, 1)),
  'a column.jpg': _encode('RGB', 'JPEG', (1, 300)),
  'a png.jpg': _PNG,
}  # fmt: skip
_BAD = {
  'empty.png': b'',
  'text.jpg': b'no picture',
  'cut.png': _encode('RGB', 'PNG', (64, 64))[:-3000],
  'cut.jpg': _encode('RGB', 'JPEG', (64, 64))[:700],
  'cut.webp': _encode('RGB', 'WEBP', (64, 64))[:-99],
  'head.tif': b'II*\0\xff\xff\xff\xff',
  'endless.tif': b'II*\0\x08\0\0\0\0\0\x08\0\0\0',
  '10 gigapixels.png': image_files.png_of(100_000, 100_000, 8, 2, b''),
  '2 to the 62 pixels.png': image_files.png_of(2**31 - 1, 2**31 - 1, 8, 2, b''),
  'no pixels.png': image_files.png_of(0, 5, 8, 2, b''),
}


def attack(short: bool) -> Iterator[Row]:
  """Upscales the folder, and asks what became of each of its pictures."""
  del short
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    source, output, report = folder / 'in', folder / 'out', folder / 'report'
    _fill(source)
    before = _list(source)
    model = small.save_generator(folder / 'generator.safetensors')
    command = [sys.executable, '-m', 'srgan_jax.upscale', f'--report={report}']
    command += [str(source), f'-o{output}', f'--model={model}']
    result = subprocess.run(command, capture_output=True, check=False)
    said = result.stderr.decode(errors='surrogateescape').splitlines()
    with open(report, newline='', errors='surrogateescape') as file:
      rows = list(csv.DictReader(file))
    done, failed = (
      {row['input']: row for row in rows if row['status'] == status}
      for status in ('done', 'failed')
    )
    found = [re.match(r'srgan-upscale: (\d+) passed over', s) for s in said]
    passed = sum(int(match[1]) for match in found if match)
    wrong = {str(source / name) for name in _GOOD} - done.keys()
    wrong |= {path for path, row in done.items() if not _is_whole(row)}
    mute = {str(source / name) for name in _BAD} - failed.keys()
    mute |= {p for p in failed if sum(cli.visible(p) in s for s in said) != 1}
    lost = len(before) - len(done) - len(failed) - passed
    changed = before.items() ^ _list(source).items()
    half = _list(output).keys() ^ {row['output'] for row in done.values()}
  yield Row(('upscaled', len(done)), str(wrong or ''))
  yield Row(('refused, a line each', len(failed)), str(mute or ''))
  yield Row(('named as passed over', passed))
  yield Row(('lost', lost), 'lost' if lost else '')
  yield Row(('inputs changed', len(changed)), str(changed or ''))
  yield Row(('results half written', len(half)), str(half or ''))


def _fill(folder: pathlib.Path) -> None:
  """Makes the pictures, and takes those of the cases that once failed."""
  for name, data in (_GOOD | _BAD).items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
  (folder / 'loop.png').symlink_to('loop.png')
  (folder / 'nowhere.png').symlink_to('not there')
  (folder / 'link.png').symlink_to('RGB.png')
  os.mkfifo(folder / 'pipe.png')
  (folder / 'again').symlink_to('.')
  if _CASES.is_dir():
    shutil.copytree(_CASES, folder / 'cases')


def _list(folder: pathlib.Path) -> dict[str, tuple[int, ...]]:
  """All that is no folder, by path: which file it is, how long and of when."""
  found: dict[str, tuple[int, ...]] = {}
  for place, _, names in os.walk(folder):
    for path in (os.path.join(place, name) for name in names):
      status = os.lstat(path)
      found[path] = status.st_ino, status.st_size, status.st_mtime_ns
  return found


def _is_whole(row: dict[str, str]) -> bool:
  """Whether a result can be read and is as large as it should be."""
  shape = pictures.read(row['output'], '').pixels.shape
  return shape[:2] == tuple(SCALE * int(row[k]) for k in ('height', 'width'))
