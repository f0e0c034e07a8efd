"""The page, as a browser shows it: a real upload, and the result compared."""

import contextlib
import importlib.util
import json
import os
import pathlib
import socket
import time
import urllib.parse

import numpy as np
from PIL import Image
import pytest

import srgan_jax
from srgan_jax import demo
from tests.support import chromium, image_files, pages, repository, small

# Gradio takes seconds to import: that is left to the worker that has this file.
pytestmark = pytest.mark.skipif(
  importlib.util.find_spec('gradio') is None,
  reason='the package gradio is not installed',
)


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  path = tmp_path_factory.mktemp('runs') / 'tiny.safetensors'
  return small.save_generator(path)


@pytest.fixture(scope='module')
def page(model, tmp_path_factory):
  """The command's address, and the folder that it keeps pictures in."""
  folder = tmp_path_factory.mktemp('temporary')
  command = [
    '-m',
    'srgan_jax.demo',
    f'--model={model}',
    '--max-megapixels=0.01',
  ]
  environment = {**os.environ, 'TMPDIR': str(folder)}
  with pages.serving(*command, env=environment) as server:
    yield server.url, folder
    assert any(folder.iterdir())
    assert 'Traceback' not in server.stop()
  assert server.process.returncode == 0
  assert not any(folder.iterdir()), 'uploads were left behind'


@pytest.mark.parametrize(
  'path',
  [
    '/gradio_api/file=/etc/hostname',
    f'/gradio_api/file={pathlib.Path(demo.__file__)}',
    '/gradio_api/file=README.md',
    '/gradio_api/file=http://127.0.0.1/',
    '/gradio_api/proxy=http://127.0.0.1/',
    '/gradio_api/info',
    '/gradio_api/mcp/sse',
    '/gradio_api/heartbeat/a',
    '/monitoring/summary',
    '/docs',
    '/openapi.json',
  ],
)
def test_only_what_the_page_needs_is_open(page, path):
  assert pages.ask(page[0], path)[0] == 403


def test_files_above_the_folder_are_closed(page):
  address, folder = page
  (inside,) = folder.iterdir()
  for path in (f'{inside}/../x.txt', f'{inside}/%2e%2e/x.txt'):
    assert pages.ask(address, f'/gradio_api/file={path}')[0] == 403
  assert pages.ask(address, f'/gradio_api/file={inside}/none.png')[0] in (
    403,
    404,
  )


def join(address, inputs, data):
  """Has the page's function of so many inputs called: the answer's status."""
  config = json.loads(pages.ask(address, '/config')[2])
  (called,) = [d for d in config['dependencies'] if len(d['inputs']) == inputs]
  body = {
    'data': data,
    'fn_index': called['id'],
    'session_hash': 'session',
    'event_data': None,
    'trigger_id': called['targets'][0][0],
  }
  return pages.ask(
    address,
    '/gradio_api/queue/join',
    json.dumps(body).encode(),
    Origin=address,
    Content_Type='application/json',
  )[0]


def file_data(path):
  return {'path': str(path), 'meta': {'_type': 'gradio.FileData'}}


@pytest.mark.parametrize('place', range(4))
def test_no_file_of_this_machine_is_taken_for_an_upload(page, place, tmp_path):
  address, folder = page
  secret = tmp_path / 'secret.png'
  secret.write_bytes(image_files.encode(Image.new('RGB', (8, 8))))
  (inside,) = folder.iterdir()
  for path in (
    secret,
    f'{inside}/../../{tmp_path.name}/secret.png',
    secret.as_uri(),
    f'{address}/config',
  ):
    data = [None, 'srgan', 1, 'off']
    for nested in (file_data(path), [{'a': file_data(path)}]):
      data[place] = nested
      assert join(address, 4, data) == 403
  assert not list(folder.rglob('secret*')) and not list(folder.rglob('config'))


def test_an_example_becomes_the_picture(page):
  address, folder = page
  assert join(address, 1, [0]) == 200
  answer = pages.ask(address, '/gradio_api/queue/data?session_hash=session')[2]
  done = [
    json.loads(line.removeprefix('data: '))
    for line in answer.decode().splitlines()
    if 'process_completed' in line
  ]
  (example,) = done[0]['output']['data']
  assert pathlib.Path(example['path']).is_relative_to(folder)
  # And again to the page's other function.
  assert join(address, 4, [example, 'srgan', 1, 'off']) == 200


def test_nonsense_is_refused_in_a_line(page):
  address, _ = page
  path = '/gradio_api/queue/data?session_hash=nobody'
  assert b'Not Found' in pages.ask(address, path)[2]
  for body in (b'{', b'[' * 9000, b'\xff'):
    assert (
      pages.ask(
        address,
        '/gradio_api/queue/join',
        body,
        Origin=address,
        Content_Type='application/json',
      )[0]
      == 403
    )


def test_the_page_is_closed_to_others(page):
  address, _ = page
  status, headers, _ = pages.ask(address, '/')
  assert status == 200
  policy = headers['Content-Security-Policy']
  assert "default-src 'none'" in policy and 'unsafe-eval' not in policy
  assert "frame-ancestors 'none'" in policy
  assert headers['X-Content-Type-Options'] == 'nosniff'
  assert headers['Referrer-Policy'] == 'no-referrer'
  assert 'Server' not in headers
  # Another name for this computer; another site's script or form.
  assert pages.ask(address, '/', Host='evil.example')[0] == 400
  for origin in ('http://evil.example', 'null'):
    for path in ('/gradio_api/upload', '/gradio_api/queue/join'):
      assert pages.ask(address, path, b'{}', Origin=origin)[0] == 403
  assert pages.ask(address, '/gradio_api/queue/join', b'{}')[0] == 403


def test_an_upload_is_bounded(page):
  address, folder = page
  headers = {
    'Origin': address,
    'Content-Type': 'multipart/form-data; boundary=b',
  }
  status, _, content = pages.ask(
    address, '/gradio_api/upload', b'x', Content_Length='100000000', **headers
  )
  assert status == 413 and b'Too Large' in content

  # One that does not say how long it is.
  def picture():
    yield b'--b\r\nContent-Disposition: form-data; name="files"; '
    yield b'filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    for _ in range(70):
      yield bytes(2**20)

  with contextlib.suppress(BrokenPipeError, ConnectionResetError):
    assert (
      pages.ask(address, '/gradio_api/upload', picture(), **headers)[0] == 413
    )
  # What came of it is where it will be found and deleted.
  (inside,) = folder.iterdir()
  parts = [path for path in inside.iterdir() if path.is_file()]
  assert sum(path.stat().st_size for path in parts) <= 2**26


def test_old_uploads_make_room(tmp_path, monkeypatch):
  from srgan_jax import demo_server

  monkeypatch.setattr(demo_server, '_MAX_STORED', demo_server._MAX_UPLOAD + 10)
  (tmp_path / 'a').mkdir()
  old, new = tmp_path / 'a' / 'old.png', tmp_path / 'a' / 'new.png'
  old.write_bytes(bytes(20))
  os.utime(old, (0, 0))
  new.write_bytes(bytes(8))
  part = tmp_path / 'part'
  part.write_bytes(bytes(20))
  os.utime(part, (time.time() - 200,) * 2)
  assert demo_server.make_room(tmp_path, [])
  assert new.exists() and not old.exists() and not part.exists()
  new.write_bytes(bytes(20))
  assert not demo_server.make_room(tmp_path, [])


def test_uploads_that_start_together_are_counted(page):
  address, _ = page
  host = urllib.parse.urlsplit(address)
  start = (
    f'POST /gradio_api/upload HTTP/1.1\r\nHost: {host.netloc}\r\n'
    f'Origin: {address}\r\nContent-Length: 2000\r\n'
    'Content-Type: multipart/form-data; boundary=b\r\n\r\n--b'
  )

  def wait_until_full(expected):
    end = time.monotonic() + pages.PATIENCE
    while expected != (
      b'is full'
      in pages.ask(address, '/gradio_api/upload', b'', Origin=address)[2]
    ):
      assert time.monotonic() < end

  with contextlib.ExitStack() as stack:
    for _ in range(40):  # each of up to 64 MiB, in 2 GiB
      client = socket.create_connection((host.hostname, host.port))
      stack.enter_context(client).sendall(start.encode())
    wait_until_full(True)
    assert pages.ask(address, '/')[0] == 200
  wait_until_full(False)


def test_no_result_is_made_where_there_is_no_room():
  from srgan_jax import demo_page

  shown = demo_page._show('a.png', 1, 'srgan', srgan_jax.load, lambda: False)
  ((_, _, text),) = shown
  assert 'the folder of pictures is full' in text


def test_the_examples_outlast_uploads(page):
  address, folder = page
  (example,) = folder.rglob('cat.png')
  os.utime(example, (0, 0))  # as a package that was installed long ago
  pages.ask(address, '/gradio_api/upload', b'', Origin=address)
  assert pages.ask(address, f'/gradio_api/file={example}')[0] == 200


def test_another_address_is_said(model):
  command = '-m', 'srgan_jax.demo', '--host=0.0.0.0', f'--model={model}'
  errors = pages.Server(*command).stop()
  assert errors.count('\n') == 1 and 'is open to the network' in errors


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
  chromium.skip_without()
  options = chromium.options(
    tmp_path_factory.mktemp('profile'), 'window-size=1400,1000'
  )
  downloads = tmp_path_factory.mktemp('downloads')
  options.add_experimental_option(
    'prefs', {'download.default_directory': str(downloads)}
  )
  options.set_capability('goog:loggingPrefs', {'performance': 'ALL'})
  chrome = chromium.start(options)
  try:
    yield chrome, downloads
  finally:
    chrome.quit()


def wait_for(condition):
  """Its first value that is true; what is rendered anew counts as not yet."""
  from selenium.common import exceptions
  from selenium.webdriver.support.ui import WebDriverWait

  ignored = [
    exceptions.NoSuchElementException,
    exceptions.StaleElementReferenceException,
  ]
  wait = WebDriverWait(None, pages.PATIENCE, 0.1, ignored)
  return wait.until(lambda _: condition())


def drop(chrome, path):
  find = lambda selector: chrome.find_element('css selector', selector)
  wait_for(lambda: find('#picture input[type=file]')).send_keys(str(path))
  return find


def test_a_picture_dropped_comes_out_upscaled(page, browser, model, tmp_path):
  address, _ = page
  chrome, downloads = browser
  rng = np.random.default_rng(0)
  lr = rng.integers(0, 256, (20, 30, 4), np.uint8)
  Image.fromarray(lr).save(tmp_path / 'holiday.png')

  chrome.get(address)
  find = drop(chrome, tmp_path / 'holiday.png')
  assert chrome.title == 'srgan_jax: upscale a picture'
  wait_for(lambda: '120 x 80 pixels in' in find('#status').text)
  images = wait_for(
    lambda: chrome.find_elements('css selector', '#slider img') or None
  )
  assert len({image.get_attribute('src') for image in images}) == 2
  for image in images:
    wait_for(lambda image=image: image.get_property('naturalWidth') == 120)
  wait_for(lambda: find('#download').is_enabled())
  find('#download').click()
  name = f'holiday_x4_{model.stem}.png'
  wait_for(lambda: (downloads / name).exists())
  with Image.open(downloads / name) as image:
    sr = np.asarray(image)
  np.testing.assert_array_equal(sr, srgan_jax.load(model)(lr))

  # Nothing came from elsewhere, nothing went there.
  hosts = set()
  for entry in chrome.get_log('performance'):
    message = json.loads(entry['message'])['message']
    if message['method'] == 'Network.requestWillBeSent':
      url = urllib.parse.urlsplit(message['params']['request']['url'])
      if url.scheme in ('http', 'https', 'ws', 'wss'):
        hosts.add(url.netloc)
  assert hosts == {urllib.parse.urlsplit(address).netloc}


@pytest.mark.parametrize(
  'name, content, message',
  [
    ('te_x_t_.png', b'no picture', 'te_x_t_.png: not a readable image'),
    ('shot.qoi', b'no picture', 'shot.qoi: not a readable image'),
    ('large.png', None, 'has 200 x 100 pixels, more than 0.01 megapixels'),
  ],
)
def test_bad_pictures_are_one_line(
  page, browser, tmp_path, name, content, message
):
  if content is None:
    content = image_files.encode(Image.new('RGB', (200, 100)))
  (tmp_path / name).write_bytes(content)
  chrome, _ = browser
  chrome.get(page[0])
  find = drop(chrome, tmp_path / name)
  error = wait_for(lambda: find('#status .error').text)
  assert message in error and len(error.splitlines()) == 1
  assert not find('#download').is_enabled()
  assert not chrome.find_elements('css selector', '#slider img')


def test_given_models_come_first_and_none_twice(model):
  from srgan_jax import demo_page

  found = demo_page.find_models([str(model), 'srresnet-mse'])
  assert list(found)[:2] == [str(model), 'srresnet-mse']
  assert 'srgan' in found and len(set(found.values())) == len(found)


def test_bad_models_are_one_line(tmp_path, monkeypatch):
  for name in ('GRADIO_ANALYTICS_ENABLED', 'HF_HUB_DISABLE_TELEMETRY'):
    monkeypatch.setenv(name, '')
  monkeypatch.setenv('GRADIO_TEMP_DIR', '')
  missing = str(tmp_path / 'missing.safetensors')
  with pytest.raises(SystemExit, match='^demo: .*missing.safetensors: no such'):
    demo.main(['--model', missing])


@pytest.mark.parametrize('wrong', ['0', 'nan', 'inf'])
def test_a_limit_that_is_none_is_refused(wrong, capsys):
  with pytest.raises(SystemExit):
    demo.main(['--max-megapixels', wrong])
  assert f'{wrong} is not in 1e-06..' in capsys.readouterr().err


def test_without_gradio_one_line_says_so():
  code = (
    'import sys; sys.modules["gradio"] = None; '
    'from srgan_jax import demo; demo.main([])'
  )
  result = repository.run_python('-c', code)
  assert result.returncode == 1
  assert result.stderr == (
    "demo: gradio is not installed: pip install 'srgan_jax[demo]'\n"
  )
