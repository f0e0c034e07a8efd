"""Downloads against a server on loopback: the whole file, or one line."""

import hashlib
import http.server
import socket
import threading

import pytest

from srgan_jax.convert import downloads
from tests.support import loopback

CONTENT = bytes(range(256)) * 9000  # more than two reads
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
  """One path a way in which a download goes, or goes wrong."""

  protocol_version = 'HTTP/1.1'

  def do_GET(self):
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


@pytest.fixture(scope='module')
def server():
  with loopback.serving(Handler) as server:
    server.released = threading.Event()
    yield server.address
    server.released.set()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
  monkeypatch.setenv('no_proxy', '*')


@pytest.mark.parametrize('case', ['good', 'moved'])
@pytest.mark.parametrize('sha256', [None, SHA256, SHA256[:8]])
def test_brings_the_whole_file(server, tmp_path, case, sha256):
  path = tmp_path / 'x.bin'
  path.write_bytes(b'old')

  downloads.download(f'{server}/{case}', path, sha256=sha256)

  assert path.read_bytes() == CONTENT
  assert list(tmp_path.iterdir()) == [path]


def test_brings_a_local_file(tmp_path):
  source = tmp_path / 'source.bin'
  source.write_bytes(CONTENT)
  downloads.download(source.as_uri(), tmp_path / 'x.bin', sha256=SHA256)
  assert (tmp_path / 'x.bin').read_bytes() == CONTENT


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
  refuse(f'{server}/{case}', tmp_path, cause, old)


def test_other_content_is_refused(server, tmp_path):
  refuse(
    f'{server}/good',
    tmp_path,
    f'the SHA-256 differs: {SHA256[:8]}..., not deadbeef...',
    sha256='deadbeef',
  )
  # All of the digits given count, also those that the line leaves out.
  last = '0' if SHA256[-1] != '0' else '1'
  refuse(
    f'{server}/good', tmp_path, 'the SHA-256 differs', sha256=SHA256[:-1] + last
  )


def test_no_server(tmp_path):
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  url = f'http://127.0.0.1:{port}/x'
  refuse(url, tmp_path, 'no connection, offline? ([Errno')


@pytest.mark.parametrize('url', ['ftp://127.0.0.1/x', 'data:,x', '/etc/passwd'])
def test_other_schemes_are_refused(tmp_path, url):
  refuse(url, tmp_path, 'not a URL of https, http, file')


def test_missing_local_file(tmp_path):
  refuse((tmp_path / 'no').as_uri(), tmp_path, 'cannot be read (')


def test_missing_folder_is_found_before_the_download(tmp_path):
  path = tmp_path / 'no' / 'x.bin'
  with pytest.raises(ValueError) as info:
    downloads.download('http://127.0.0.1:1/x', path)
  assert str(info.value) == f'{path}: No such file or directory'


@pytest.mark.parametrize('sha256', ['abc', 'x' * 64, SHA256 + '0'])
def test_wrong_digest_is_refused(tmp_path, sha256):
  with pytest.raises(ValueError, match='8 to 64 digits'):
    downloads.download('http://127.0.0.1:1/x', tmp_path / 'x', sha256=sha256)


def refuse(url, folder, cause, old=None, sha256=None):
  """One line with the URL, the cause and the place; the old file stays."""
  path = folder / 'x.bin'
  if old:
    path.write_bytes(old)
  with pytest.raises(ValueError) as info:
    downloads.download(url, path, sha256=sha256)
  message = str(info.value)
  assert message.startswith(f'{url}: {cause}')
  assert message.endswith(f'; fetch it by hand to {path}')
  assert '\n' not in message
  assert list(folder.iterdir()) == ([path] if old else [])
  if old:
    assert path.read_bytes() == old
