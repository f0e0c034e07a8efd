"""What all commands refuse before they begin."""

import importlib
import pathlib
import sys

import pytest

from srgan_jax import cli, upscale
from tests.support import repository

PHOTOS = str(repository.PHOTOS / 'validation')
SOURCE = f'folder:{PHOTOS}'
EMPTY = "'' is no name; the working folder is ."


@pytest.mark.parametrize(
  ('module', 'arguments', 'name'),
  [
    ('upscale', [''], 'input'),
    ('upscale', ['photo.png', ''], 'input'),
    ('upscale', ['photo.png', '-o', ''], '-o/--output'),
    ('upscale', ['photo.png', '--report='], '--report'),
    ('upscale', ['photo.png', '--model', ''], '--model'),
    ('video', [''], 'input'),
    ('evaluate', ['--sr', '', '--hr', '.'], '--sr'),
    ('evaluate', ['--model=srgan', '--hr', ''], '--hr'),
    (
      'evaluate',
      ['--model=srgan', '--hr=.', '--lpips', ''],
      '--metric/--lpips',
    ),
    ('evaluate', ['--model=srgan', '--hr=.', '--json='], '--json'),
    ('export', ['srgan', '-o', ''], '-o/--output'),
    ('demo', ['--model='], '--model'),
    ('hub', ['', 'me/mine'], 'model'),
    ('evaluation.panels', ['--hr=', '-o', 'a.png'], '--hr'),
    ('convert.vgg', [''], 'SOURCE'),
    ('mos.__main__', ['prepare', '--hr=.', '-o', ''], '-o/--output'),
    ('mos.__main__', ['serve', ''], 'STUDY'),
    ('paper.table1', ['--benchmarks', '', '-o', 'a'], '--benchmarks'),
    ('paper.recipe', ['-o', '', '--data=tar:a'], '-o/--output'),
    ('paper.averaging', ['', '-o', 'a'], 'files'),
  ],
)
def test_an_empty_argument_is_no_folder(
  module, arguments, name, tmp_path, monkeypatch, capsys
):
  """As of a variable that is not set: `srgan-upscale "$UNSET"`."""
  monkeypatch.chdir(tmp_path)
  command = importlib.import_module(f'srgan_jax.{module}')
  with pytest.raises(SystemExit) as caught:
    command.main(arguments)
  assert caught.value.code == 2
  line = capsys.readouterr().err.splitlines()[-1]
  assert line.endswith(f'error: argument {name}: {EMPTY}')
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('place', ['file', 'file/in/it'])
@pytest.mark.parametrize(
  ('module', 'arguments'),
  [
    ('evaluation.panels', ['--full', '--hr', PHOTOS]),
    ('hub', ['srgan', 'me/mine']),
    ('mos.__main__', ['prepare', '--hr', PHOTOS]),
    ('paper.benchmark_downloads', ['Set5']),
    ('paper.depth_sweep', ['--hr', PHOTOS, f'--config.data.source={SOURCE}']),
    ('paper.recipe', ['--data', SOURCE, '--train=srresnet-mse=5']),
  ],
)
def test_a_file_is_no_folder_for_results(
  module, arguments, place, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'file').write_text('')
  command = importlib.import_module(f'srgan_jax.{module}')
  with pytest.raises(SystemExit) as caught:
    sys.exit(command.main([*arguments, '-o', place]))
  line = caught.value.code
  if line == 1:  # it has been said
    line = capsys.readouterr().err.rstrip()
  in_file = 'there is no folder' in line and place != 'file'
  assert 'file is a file, not a folder' in line or in_file
  assert '\n' not in line and (tmp_path / 'file').read_text() == ''


def test_a_flag_of_training_is_not_empty(tmp_path):
  result = repository.run_python(
    '-m', 'srgan_jax.main', '--config=vgg54', '--workdir=', cwd=tmp_path
  )
  assert result.returncode == 1
  assert result.stderr.splitlines() == [f'srgan_jax: --workdir: {EMPTY}']


def test_a_type_says_what_may_be_empty():
  parser = cli.parser('')
  parser.add_argument('--text', type=str)
  parser.add_argument('--path', type=pathlib.Path)
  options = parser.parse_args(['--text=', '--path', 'a'])
  assert options.text == '' and options.path == pathlib.Path('a')
  assert upscale._parser().parse_args(['a', '--suffix=']).suffix == ''
