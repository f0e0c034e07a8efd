"""The notebooks run on CPU, with small settings for their parameters."""

import pytest

from tests.support import repository, small

nbformat = pytest.importorskip('nbformat')
nbclient = pytest.importorskip('nbclient')
pytest.importorskip('ipykernel')

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


def test_the_notebooks_are_kept_without_outputs():
  for path in (repository.ROOT / 'notebooks').glob('*.ipynb'):
    for cell in nbformat.read(path, as_version=4).cells:
      assert not cell.get('outputs') and not cell.get('execution_count')
