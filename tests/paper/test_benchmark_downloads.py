"""Fetching benchmarks: all of a set's images, verified, or one line."""

import functools
import hashlib
import http.server
import io
import pathlib
import socket
import tarfile

import numpy as np
from PIL import Image
import pytest

from srgan_jax.paper import benchmark_downloads
from tests.support import loopback

RNG = np.random.default_rng(0)
# One of a size that is no multiple of 4, one in grayscale.
PIXELS = {
  'one': RNG.integers(0, 256, (9, 14, 3), np.uint8),
  'two': RNG.integers(0, 256, (8, 8), np.uint8),
}


def png(pixels):
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, 'PNG')
  return file.getvalue()


def sha256(pixels):
  rgb = np.broadcast_to(np.atleast_3d(pixels), (*pixels.shape[:2], 3))
  height, width = (n - n % 4 for n in pixels.shape[:2])
  return hashlib.sha256(rgb[:height, :width].tobytes()).hexdigest()


GOOD = {f'Tiny_HR/{name}.png': png(value) for name, value in PIXELS.items()}


def make_tar(path, members, mode='w:gz'):
  with tarfile.open(path, mode) as archive:
    for name, content in members.items():
      info = tarfile.TarInfo(name)
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content))
  return path


@pytest.fixture
def home(tmp_path):
  """A server's folder and its address."""
  folder = tmp_path / 'home'
  folder.mkdir()

  class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
      pass

  handler = functools.partial(Handler, directory=folder)
  with loopback.serving(handler) as server:
    yield folder, server.address


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
  """Two sets in place of the real ones; nothing is asked of the network."""
  monkeypatch.setenv('no_proxy', '*')
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  home = f'http://127.0.0.1:{port}/{{}}_HR.tar.gz'
  pinned = '\n'.join(f'{name} {sha256(x)}' for name, x in PIXELS.items())
  sets = {
    name.lower(): benchmark_downloads.Benchmark(name, 2, pixels)
    for name, pixels in (('Tiny', pinned), ('Free', ''))
  }
  monkeypatch.setattr(benchmark_downloads, '_HOME', home)
  monkeypatch.setattr(benchmark_downloads, 'BENCHMARKS', sets)


def run(capsys, *arguments):
  benchmark_downloads.main([str(argument) for argument in arguments])
  return capsys.readouterr().out


def refusal(*arguments):
  with pytest.raises(SystemExit) as info:
    benchmark_downloads.main([str(argument) for argument in arguments])
  message = info.value.code
  assert isinstance(message, str) and '\n' not in message
  assert message.startswith('fetch_benchmarks: ')
  return message


def files(folder):
  return sorted(str(p.relative_to(folder)) for p in folder.rglob('*.*'))


def test_fetches_from_its_home(home, tmp_path, monkeypatch, capsys):
  folder, address = home
  make_tar(folder / 'Tiny_HR.tar.gz', GOOD)
  url = f'{address}/{{}}_HR.tar.gz'
  monkeypatch.setattr(benchmark_downloads, '_HOME', url)
  output = tmp_path / 'data'

  said = run(capsys, 'tINY', '-o', output)

  assert said.startswith(f'Tiny: 2 images in {output}/Tiny/HR, all known')
  assert files(output) == ['Tiny/HR/one.png', 'Tiny/HR/two.png']
  for name, content in GOOD.items():
    file = output / 'Tiny' / 'HR' / pathlib.Path(name).name
    assert file.read_bytes() == content  # also the grayscale one, as it was


def test_offline_is_one_line_that_helps(tmp_path, capsys):
  message = refusal('Tiny', '-o', tmp_path)
  archive = tmp_path / 'Tiny_HR.tar.gz'
  assert 'Tiny_HR.tar.gz: no connection, offline?' in message
  assert f'fetch it by hand to {archive} and run this again' in message
  assert files(tmp_path) == []
  # As it says.
  make_tar(archive, GOOD)
  assert 'all known' in run(capsys, 'Tiny', '-o', tmp_path)
  assert archive.exists()


def test_what_macos_leaves_is_no_image(tmp_path, capsys):
  members = {**GOOD, 'Tiny_HR/._two.png': b'mac', 'Tiny_HR/README.md': b''}
  make_tar(tmp_path / 'Tiny_HR.tar.gz', members)
  assert 'all known by their pixels' in run(capsys, 'Tiny', '-o', tmp_path)
  assert len(list((tmp_path / 'Tiny' / 'HR').iterdir())) == 2


OTHER = {**GOOD, 'Tiny_HR/two.png': png(PIXELS['two'] ^ 1)}
TWICE = {'Tiny_HR/a.png': GOOD['Tiny_HR/one.png']}
TWICE['Tiny_HR/b.png'] = TWICE['Tiny_HR/a.png']


@pytest.mark.parametrize(
  ('members', 'expected'),
  [
    (dict(list(GOOD.items())[:1]), 'has 1 images; Tiny has 2'),
    ({**GOOD, 'Tiny_HR/x.png': png(PIXELS['two'].T)}, 'has 3 images'),
    (OTHER, ': two.png has the pixels of none of the images of Tiny'),
    (TWICE, ': a.png and b.png are one image'),
    ({**GOOD, 'Tiny_HR/two.png': b'\x89PNG'}, ': two.png: not a readable'),
    ({**GOOD, '../two.png': b''}, "'../two.png' leads outside"),
    ({**GOOD, '/tmp/two.png': b''}, "'/tmp/two.png' leads outside"),
    ({**GOOD, r'a\..\two.png': b''}, 'leads outside'),
    ({**GOOD, 'again_HR/two.png': b''}, 'has both Tiny_HR/two.png and again'),
    ({'README': b''}, 'has no images'),
  ],
)
def test_wrong_archives_leave_nothing(tmp_path, members, expected):
  archive = make_tar(tmp_path / 'Tiny_HR.tar.gz', members)
  message = refusal('Tiny', '-o', tmp_path)
  assert message.startswith(f'fetch_benchmarks: {archive}')
  assert expected in message
  assert files(tmp_path) == ['Tiny_HR.tar.gz']


@pytest.mark.parametrize(
  ('content', 'expected'),
  [
    (b'', 'is empty'),
    (b'<!DOCTYPE html>', 'is a web page'),
    (b'version https://git-lfs.github.com/spec/v1\n', 'is a Git LFS pointer'),
    (b'PK\x03\x04 and so on', 'is not a whole archive'),
    ('cut', 'is not a whole archive'),
  ],
)
def test_what_is_no_archive(tmp_path, content, expected):
  archive = tmp_path / 'Tiny_HR.tar.gz'
  if content == 'cut':
    content = make_tar(archive, GOOD).read_bytes()[:-200]
  archive.write_bytes(content)
  message = refusal('Tiny', '-o', tmp_path)
  assert f'{archive}' in message and expected in message
  assert not (tmp_path / 'Tiny').exists()


def test_only_regular_files_are_taken(tmp_path):
  with tarfile.open(tmp_path / 'Tiny_HR.tar.gz', 'w') as file:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
      info = tarfile.TarInfo(f'Tiny_HR/{kind.decode()}.png')
      info.type, info.linkname = kind, '/etc/hostname'
      file.addfile(info)
  assert 'has no images' in refusal('Tiny', '-o', tmp_path)


@pytest.mark.parametrize(
  ('limit', 'value', 'expected'),
  [
    ('_MAX_BYTES', 400, 'makes it larger than a benchmark can be'),
    ('_MAX_MEMBERS', 1, 'it has more than 1 members'),
  ],
)
def test_too_large_archives_are_refused(
  tmp_path, monkeypatch, limit, value, expected
):
  monkeypatch.setattr(benchmark_downloads, limit, value)
  make_tar(tmp_path / 'Tiny_HR.tar.gz', GOOD, 'w')
  assert expected in refusal('Tiny', '-o', tmp_path)
  assert files(tmp_path) == ['Tiny_HR.tar.gz']


def test_filled_folder_is_accepted(tmp_path, capsys):
  folder = tmp_path / 'Tiny' / 'HR'
  folder.mkdir(parents=True)
  for name, content in GOOD.items():
    (folder / pathlib.Path(name).name).write_bytes(content)
  said = run(capsys, 'Tiny', '-o', tmp_path)
  assert '2 images' in said and 'all known by their pixels' in said
  (folder / 'two.png').unlink()
  said = run(capsys, 'Tiny', '-o', tmp_path)
  assert 'used as they are. WARNING: ' in said
  assert 'has 1 images; Tiny has 2' in said
  assert files(tmp_path) == ['Tiny/HR/one.png']


def test_a_set_without_pinned_pixels(tmp_path, capsys):
  make_tar(tmp_path / 'Free_HR.tar.gz', GOOD)
  said = run(capsys, 'free', '-o', tmp_path)
  digests = sorted(sha256(pixels) for pixels in PIXELS.values())
  combined = hashlib.sha256(''.join(digests).encode()).hexdigest()
  assert f'pixels not pinned, SHA-256 of the set {combined[:16]}' in said


def test_an_unknown_set_is_named(tmp_path):
  message = refusal('Set6', '-o', tmp_path)
  assert message == "fetch_benchmarks: 'Set6' is not one of Tiny, Free"


def test_public_sets_pass(shared_data, tmp_path, monkeypatch, capsys):
  monkeypatch.undo()
  for name in ('Set5', 'Set14'):
    archive = tmp_path / f'{name}_HR.tar.gz'
    with tarfile.open(archive, 'w:gz', compresslevel=1) as file:
      file.add(shared_data / 'benchmarks' / name / 'HR', f'{name}_HR')
    said = run(capsys, name, '-o', tmp_path)
    assert 'all known by their pixels' in said
    assert len(list((tmp_path / name / 'HR').iterdir())) in (5, 14)
  wrong = tmp_path / 'wrong'
  wrong.mkdir()
  (tmp_path / 'Set14_HR.tar.gz').rename(wrong / 'Set5_HR.tar.gz')
  refusal('Set5', '-o', wrong)
  assert not (wrong / 'Set5').exists()
