"""The rules of the code: which way imports run, and how long a file is."""

import ast
import pathlib
import subprocess
import sys

import conftest
import pytest

PACKAGE = conftest.ROOT / 'srgan_jax'
FILES = sorted(PACKAGE.rglob('*.py'))

# Innermost first: a module imports only from its own line or those above it.
ORDER = (
  ('imaging', 'files', 'compilation_cache', 'memory', 'matroska', 'ffmpeg'),
  ('models',),
  (
    'data',
    'losses',
    'optimizers',
    'sharding',
    'weights',
    'pretrained',
    'tiling',
    'jobs',
  ),
  (
    'train_step',
    'checkpoints',
    'reporting',
    'config',
    'interruption',
    'upscaler',
    'upscale',
  ),
  ('stages', 'evaluation'),
  ('update', 'validation'),
  ('run_weights',),
  ('train', 'evaluate', 'mos', 'export', 'video', 'demo'),
  ('main',),
)
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}


def imported(path: pathlib.Path) -> set[str]:
  """Full names of all modules that a file imports, wherever it does."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{path}: relative import'
      names |= {f'{node.module}.{alias.name}' for alias in node.names}
  return names


def room(path: pathlib.Path) -> str:
  return path.relative_to(PACKAGE).with_suffix('').parts[0]


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.name)
def test_imports_run_one_way(path):
  if path.name == '__init__.py' and path.parent == PACKAGE:
    return
  own = room(path)
  assert own in LEVEL, f'{own} has no place in the order yet'
  for name in imported(path):
    parts = name.split('.')
    if parts[0] == 'srgan_jax' and len(parts) > 1:
      other = parts[1]
      assert other == own or LEVEL[other] <= LEVEL[own], f'{path}: {name}'
      if own == 'data':
        assert other != 'models', f'{path}: {name}'


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.name)
def test_optional_packages_stay_in_their_modules(path):
  allowed = {
    'tensorflow': {'data/pipeline.py'},
    'tensorflow_datasets': {'data/sources.py'},
    'ml_collections': {'main.py', 'train.py'},
    'torch': set(),
    'h5py': set(),
    'gradio': {'demo.py'},
    'onnx': {'export.py'},
    'starlette': {'mos/server.py'},
    'uvicorn': {'mos/server.py'},
    'scipy': {'mos/statistics.py'},
    'matplotlib': {'mos/figure.py'},
  }
  relative = path.relative_to(PACKAGE).as_posix()
  for name in imported(path):
    package = name.split('.')[0]
    assert relative in allowed.get(package, {relative}), f'{path}: {name}'


@pytest.mark.parametrize(
  'module', ['srgan_jax.upscale', 'srgan_jax.evaluation', 'srgan_jax.weights']
)
def test_upscaling_needs_no_training_package(module):
  code = (
    f'import sys, {module}; '
    'print(*{"tensorflow", "optax", "orbax", "ml_collections", "absl", '
    '"tensorboardX", "torch"} & set(sys.modules))'
  )
  result = subprocess.run(
    [sys.executable, '-c', code],
    cwd=conftest.ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  # Flax itself brings optax and orbax.
  assert set(result.stdout.split()) <= {'optax', 'orbax', 'absl'}


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.name)
def test_files_stay_short_and_say_what_they_are(path):
  text = path.read_text()
  if path.name == '__init__.py' and not text:
    return
  assert ast.get_docstring(ast.parse(text)), f'{path}: no docstring'
  assert len(text.splitlines()) <= 520, f'{path} is too long'
