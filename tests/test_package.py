"""What is built: the wheel, the source archive, and what they say of it."""

import re
import subprocess
import sys
import tarfile
import zipfile

import pytest

import srgan_jax
from tests.support import repository

pytest.importorskip('hatchling')
pytest.importorskip('hatch_fancy_pypi_readme')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  return _build('wheel', tmp_path_factory.mktemp('wheel'))


@pytest.fixture(scope='module')
def metadata(wheel):
  with zipfile.ZipFile(wheel) as archive:
    (name,) = [n for n in archive.namelist() if n.endswith('/METADATA')]
    return archive.read(name).decode()


def _build(kind, folder):
  repository.run_python(
    '-m', 'hatchling', 'build', f'-t={kind}', f'-d={folder}'
  )
  (built,) = folder.iterdir()
  return built


def test_an_installed_wheel_finds_the_configs(wheel, tmp_path):
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(tmp_path)
  code = (
    'from srgan_jax.training import config_files; '
    'config = config_files.load("quickstart"); '
    'print(config_files.FOLDER); print(config.data.source)'
  )
  # -I: the repository's own package is not on the path.
  said = subprocess.run(
    [sys.executable, '-I', '-c']
    + [f'import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}'],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    check=True,
  ).stdout.splitlines()
  assert said == [
    str(tmp_path / 'srgan_jax' / 'configs'),
    f'folder:{tmp_path / "srgan_jax" / "assets" / "train"}',
  ]


def test_the_wheel_holds_the_package_alone(wheel):
  with zipfile.ZipFile(wheel) as archive:
    names = archive.namelist()
  tops = {name.split('/')[0] for name in names}
  assert tops == {'srgan_jax', f'srgan_jax-{srgan_jax.__version__}.dist-info'}
  assert 'srgan_jax/py.typed' in names
  assert 'srgan_jax/pretrained/LICENSE' in names
  assert 'srgan_jax/mos/page/page.css' in names


def test_the_source_archive_holds_what_the_tests_take(tmp_path):
  with tarfile.open(_build('sdist', tmp_path)) as archive:
    names = {name.partition('/')[2] for name in archive.getnames()}
  tracked = subprocess.run(
    ['git', 'ls-files', 'configs', 'docs', 'notebooks', 'srgan_jax']
    + ['tests', 'tools', 'setup.cfg', 'README.md'],
    cwd=repository.ROOT,
    capture_output=True,
    text=True,
  )
  if tracked.returncode:
    pytest.skip('not a git repository')
  assert not set(tracked.stdout.splitlines()) - names


def test_the_description_has_absolute_links(metadata):
  description = metadata.partition('\n\n')[2]
  links = re.findall(r'\]\(([^)]+)\)', description)
  assert len(links) > 5
  assert not [link for link in links if not link.startswith('https://')]


def test_every_relative_link_leads_to_a_file():
  for page in (
    repository.ROOT / 'README.md',
    repository.ROOT / 'CONTRIBUTING.md',
    *(repository.ROOT / 'docs').glob('*.md'),
    repository.ROOT / 'srgan_jax' / 'pretrained' / 'MODEL_CARD.md',
  ):
    for link in re.findall(r'\]\((?!https?:|#)([^)#]+)', page.read_text()):
      assert (page.parent / link).exists(), f'{page}: {link}'


def test_all_addresses_of_the_repository_name_one_owner(metadata):
  (owner,) = re.findall(r'Repository, https://github.com/(.+)/srg', metadata)
  for page in (
    *repository.ROOT.glob('*.*'),
    *(repository.ROOT / 'notebooks').glob('*.ipynb'),
  ):
    if page.is_file():
      addresses = r'github(?:usercontent)?\.com/(?:github/)?([\w-]+)/srgan_jax'
      assert set(re.findall(addresses, page.read_text())) <= {owner}, page


def test_licence_and_version_are_the_same_everywhere(metadata):
  assert f'\nVersion: {srgan_jax.__version__}\n' in metadata
  assert '\nLicense-Expression: Apache-2.0 AND CC-BY-NC-4.0\n' in metadata
  citation = (repository.ROOT / 'CITATION.cff').read_text()
  assert f'\nversion: {srgan_jax.__version__}\n' in citation
  changes = (repository.ROOT / 'CHANGELOG.md').read_text()
  assert f'\n## {srgan_jax.__version__}' in changes


def test_the_commands_are_there(metadata):
  del metadata  # built
  text = (repository.ROOT / 'pyproject.toml').read_text()
  commands = re.findall(r'^srgan-\w+ = "([\w.]+):(\w+)"', text, re.M)
  assert len(commands) >= 3
  for module, function in commands:
    result = repository.run_python('-c', f'from {module} import {function}')
    assert not result.returncode, result.stderr
