"""The upscaling command."""

import csv
import io
import os
import subprocess
import sys
import types

import numpy as np
from PIL import ExifTags, Image
import pytest

from srgan_jax.imaging import pictures, writing
from srgan_jax.upscaling import upscaler
from tests.support import repository
from tests.support.image_files import deep, encode, huge, profile, write
from tests.support.upscaling import (
  nearest_neighbour,
  noise,
  run,
  save_generator,
)


def nasty_files():
  """Names and contents; those that cannot be read begin with 'bad'."""
  photo = Image.fromarray(noise(24, 30, 3))
  frames = {'save_all': True, 'append_images': [photo.rotate(90)]}
  return {
    'bad zero.png': b'',
    'bad bomb.png': huge(),
    'deep/rgba16.png': write(pictures.Picture(deep(6, 5, 4)), 'PNG'),
    'deep/er/cmyk.jpg': encode(
      photo.convert('CMYK'), 'JPEG', icc_profile=profile('CMYK')
    ),
    'thin.png': encode(Image.fromarray(noise(3, 400, 3))),
    'moving.gif': encode(photo, 'GIF', **frames),
    'pages.tiff': encode(photo, 'TIFF', **frames),
    # Not taken for pictures:
    'notes.txt': b'no picture at all',
    '._thin.png': b'what macOS leaves beside a picture',
    'deep/clip.mpg': b'a film',
    'data.h5': b'numbers',
  }


def test_a_folder_of_nasty_files(model, tmp_path, capsys):
  folder, out = tmp_path / 'in', tmp_path / 'out'
  for name, data in nasty_files().items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
  report = tmp_path / 'report.csv'
  arguments = (folder, '-o', out, '--model', model, '--report', report)
  assert run(*arguments) == 1

  said = capsys.readouterr()
  failures = [line for line in said.err.splitlines() if '/bad ' in line]
  assert len(failures) == 2
  assert any('--max-megapixels' in line for line in failures)
  for name in ('cmyk.jpg', 'moving.gif', 'pages.tiff'):
    assert sum(name in line for line in said.err.splitlines()) == 1
  made = {
    'deep/rgba16.png': ((20, 24), 'RGBA'),
    'deep/er/cmyk.jpg': ((120, 96), 'RGB'),
    'thin.png': ((1600, 12), 'RGB'),
    'moving.png': ((120, 96), 'RGB'),
    'pages.tiff': ((120, 96), 'RGB'),
  }
  found = {p.relative_to(out).as_posix() for p in out.rglob('*.*')}
  assert found == made.keys()
  for name, expected in made.items():
    with Image.open(out / name) as image:
      assert (image.size, image.mode) == expected, name
      assert image.format == writing.output_format(name[name.index('.') :])
  again = pictures.read(out / 'deep/rgba16.png', '')
  assert again.pixels.dtype == np.uint16

  with open(report, newline='') as file:
    rows = {row['input']: row for row in csv.DictReader(file)}
  assert len(rows) == 7
  row = rows[str(folder / 'thin.png')]
  assert (row['status'], row['width'], row['height']) == ('done', '400', '3')
  assert rows[str(folder / 'bad zero.png')]['status'] == 'failed'


def test_metadata_goes_through_the_command(model, tmp_path):
  exif = Image.Exif()
  exif[ExifTags.Base.Make] = 'A maker'
  exif[ExifTags.Base.Orientation] = 8
  source = tmp_path / 'photo.jpg'
  Image.fromarray(noise(8, 9, 3)).save(
    source, exif=exif, icc_profile=profile(), dpi=(300, 300)
  )
  assert run(source, '-o', tmp_path / 'large.jpg', '--model', model) == 0
  with Image.open(tmp_path / 'large.jpg') as image:
    assert image.size == (32, 36)
    assert image.info['icc_profile'] == profile()
    assert image.info['dpi'] == (300, 300)
    assert dict(image.getexif())[ExifTags.Base.Make] == 'A maker'
    assert ExifTags.Base.Orientation not in image.getexif()


def test_format_quality_and_file_names(model, tmp_path):
  source = tmp_path / 'a.bmp'
  source.write_bytes(encode(Image.fromarray(noise(16, 16, 3)), 'BMP'))
  go = lambda *a: run(source, '--model', model, '-o', *a)
  assert go(tmp_path / 'out', '--format', 'webp') == 0
  assert go(tmp_path / 'b.jpg', '--quality', '30') == 0
  assert go(tmp_path / 'c.jpg') == 0
  assert go(tmp_path / 'dotted.folder') == 0
  for name, form in (('out/a.webp', 'WEBP'), ('dotted.folder/a.bmp', 'BMP')):
    with Image.open(tmp_path / name) as image:
      assert image.format == form
  b, c = ((tmp_path / name).stat().st_size for name in ('b.jpg', 'c.jpg'))
  assert b < c / 2


def test_no_picture_takes_anothers_place(model, tmp_path, capsys):
  for name in ('a.png', 'a.gif'):
    Image.new('RGB', (6, 5)).save(tmp_path / name)
  before = (tmp_path / 'a.png').read_bytes()
  for out in (tmp_path, tmp_path / 'a.png'):
    assert run(tmp_path / 'a.png', '-o', out, '--model', model) == 1
    assert 'a.png' in capsys.readouterr().err
  assert (tmp_path / 'a.png').read_bytes() == before
  # With another ending, a name that is taken keeps its own.
  out = tmp_path / 'out'
  both = tmp_path / 'a.png', tmp_path / 'a.gif'
  assert run(*both, '-o', out, '--model', model) == 0
  assert {path.name for path in out.iterdir()} == {'a.png', 'a.gif.png'}


def test_of_two_pictures_with_one_name_the_rest_are_made(
  model, tmp_path, capsys
):
  for name in ('x/a.png', 'y/a.png', 'y/b.png'):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    Image.new('RGB', (6, 5)).save(tmp_path / name)
  out = tmp_path / 'out'
  assert run(tmp_path / 'x', tmp_path / 'y', '-o', out, '--model', model) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert str(tmp_path / 'x/a.png') in line
  assert str(tmp_path / 'y/a.png') in line
  assert {path.name for path in out.iterdir()} == {'a.png', 'b.png'}


def test_results_in_the_input_folder_are_no_input(model, tmp_path):
  Image.new('RGB', (6, 5)).save(tmp_path / 'a.png')
  for _ in range(2):
    assert run(tmp_path, '-o', tmp_path / 'x4', '--model', model) == 0
  assert len(list(tmp_path.rglob('*.png'))) == 2


def test_a_failing_network_or_disk_is_one_line_a_picture(
  model, tmp_path, capsys, monkeypatch
):
  folder, out = tmp_path / 'in', tmp_path / 'out'
  for path in (folder / 'sub', out):
    path.mkdir(parents=True)
  for name in ('a.png', 'b.png'):
    Image.new('RGB', (6, 5)).save(folder / 'sub' / name)
  (out / 'sub').write_text('a file, where a folder should be')
  code = run(folder, '-o', out, '--model', model)
  lines = capsys.readouterr().err.splitlines()
  assert code == 1 and len(lines) == 2 and all('sub' in line for line in lines)

  def fail(self, image, progress=None):
    raise FloatingPointError('the generator made values that are not finite')

  monkeypatch.setattr(upscaler.Upscaler, '__call__', fail)
  assert run(folder, '-o', tmp_path / 'x', '--model', model) == 1
  assert 'a.png: the generator made' in capsys.readouterr().err


def test_a_result_too_large_for_its_format_is_not_computed(
  model, monkeypatch, capsys
):
  monkeypatch.setitem(writing._LARGEST, 'JPEG', 20)
  monkeypatch.setattr(upscaler.Upscaler, '__call__', None)
  data = encode(Image.new('RGB', (6, 5)), 'JPEG')
  stdin = types.SimpleNamespace(buffer=io.BytesIO(data))
  monkeypatch.setattr(sys, 'stdin', stdin)
  assert run('-', '-o', '-', '--model', model) == 1
  assert 'at most 20 pixels a side, not 20x24' in capsys.readouterr().err


@pytest.fixture(scope='module')
def repeating(tmp_path_factory):
  path = tmp_path_factory.mktemp('nearest') / 'generator.safetensors'
  return save_generator(path, nearest_neighbour()[1])


@pytest.mark.parametrize('form', ['PNG', 'TIFF', 'BMP', 'JPEG', 'WEBP'])
def test_colours_do_not_shift_on_their_way(repeating, tmp_path, form):
  """Photos, through files and a network that changes nothing."""
  photos = sorted(repository.PHOTOS.rglob('*.jpg'))[:3]
  assert len(photos) == 3
  for i, path in enumerate(photos):
    with Image.open(path) as image:
      photo = image.convert('RGB').crop((50, 50, 130, 110))
    photo.paste((255, 255, 255), (0, 0, 20, 20))  # nothing may wrap around
    photo.paste((0, 0, 0), (20, 0, 40, 20))
    source = tmp_path / f'{i}.{form.lower()}'
    source.write_bytes(encode(photo, form))
    before = pictures.read(source, '').pixels.astype(int)
    out = tmp_path / 'out'
    assert run(source, '-o', out, '--model', repeating, '--tile', '32') == 0
    after = pictures.read(out / source.name, '').pixels.astype(int)
    shift = after.mean(axis=(0, 1)) - before.mean(axis=(0, 1))
    assert np.abs(shift).max() < 0.5
    expected = before.repeat(4, axis=0).repeat(4, axis=1)
    if form in ('PNG', 'TIFF', 'BMP'):
      np.testing.assert_array_equal(after, expected)
    assert np.abs(after - expected).max() < 100


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_no_level_shifts_in_any_dtype(dtype):
  tiled = upscaler.Upscaler(*nearest_neighbour(), tile=32)
  top = np.iinfo(dtype).max if dtype != np.float32 else 1
  levels = np.linspace(0, top, 33 * 40 * 3).reshape(33, 40, 3).astype(dtype)
  sr = tiled(levels)
  expected = levels.repeat(4, axis=0).repeat(4, axis=1)
  np.testing.assert_allclose(sr, expected, atol=0 if top > 1 else 1e-6)


def test_standard_input_and_output_and_a_cache(model, tmp_path):
  """A process of its own, which also fills the cache of compiled programs."""
  data = encode(Image.fromarray(noise(9, 7, 3)), 'JPEG')
  result = subprocess.run(
    [
      sys.executable,
      '-m',
      'srgan_jax.upscale',
      '-',
      '-o',
      '-',
      '--model',
      str(model),
    ],
    cwd=repository.ROOT,
    input=data,
    capture_output=True,
    env=os.environ
    | {
      'XDG_CACHE_HOME': str(tmp_path / 'cache'),
      'JAX_COMPILATION_CACHE_DIR': '',
      'XLA_FLAGS': '',  # with several virtual devices JAX keeps no programs
    },
  )
  assert result.returncode == 0, result.stderr
  with Image.open(io.BytesIO(result.stdout)) as image:
    assert (image.format, image.size) == ('JPEG', (28, 36))
  assert list((tmp_path / 'cache' / 'srgan_jax').rglob('*-cache'))
