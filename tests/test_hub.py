"""The Hub, offline: what is written for it, and what is read from its cache."""

import json
import os
import re
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

import srgan_jax
from srgan_jax import hub, pretrained, weights
from tests.support import repository, small

huggingface_hub = pytest.importorskip('huggingface_hub')


@pytest.fixture
def written(tmp_path):
  """The folder of a shipped generator, whose file says how it was trained."""
  assert not hub.main(['srgan', 'me/mine', '-o', str(tmp_path)])
  return tmp_path


@pytest.fixture
def cached(tmp_path, monkeypatch):
  """A cache of the Hub's that has me/mine and no network."""
  repository = tmp_path / 'cache' / 'models--me--mine'
  (repository / 'refs').mkdir(parents=True)
  (repository / 'refs' / 'main').write_text('c0ffee')
  (repository / 'snapshots' / 'c0ffee').mkdir(parents=True)
  constants = huggingface_hub.constants
  monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
  monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
  return small.save_generator(
    repository / 'snapshots' / 'c0ffee' / 'generator.safetensors'
  )


def test_the_card_says_what_the_file_says(written):
  card = huggingface_hub.ModelCard.load(written / 'model' / 'README.md')
  assert card.data.license == 'cc-by-nc-4.0'
  assert card.data.library_name == 'srgan_jax'
  figures = {
    (result.dataset_name, result.metric_name): result.metric_value
    for result in card.data.eval_results
  }
  (model,) = [m for m in srgan_jax.list_models() if m.name == 'srgan']
  assert figures['Set14', 'psnr_paper'] == model.figures['Set14']['psnr_paper']
  assert '--model hf:me/mine' in card.text
  assert '"label": "srgan-vgg16-conv5_3"' in card.text
  there = (written / 'model' / 'generator.safetensors').read_bytes()
  assert there == model.path.read_bytes()


def test_a_licence_that_is_not_stated_is_not_made_up(tmp_path):
  hub.write(small.save_generator(tmp_path / 'a.safetensors'), 'me/a', tmp_path)
  card = huggingface_hub.ModelCard.load(tmp_path / 'model' / 'README.md')
  assert set(card.data.to_dict()) == {'library_name', 'pipeline_tag', 'tags'}


@pytest.mark.parametrize(
  'figures',
  [
    {'psnr_y': 29.4, 'niqe': None},
    {'Set5': {'psnr_y': None}},
    {},
    None,
    'good',
  ],
)
def test_figures_of_a_run_are_no_results(tmp_path, figures):
  source = small.save_generator(tmp_path / 'a.safetensors')
  _, variables, facts = weights.load_generator(source)
  weights.save_generator(
    source,
    variables,
    architecture=facts['architecture'],
    training={'figures': figures, 'licence': None},
  )
  hub.write(source, 'me/a', tmp_path)
  card = huggingface_hub.ModelCard.load(tmp_path / 'model' / 'README.md')
  assert set(card.data.to_dict()) == {'library_name', 'pipeline_tag', 'tags'}
  assert json.dumps(figures, indent=2).splitlines()[-1] in card.text


@pytest.mark.parametrize(
  'file', ['model/README.md', 'model/generator.safetensors', 'space/app.py']
)
def test_nothing_is_written_over(tmp_path, capsys, file):
  command = ['srresnet', 'me/mine', '-o', str(tmp_path)]
  assert not hub.main(command)
  made = {path for path in tmp_path.rglob('*') if path.is_file()}
  assert {*capsys.readouterr().out.splitlines()} == {*map(str, made)}
  for path in made - {tmp_path / file}:
    path.unlink()
  (tmp_path / file).write_text('edited')
  assert hub.main(command) == 1
  assert f'{tmp_path / file} is there already' in capsys.readouterr().err
  assert [p for p in tmp_path.rglob('*') if p.is_file()] == [tmp_path / file]
  assert (tmp_path / file).read_text() == 'edited'


@pytest.mark.parametrize(
  'name', ['me/bad name', 'a/b/c', 'me/', 'me/x.git', 'mine']
)
def test_what_is_no_repository_is_one_line(name, tmp_path, capsys):
  assert hub.main(['srresnet', name, '-o', str(tmp_path / 'out')]) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('hub: ') and repr(name) in line
  assert not list(tmp_path.iterdir())


def test_push_makes_the_repository_and_the_space(monkeypatch, capsys):
  calls = []

  class Hub:
    def __init__(self, **_):
      pass

    def create_repo(self, name, **options):
      calls.append((name, options['repo_type'], options['space_sdk']))
      return f'https://huggingface.co/{name}'

    def upload_folder(self, *, repo_id, repo_type, folder_path):
      calls.append((repo_id, repo_type, sorted(os.listdir(folder_path))))

  monkeypatch.setattr(huggingface_hub, 'HfApi', Hub)
  assert not hub.main(['srresnet', 'me/mine', '--space'])
  assert calls == [
    ('me/mine', 'model', None),
    ('me/mine', 'model', ['README.md', 'generator.safetensors']),
    ('me/mine', 'space', 'gradio'),
    ('me/mine', 'space', ['README.md', 'app.py', 'requirements.txt']),
  ]
  assert capsys.readouterr().out.count('https://huggingface.co/me/mine') == 2


def test_a_generator_of_the_hub_loads_and_upscales(cached):
  lr = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
  for name in ('hf:me/mine', 'hf:me/mine@main'):
    sr = srgan_jax.load(name)(lr)
    np.testing.assert_array_equal(sr, srgan_jax.load(cached)(lr))


@pytest.mark.parametrize('name', ['hf:me/other', 'hf:me/mine@old', 'hf:a/b/c'])
def test_what_the_hub_lacks_is_one_line(cached, name):
  with pytest.raises(ValueError, match=f'^{name}: .*') as error:
    pretrained.find(name)
  assert '\n' not in str(error.value)


def test_without_the_package_the_extra_is_named(monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
  with pytest.raises(ValueError, match=r'pip install .srgan_jax\[hub\]'):
    srgan_jax.load('hf:me/mine')
  assert hub.main(['srgan', 'me/mine']) == 1
  assert 'srgan_jax[hub]' in capsys.readouterr().err


def click_the_first_example(address, config):
  """What the page of a configuration answers."""
  (called,) = [d for d in config['dependencies'] if len(d['inputs']) == 1]
  body = {'data': [0], 'fn_index': called['id'], 'session_hash': 'session'}
  queue = f'{address}/gradio_api/queue'
  request = urllib.request.Request(
    f'{queue}/join',
    json.dumps(body).encode(),
    {'Content-Type': 'application/json'},
  )
  urllib.request.urlopen(request).close()
  with urllib.request.urlopen(f'{queue}/data?session_hash=session') as answer:
    (done,) = [line for line in answer if b'process_completed' in line]
  return json.loads(done.removeprefix(b'data: '))


def test_the_space_opens_the_page_with_its_generator(written, cached):
  pytest.importorskip('gradio')
  hub_settings = {
    'HF_HUB_OFFLINE': '1',
    'HF_HUB_CACHE': str(cached.parents[3]),
    'GRADIO_ANALYTICS_ENABLED': 'False',
  }
  process = subprocess.Popen(
    [sys.executable, '-u', written / 'space' / 'app.py'],
    cwd=written,
    env=repository.environment() | hub_settings,
    stdout=subprocess.PIPE,
    text=True,
  )
  with process:
    try:
      address = re.search(r'http://\S+', process.stdout.readline())
      with urllib.request.urlopen(f'{address[0]}/config') as answer:
        config = json.load(answer)
      example = click_the_first_example(address[0].rstrip('/'), config)
    finally:
      process.terminate()
  assert example['success'], example
  (choice,) = [
    c for c in config['components'] if c['props'].get('elem_id') == 'model'
  ]
  assert choice['props']['value'] == 'hf:me/mine'
