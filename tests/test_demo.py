"""The page, as a browser shows it: a real upload, and the result compared."""

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse

import numpy as np
from PIL import Image
import pytest

import srgan_jax
from srgan_jax import demo
from tests.support import chromium, repository, small

PATIENCE = 60  # seconds


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  path = tmp_path_factory.mktemp('runs') / 'tiny.safetensors'
  return small.save_generator(path)


@pytest.fixture(scope='module')
def page(model, tmp_path_factory):
  """The command's address, and the folder that it keeps pictures in."""
  pytest.importorskip('gradio', reason='the package gradio is not installed')
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  folder = tmp_path_factory.mktemp('temporary')
  command = [sys.executable, '-m', 'srgan_jax.demo', '--port', str(port)]
  process = subprocess.Popen(
    [*command, '--model', str(model), '--max-megapixels', '0.01'],
    cwd=repository.ROOT,
    env={**os.environ, 'TMPDIR': str(folder)},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  try:
    line = process.stdout.readline()
    assert f'http://127.0.0.1:{port}' in line, line + process.stdout.read()
    yield f'http://127.0.0.1:{port}', folder
    assert any(folder.iterdir())
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert not any(folder.iterdir()), 'uploads were left behind'
  finally:
    process.kill()
    process.wait()
    process.stdout.close()


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

  end = time.monotonic() + PATIENCE
  while time.monotonic() < end:
    with contextlib.suppress(
      exceptions.NoSuchElementException,
      exceptions.StaleElementReferenceException,
    ):
      if value := condition():
        return value
    time.sleep(0.1)
  raise TimeoutError('the page did not come to it')


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
    ('text.png', b'no picture', 'text.png: not a readable image'),
    ('large.png', None, 'has 200 x 100 pixels, more than 0.01 megapixels'),
  ],
)
def test_bad_pictures_are_one_line(
  page, browser, tmp_path, name, content, message
):
  if content is None:
    stream = io.BytesIO()
    Image.new('RGB', (200, 100)).save(stream, 'PNG')
    content = stream.getvalue()
  (tmp_path / name).write_bytes(content)
  chrome, _ = browser
  chrome.get(page[0])
  find = drop(chrome, tmp_path / name)
  error = wait_for(lambda: find('#status .error').text)
  assert message in error and len(error.splitlines()) == 1
  assert not find('#download').is_enabled()
  assert not chrome.find_elements('css selector', '#slider img')


def test_models_have_names_that_differ(model, tmp_path):
  other = tmp_path / model.parent.name / model.name
  other.parent.mkdir()
  shutil.copy(model, other)
  single = demo.find_models([str(model)])
  assert list(single)[0] == f'{model.parent.name}/tiny'
  both = demo.find_models([str(model), str(other), str(model)])
  assert list(both)[:2] == [str(model), str(other)]


def test_bad_models_are_one_line(tmp_path, capsys, monkeypatch):
  pytest.importorskip('gradio', reason='the package gradio is not installed')
  for name in ('GRADIO_ANALYTICS_ENABLED', 'HF_HUB_DISABLE_TELEMETRY'):
    monkeypatch.setenv(name, '')
  monkeypatch.setenv('GRADIO_TEMP_DIR', '')
  assert demo.main(['--model', str(tmp_path / 'missing.safetensors')]) == 1
  error = capsys.readouterr().err
  assert 'missing.safetensors: no such file' in error
  assert len(error.splitlines()) == 1


def test_without_gradio_one_line_says_so(capsys, monkeypatch):
  monkeypatch.setitem(sys.modules, 'gradio', None)
  for name in ('GRADIO_ANALYTICS_ENABLED', 'HF_HUB_DISABLE_TELEMETRY'):
    monkeypatch.setenv(name, '')
  monkeypatch.setenv('GRADIO_TEMP_DIR', '')
  assert demo.main([]) == 1
  assert 'pip install' in capsys.readouterr().err
