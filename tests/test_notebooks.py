"""The notebooks run on CPU, with small settings for their parameters."""

import contextlib
import os
import re
import signal
import subprocess
import sys

import pytest

from tests.support import repository, small

nbformat = pytest.importorskip('nbformat')
nbclient = pytest.importorskip('nbclient')
pytest.importorskip('ipykernel')

TRAINING = repository.ROOT / 'notebooks' / 'train_on_tpu.ipynb'

# Of Jupyter's packages, which close what they open when they end.
pytestmark = pytest.mark.filterwarnings('ignore')

# What only a hosted notebook has.
_HOSTED = {'colab', 'install'}


def run(name, folder, parameters):
  """Runs a notebook; `parameters` stand behind the cell of that tag."""
  path = repository.ROOT / 'notebooks' / f'{name}.ipynb'
  notebook = nbformat.read(path, as_version=4)
  for cell in notebook.cells:
    tags = set(cell.metadata.get('tags', []))
    if tags & _HOSTED:
      cell.source = ''
    if 'parameters' in tags:
      cell.source += '\n' + parameters
  # The kernel imports this repository's package.
  client = nbclient.NotebookClient(
    notebook, timeout=600, resources={'metadata': {'path': str(folder)}}
  )
  client.execute(env=repository.environment())
  return notebook


def images(notebook):
  return [
    output
    for cell in notebook.cells
    for output in cell.get('outputs', [])
    if 'image/png' in output.get('data', {})
  ]


def test_the_quickstart_compares_the_models(tmp_path):
  model = str(small.save_generator(tmp_path / 'small.safetensors'))
  notebook = run(
    'quickstart',
    tmp_path,
    f'lr.thumbnail((16, 16))\nMODELS = [{model!r}]',
  )
  assert len(images(notebook)) == 2
  assert (tmp_path / 'upscaled.png').exists()


def test_training_leaves_a_generator_and_goes_on(tmp_path):
  tiny = [*repository.TINY, '--config.steps_per_call=2']
  tiny = [flag for flag in tiny if 'data.validation' not in flag]
  stages = [f'--config.stages.{s}.steps=2' for s in ('pretrain', 'gan')]
  parameters = f'WORKDIR = "run"\nFLAGS = {[*tiny, *stages]!r}'
  notebook = run('train_on_tpu', tmp_path, parameters)
  assert len(images(notebook)) >= 1
  assert (tmp_path / 'run' / 'generator.safetensors').exists()


@pytest.mark.parametrize('reached', ['the cell alone', 'the training too'])
def test_training_that_is_interrupted_saves_and_goes_on(tmp_path, reached):
  notebook = nbformat.read(TRAINING, as_version=4)
  (cell,) = [c.source for c in notebook.cells if 'Popen' in c.source]
  flags = [*repository.TINY, '--config.save_every=1000000']
  flags = [flag for flag in flags if 'data.validation' not in flag]
  flags += ['--config.stages.pretrain.steps=1000000']
  names = f'WORKDIR, VALIDATION = "run", "hold-out:2"\nFLAGS = {flags!r}\n'
  names += f'PHOTOS = "folder:{repository.PHOTOS / "train"}"\n'
  (tmp_path / 'cell.py').write_text(names + cell)
  step = 0
  for _ in range(2):
    with subprocess.Popen(
      [sys.executable, '-u', 'cell.py'],
      cwd=tmp_path,
      env=repository.environment(),
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      start_new_session=True,
    ) as process:
      said = next(line for line in process.stdout if 'loss=' in line)
      send = os.kill if reached == 'the cell alone' else os.killpg
      send(process.pid, signal.SIGINT)
      said += process.stdout.read()
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)  # what it left running
    assert process.returncode == 0, said
    assert f' {step + 1}/1000000 ' in said.splitlines()[0]
    assert 'Traceback' not in said
    step = int(re.findall(r'stopped at step (\d+) and was saved', said)[0])


def test_the_notebooks_are_kept_without_outputs():
  for path in (repository.ROOT / 'notebooks').glob('*.ipynb'):
    for cell in nbformat.read(path, as_version=4).cells:
      assert not cell.get('outputs') and not cell.get('execution_count')
