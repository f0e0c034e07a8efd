"""The rules of the code: which way imports run, and how long a file is."""

import ast
import fnmatch
import pathlib
import re

import pytest

from tests.support import repository

PACKAGE = repository.ROOT / 'srgan_jax'
FILES = sorted(PACKAGE.rglob('*.py'))
TOOLS = sorted((repository.ROOT / 'tools').glob('*.py'))


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


def test_imports_run_down_the_levels():
  """The contracts of setup.cfg, checked by import-linter."""
  code = (
    'import sys; from importlinter.cli import lint_imports; '
    'sys.exit(lint_imports(no_cache=True))'
  )
  result = repository.run_python('-c', code)
  assert result.returncode == 0, result.stdout + result.stderr


def test_all_modules_and_tools_are_imported_together():
  """No flags, settings or names of theirs clash."""
  pytest.importorskip('torch')
  result = repository.run_python('-c', _IMPORT_ALL)
  assert result.returncode == 0, result.stderr


_IMPORT_ALL = """
import importlib, pkgutil, runpy, pathlib
import srgan_jax
for module in pkgutil.walk_packages(srgan_jax.__path__, 'srgan_jax.'):
  importlib.import_module(module.name)
for tool in sorted(pathlib.Path('tools').glob('*.py')):
  runpy.run_path(str(tool))
"""


@pytest.mark.parametrize('path', TOOLS, ids=lambda p: p.name)
def test_a_tool_is_a_short_command(path):
  assert len(path.read_text().splitlines()) <= 60


COMMANDS = [
  path
  for path in (*FILES, *TOOLS)
  if "__name__ == '__main__'" in path.read_text()
  and path.name != 'rehearsal.py'  # a reader's own process
]


@pytest.mark.parametrize('path', COMMANDS, ids=lambda p: p.name)
def test_a_command_ends_as_all_do(path):
  *_, ending = path.read_text().partition("__name__ == '__main__':")
  assert re.search(
    r'\n  (cli\.run\(main\)|start\(\)|config_files\.run\()', ending
  )


def test_no_test_imports_another():
  for path in (repository.ROOT / 'tests').rglob('*.py'):
    for name in imported(path):
      parts = name.split('.')
      assert not any(p.startswith('test_') for p in parts), f'{path}: {name}'


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.name)
def test_optional_packages_stay_in_their_modules(path):
  allowed = {
    'tensorflow': ['data/tfdata.py'],
    'tensorflow_datasets': ['data/tfds.py'],
    'fsspec': ['data/image_files.py'],
    'ml_collections': ['main.py', 'training/*', 'paper/*', 'speed/*'],
    'torch': ['convert/*', 'speed/*'],
    'av': ['upscaling/video/*'],
    'h5py': ['convert/*'],
    'gradio': ['demo_page.py', 'demo_server.py'],
    'huggingface_hub': ['hub.py', 'pretrained/__init__.py'],
    'onnx': ['convert/to_onnx.py'],
    'starlette': ['mos/server.py', 'serving.py', 'demo_server.py'],
    'uvicorn': ['serving.py'],
    'krippendorff': ['mos/statistics.py'],
    'scipy': ['evaluation/niqe.py', 'mos/statistics.py'],
    'matplotlib': ['evaluation/panels.py', 'mos/figure.py', 'paper/*'],
  }
  relative = path.relative_to(PACKAGE).as_posix()
  for name in imported(path):
    package = name.split('.')[0]
    assert any(
      fnmatch.fnmatch(relative, pattern)
      for pattern in allowed.get(package, ['*'])
    ), f'{path}: {name}'


@pytest.mark.parametrize(
  'module', ['srgan_jax.upscale', 'srgan_jax.evaluation', 'srgan_jax.weights']
)
def test_upscaling_needs_no_training_package(module):
  code = (
    f'import sys, {module}; '
    'print(*{"tensorflow", "optax", "orbax", "ml_collections", "absl", '
    '"tensorboard", "torch"} & set(sys.modules))'
  )
  result = repository.run_python('-c', code)
  assert not result.returncode, result.stderr
  # Flax itself brings optax and orbax.
  assert set(result.stdout.split()) <= {'optax', 'orbax', 'absl'}


def test_files_stay_short():
  for folder in ('configs', 'srgan_jax', 'tests', 'tools'):
    for path in (repository.ROOT / folder).rglob('*.py'):
      assert len(path.read_text().splitlines()) <= 400, f'{path} is too long'


# The list of all fields of a configuration; the GAN step, read top to bottom.
_LONG = {
  'configs/default.py: get_config',
}


def test_functions_stay_short():
  long = set()
  for folder in ('configs', 'srgan_jax', 'tests', 'tools'):
    for path in (repository.ROOT / folder).rglob('*.py'):
      for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
          assert node.end_lineno is not None
          if node.end_lineno - node.lineno + 1 > 60:
            name = path.relative_to(repository.ROOT).as_posix()
            long.add(f'{name}: {node.name}')
  assert long == _LONG


def test_the_map_names_files_that_there_are():
  text = (repository.ROOT / 'docs' / 'code.md').read_text()
  named = set(re.findall(r'`([a-z_/]+\.py)`', text))
  assert len(named) > 10
  missing = {
    name
    for name in named
    if not (PACKAGE / name).exists() and not (repository.ROOT / name).exists()
  }
  assert not missing


def test_the_map_gives_each_file_its_own_equations():
  text = (repository.ROOT / 'docs' / 'code.md').read_text()
  numbers = lambda name: {
    *re.findall(r'[Ee]quation (\d)', (PACKAGE / name).read_text())
  }
  (given,) = re.findall(r'losses\.py .*equations ([\d, ]+);', text)
  assert set(given.split(', ')) == numbers('losses.py')
  rows = re.findall(r'\| .*equation (\d).*\| `(.*)` \|', text)
  assert len(rows) == 2
  assert all(number in numbers(name) for number, name in rows)
