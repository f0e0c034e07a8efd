"""docs/browser.html: an exported generator in a browser, pixel for pixel."""

import base64
import functools
from http import server
import io
import os
import pathlib
import subprocess

import numpy as np
from PIL import Image
import pytest

import srgan_jax
from srgan_jax import export
from tests.support import chromium, loopback, repository, small

chromium.skip_without()
pytest.importorskip('onnx')

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait


@pytest.fixture
def address(tmp_path):
  """The page, with onnxruntime-web from a file instead of the network."""
  archive = pathlib.Path(os.environ.get('SRGAN_JAX_ORT_WEB', ''))
  if not archive.is_file():
    pytest.skip('SRGAN_JAX_ORT_WEB names no onnxruntime-web-1.30.0.tgz')
  subprocess.run(['tar', '-xf', archive, '-C', tmp_path], check=True)
  page = (repository.ROOT / 'docs' / 'browser.html').read_text()
  home = 'https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/dist/'
  assert home in page
  (tmp_path / 'page.html').write_text(page.replace(home, 'package/dist/'))
  handler = functools.partial(
    server.SimpleHTTPRequestHandler, directory=tmp_path
  )
  with loopback.serving(handler) as serving:
    yield f'{serving.address}/page.html'


def test_the_browser_makes_the_pixels_that_load_makes(address, tmp_path):
  model = small.save_generator(tmp_path / 'small.safetensors')
  export.export(model, tmp_path / 'small.onnx')
  lr = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)
  Image.fromarray(lr).save(tmp_path / 'lr.png')
  driver = chromium.start(chromium.options(tmp_path / 'profile'))
  try:
    driver.get(address)
    for name, file in (('model', 'small.onnx'), ('picture', 'lr.png')):
      driver.find_element(By.ID, name).send_keys(str(tmp_path / file))
    status = driver.find_element(By.ID, 'status')
    WebDriverWait(driver, 60).until(lambda _: 'leaves' not in status.text)
    assert status.text.startswith('56 x 36 pixels'), status.text
    data = driver.execute_script(
      "return document.getElementById('result').toDataURL().split(',')[1]"
    )
  finally:
    driver.quit()
  sr = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
  here = srgan_jax.load(model)(lr)
  assert np.abs(sr[..., :3].astype(int) - here).max() <= 1
