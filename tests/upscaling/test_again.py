"""Commands that are run again: their own results are no input."""

import pathlib
import shutil
import sys

from PIL import Image
import pytest

from srgan_jax import files
from srgan_jax.upscaling import planning
from tests.support.upscaling import run


@pytest.fixture
def photos(tmp_path, monkeypatch):
  """The working folder, with two pictures in `in`."""
  monkeypatch.chdir(tmp_path)
  folder = pathlib.Path('in')
  folder.mkdir()
  for side, name in ((5, 'a.png'), (6, 'b.png')):
    Image.new('RGB', (side, 4), 'teal').save(folder / name)
  return folder


def names(folder=pathlib.Path()):
  return {path.as_posix() for path in folder.rglob('*.*')}


ON_LINUX = pytest.mark.skipif(
  sys.platform != 'linux', reason='needs attributes of Linux'
)


@pytest.mark.parametrize(
  ('has_marks', 'options'),
  [
    pytest.param(True, (), marks=ON_LINUX),
    pytest.param(True, ('--overwrite',), marks=ON_LINUX),
    (False, ()),
  ],
)
def test_files_run_again_give_the_same_files(
  has_marks, options, photos, model, capsys, monkeypatch
):
  """As `srgan-upscale *.*` does, also where Linux's attributes are lacking."""
  if not has_marks:
    monkeypatch.setattr(planning.files, 'origin', lambda path: '')
  go = lambda: run(*sorted(photos.iterdir()), '--model', model, *options)
  assert go() == 0
  made = names()
  assert made == {f'in/{x}.png' for x in ('a', 'a_x4', 'b', 'b_x4')}
  capsys.readouterr()
  for _ in range(2):
    assert go() == 0
    assert names() == made
    line = capsys.readouterr().err.splitlines()[-1]
    assert '2 passed over: in/a_x4.png, in/b_x4.png (results of' in line


def test_folders_run_again_give_the_same_folders(photos, model):
  """As `srgan-upscale *` does, where one folder holds the other's results."""
  assert run(photos, '--model', model) == 0
  made = names()
  assert 'in_x4/a.png' in made
  assert run(photos, 'in_x4', '--model', model) == 0
  assert names() == made


@ON_LINUX
def test_a_folder_among_its_pictures_goes_on(photos, model):
  """As `srgan-upscale * -o up` does, once it was stopped."""
  go = lambda: run(*sorted(photos.iterdir()), '-o', photos / 'up', *named)
  named = ('--model', model)
  assert go() == 0
  made = names()
  assert 'in/up/a.png' in made
  (photos / 'up' / 'b.png').unlink()
  assert go() == 0
  assert names() == made


@ON_LINUX
@pytest.mark.parametrize('form', ['files', 'folders'])
def test_an_edited_pictures_result_is_replaced_when_told_to(
  form, photos, model, capsys
):
  named = ('--model', model)
  if form == 'files':
    inputs = lambda: sorted(photos.iterdir())
    path = photos / 'a_x4.png'
  else:
    inputs = lambda: [x for x in (photos, pathlib.Path('in_x4')) if x.exists()]
    path = pathlib.Path('in_x4', 'a.png')
  assert run(*inputs(), *named) == 0
  made = names()
  Image.effect_noise((9, 7), 90).convert('RGB').save(photos / 'a.png')
  assert run(*inputs(), *named) == 1
  assert '--overwrite replaces it' in capsys.readouterr().err
  assert names() == made
  assert run(*inputs(), *named, '--overwrite') == 0
  assert names() == made
  with Image.open(path) as image:
    assert image.size == (36, 28)


@ON_LINUX
def test_results_of_other_pictures_of_these_names_are_pictures(photos, model):
  """Uncompressed pictures of one camera all have a size."""
  for folder in ('one', 'two'):
    pathlib.Path(folder).mkdir()
    shutil.copyfile(photos / 'a.png', f'{folder}/a.png')
  assert run('one', '--model', model) == 0
  assert run('one_x4', 'two', '--model', model) == 0
  assert {'one_x4_x4/a.png', 'two_x4/a.png'} <= names()


@ON_LINUX
def test_a_mark_that_is_no_name_is_nobodys(photos, model):
  files.set_origin(photos / 'a.png', 'model\n7 ../a/')
  assert run(photos, '--model', model) == 0
  assert {'in_x4/a.png', 'in_x4/b.png'} <= names()


@ON_LINUX
def test_results_in_a_folder_with_their_pictures_are_no_input(
  photos, model, capsys
):
  assert run(photos / 'a.png', '--model', model) == 0
  capsys.readouterr()
  assert run(photos, '--model', model) == 0
  assert names(pathlib.Path('in_x4')) == {'in_x4/a.png', 'in_x4/b.png'}
  assert '1 passed over: in/a_x4.png' in capsys.readouterr().err


def test_a_result_without_its_picture_is_upscaled_on_purpose(photos, model):
  assert run(photos / 'a.png', '--model', model) == 0
  assert run(photos / 'a_x4.png', '--model', model) == 0
  with Image.open(photos / 'a_x4_x4.png') as image:
    assert image.size == (80, 64)
  assert run(photos / 'b.png', '-o', 'large', '--model', model) == 0
  assert run(pathlib.Path('large'), photos / 'a.png', '--model', model) == 0
  assert 'large_x4/b.png' in names()
  # A picture that is as large and has the name is another one's.
  shutil.copyfile(photos / 'b.png', photos / 'b_x4.png')
  assert run(photos / 'b_x4.png', photos / 'a.png', '--model', model) == 0
  assert 'in/b_x4_x4.png' in names()


def test_a_file_that_is_given_too_is_not_passed_over(photos, model, capsys):
  (photos / 'a.png').rename(photos / 'a')
  inputs = (photos, photos / 'a', '-o', 'large', '--model', model)
  assert run(*inputs) == 0
  assert names(pathlib.Path('large')) == {'large/a.png', 'large/b.png'}
  assert capsys.readouterr().err == ''
