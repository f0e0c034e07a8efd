"""A small study of opinion scores and its server, for the tests of mos."""

import contextlib
import json

import numpy as np
from PIL import Image
import pytest

from srgan_jax import imaging
from srgan_jax.evaluation import benchmarks, methods
from srgan_jax.mos import __main__ as mos
from srgan_jax.mos import ratings, study
from tests.support import pages


def write_set(folder, seed=0, **sizes):
  """HR images {name: (width, height)} in folder/Set5/HR, LR beside them."""
  (folder / 'Set5' / 'HR').mkdir(parents=True)
  (folder / 'Set5' / 'LRx4').mkdir()
  rng = np.random.default_rng(seed)
  for name, (width, height) in sizes.items():
    coarse = rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    pair = benchmarks.make_pair(name, imaging.imresize(coarse, 8))
    Image.fromarray(pair.hr).save(folder / 'Set5' / 'HR' / f'{name}.png')
    Image.fromarray(pair.lr).save(folder / 'Set5' / 'LRx4' / f'{name}.png')
  return folder / 'Set5' / 'HR'


def write_finished(hr, folder):
  """A method's images, found by their set: bicubic, a level brighter."""
  (folder / 'Set5').mkdir(parents=True)
  for pair in benchmarks.Benchmark(hr):
    image = np.minimum(methods.bicubic(pair), 254) + 1
    Image.fromarray(image).save(folder / 'Set5' / f'{pair.name}_SR.png')
  return folder


def make_study(output, **sizes):
  """A study by `prepare`: these, one method more, one example, a repeat."""
  hr = write_set(output.parent / 'data', **sizes)
  theirs = write_finished(hr, output.parent / 'theirs')
  arguments = ['--hr', str(hr), '--method', f'Secret={theirs}']
  arguments += ['--examples=1', '--repeats=1', '-o', str(output)]
  mos.main(['prepare', *arguments])
  return output


def refusal(*arguments):
  """The one line with which the command ends."""
  with pytest.raises(SystemExit) as info:
    mos.main(arguments)
  message = info.value.code
  assert isinstance(message, str) and '\n' not in message
  return message


def kept(folder):
  """All scores of a study."""
  with contextlib.closing(
    ratings.Ratings(folder, study.load(folder))
  ) as database:
    return database.all()


def serving(folder, *arguments, command=('-m', 'srgan_jax.mos')):
  """`python -m srgan_jax.mos serve`, as by `pages.serving`."""
  return pages.serving(*command, 'serve', str(folder), *arguments)


class Client:
  """A browser without a page: keeps cookies, sends what it is told to."""

  def __init__(self, server):
    self.server = server
    self.cookies = {}

  def ask(self, path, body=None, *, raw=None, **headers):
    """Status, headers and body (parsed where it is JSON) of a request."""
    sent = {'Cookie': '; '.join(f'{k}={v}' for k, v in self.cookies.items())}
    if body is not None or raw is not None:
      raw = json.dumps(body) if raw is None else raw
      sent |= {'Origin': self.server.url, 'Content_Type': 'application/json'}
    status, found, content = pages.ask(
      self.server.url, path, raw, **(sent | headers)
    )
    for cookie in found.get_all('Set-Cookie') or ():
      name, _, value = cookie.partition(';')[0].partition('=')
      kind = 'lax' if name.endswith('-token') else 'strict'
      assert 'HttpOnly' in cookie and f'SameSite={kind}' in cookie
      self.cookies[name] = value.strip('"')
    if found.get('Content-Type', '') == 'application/json':
      content = json.loads(content)
    return status, found, content

  def post(self, path, **body):
    """Status and state after a POST."""
    status, _, content = self.ask(path, body)
    return status, content

  def start(self):
    """Registers a rater and sees all examples; the state then."""
    _, state = self.post('/start')
    while state['phase'] == 'example':
      _, state = self.post(
        '/example', position=state['position'], score=state['score']
      )
    return state

  def rate(self, state, score):
    """Scores what a state shows."""
    return self.post(
      '/rating', position=state['position'], image=state['image'], score=score
    )
