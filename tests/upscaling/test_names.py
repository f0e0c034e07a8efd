"""Names, folders and places: what goes where, whatever it is called."""

import csv
import os
import signal
import stat
import subprocess
import sys
import threading
import time

import numpy as np
from PIL import Image
import pytest

from srgan_jax import cli
from srgan_jax.imaging import png
from tests.support import repository, signals
from tests.support.image_files import encode, noise, with_chunks
from tests.support.upscaling import run

COMMAND = [sys.executable, '-m', 'srgan_jax.upscale']
PICTURE = encode(Image.new('RGB', (6, 5), (9, 99, 199)))


def put(*paths):
  for path in paths:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PICTURE)


def names_in(folder) -> set[str]:
  return {p.relative_to(folder).as_posix() for p in folder.rglob('*.*')}


STRANGE = (
  os.fsdecode(b'caf\xe9.png'),  # latin-1, no UTF-8
  '写真 é.png',
  'e\u0301.png',
  'two\nlines\x1b[31m.png',
  'l' * 246 + '.png',
  '-o\'"; $x.png',
)


def test_every_name_is_kept(model, tmp_path, capsys):
  put(*(tmp_path / 'in' / name for name in STRANGE))
  report = tmp_path / 'report.csv'
  code = run(
    tmp_path / 'in', '-o', tmp_path / 'out', '--model', model,
    '--report', report,
  )  # fmt: skip
  assert code == 0 and capsys.readouterr().err == ''
  assert names_in(tmp_path / 'out') == set(STRANGE)
  with open(report, newline='', errors='surrogateescape') as file:
    rows = list(csv.DictReader(file))
  assert {row['input'] for row in rows} == {
    str(tmp_path / 'in' / name) for name in STRANGE
  }
  assert {row['status'] for row in rows} == {'done'}


def test_names_that_a_console_cannot_show_are_made_and_said(model, tmp_path):
  put(*(tmp_path / 'in' / name for name in STRANGE[:3]))
  (tmp_path / 'in' / os.fsdecode(b'b\xe9d.jpg')).write_bytes(b'nothing')
  result = subprocess.run(
    [*COMMAND, 'in', '-o', 'out', '--model', str(model)],
    cwd=tmp_path,
    capture_output=True,
    env=repository.environment() | {'PYTHONIOENCODING': 'ascii'},
  )
  assert result.returncode == 1 and b'Traceback' not in result.stderr
  assert result.stderr.startswith(rb'srgan-upscale: in/b\udce9d.jpg: not a')
  assert len(result.stderr.splitlines()) == 1
  assert names_in(tmp_path / 'out') == set(STRANGE[:3])
  assert b'out/caf\xe9.png\n' in result.stdout


def test_lines_move_no_cursor(tmp_path, capsys):
  assert run(tmp_path / 'a\n\x1b[2Jb.png', '-o', tmp_path / 'out') == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert r'a\n\x1b[2Jb.png' in line
  assert cli.visible('é写 \udce9\x9b') == 'é写 \udce9\\x9b'


@pytest.fixture
def loops(tmp_path, monkeypatch):
  """A folder of a picture, and of links to themselves."""
  monkeypatch.chdir(tmp_path)
  put(tmp_path / 'a.png')
  for loop in ('loop', 'loop.png'):
    os.symlink(loop, loop)


@pytest.mark.parametrize(
  'name', ['x' * 300, 'x' * 300 + '.png', 'loop', 'loop.png', 'none/b.png']
)
def test_what_cannot_be_opened_is_one_line_and_the_rest_go_on(
  name, loops, model, tmp_path, capsys
):
  assert run(name, 'a.png', '-o', 'out', '--model', model) == 1
  lines = capsys.readouterr().err.splitlines()
  assert len(lines) == 1 and name in lines[0]
  assert names_in(tmp_path / 'out') == {'a.png'}


@pytest.mark.parametrize(
  'output',
  ['loop', 'loop.png', 'loop/b.png', 'x' * 300, 'x' * 300 + '.png', 'a.png/b'],
)
def test_an_output_that_cannot_be_is_one_line(
  output, loops, model, tmp_path, capsys
):
  assert run('a.png', '-o', output, '--model', model) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert output.split('/')[0] in line
  assert names_in(tmp_path) == {'a.png', 'loop.png'}


@pytest.mark.parametrize(
  ('arguments', 'why'),
  [
    ('a.png -o b.gif', 'b.gif: .gif is not written'),
    ('a.png -o b.HEIC', 'b.HEIC: .heic is not written'),
    ('a.png -o b.mp4', '.mp4 is not written'),
    ('a.png b.png -o c.png', 'c.png is a single picture'),
    ('. -o c.jpg', 'c.jpg is a single picture'),
    ('a.png --format jpg -o c.png', 'c.png: its ending is not of'),
    ('a.png b.png -o -', 'takes a single picture'),
    ('-', 'standard input takes an output'),
    ('a.png --suffix=', 'would overwrite an input'),
    ('a.png --scale 2 --width 9', '--scale, or a --width'),
    ('a.png --model srgn', 'did you mean srgan?'),
    ('a.png --model no.safetensors', 'no.safetensors: no'),
    ('a.png --scale 64 --max-megapixels 0', '0 is not in'),
    ('a.png --scale 0.5', 'not from 1 to 64'),
    ('a.png --tile 20', 'larger than 24'),
    ('empty -o out', 'empty has no pictures'),
    ('no.png', 'No such file'),
    ('a.png --report no/r.csv', 'r.csv: there is no folder'),
    ('a.png -o a.png/x/y', 'a.png is a file, not a folder'),
  ],
)
def test_what_cannot_be_is_one_line(
  arguments, why, model, tmp_path, capsys, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  put(tmp_path / 'a.png', tmp_path / 'b.png')
  (tmp_path / 'empty').mkdir()
  try:
    code = run('--model', model, *arguments.split())
  except SystemExit as error:
    code = error.code
  *usage, line = capsys.readouterr().err.splitlines()
  assert code and why in line
  assert not usage or usage[0].startswith('usage: ')
  assert names_in(tmp_path) == {'a.png', 'b.png'}


def test_what_a_folder_passes_over_is_named_at_the_end(model, tmp_path, capsys):
  put(tmp_path / 'in' / 'a.png')
  (tmp_path / 'in' / 'b.jxl').write_bytes(b'')
  arguments = (tmp_path / 'in', '-o', tmp_path / 'out', '--model', model)
  assert run(*arguments) == 0
  (line,) = capsys.readouterr().err.splitlines()
  assert '1 passed over' in line and 'b.jxl' in line and 'djxl' in line
  (tmp_path / 'in' / 'dead.png').symlink_to('none.png')
  assert run(*arguments) == 1  # somebody may miss that one
  assert 'dead.png (a link that leads nowhere)' in capsys.readouterr().err


def test_an_empty_folder_does_not_stop_the_rest(model, tmp_path, capsys):
  (tmp_path / 'empty').mkdir()
  put(tmp_path / 'a.png')
  out = tmp_path / 'out'
  code = run(
    tmp_path / 'empty', tmp_path / 'a.png', '-o', out, '--model', model
  )
  assert code == 1 and 'empty has no pictures' in capsys.readouterr().err
  assert names_in(out) == {'a.png'}


def test_skip_existing_is_the_default_and_can_be_said(model, tmp_path, capsys):
  put(tmp_path / 'a.png', tmp_path / 'b.png')
  out = tmp_path / 'out'
  assert run(tmp_path / 'a.png', '-o', out, '--model', model) == 0
  written = lambda: (out / 'a.png').stat().st_mtime_ns
  before = written()
  both = (tmp_path / 'a.png', tmp_path / 'b.png', '-o', out, '--model', model)
  assert run(*both, '--skip-existing') == 0
  (line,) = capsys.readouterr().err.splitlines()
  assert '1 there already' in line and 'a.png' not in line
  assert written() == before
  assert run(*both, '--overwrite') == 0 and written() > before
  with pytest.raises(SystemExit):
    run(*both, '--skip-existing', '--overwrite')


def test_no_result_replaces_another_input(model, tmp_path, capsys):
  """Beside their pictures too, where an earlier result is an input again."""
  put(tmp_path / 'a.png')
  Image.new('RGB', (9, 8), 'blue').save(tmp_path / 'a_x4.png')
  inputs = (tmp_path / 'a.png', tmp_path / 'a_x4.png', '--model', model)
  before = (tmp_path / 'a_x4.png').read_bytes()
  assert run(*inputs, '--overwrite') == 1
  assert 'a_x4.png would overwrite an input' in capsys.readouterr().err
  assert (tmp_path / 'a_x4.png').read_bytes() == before
  assert names_in(tmp_path) == {'a.png', 'a_x4.png', 'a_x4_x4.png'}
  assert run(*inputs) == 0  # both are there
  assert '2 there already' in capsys.readouterr().err
  assert (tmp_path / 'a_x4.png').read_bytes() == before
  put(tmp_path / 'in' / 'b.png', tmp_path / 'in_x4' / 'b.png')
  folders = (tmp_path / 'in', tmp_path / 'in_x4')
  assert run(*folders, '--model', model, '--overwrite') == 1
  assert 'b.png would overwrite an input' in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != 'linux', reason='needs attributes of Linux')
@pytest.mark.parametrize('second', ['shot.gif', 'day2/shot.png'])
def test_a_result_of_another_picture_is_no_result(
  second, model, tmp_path, capsys
):
  put(tmp_path / 'shot.png')
  (tmp_path / 'day2').mkdir()
  Image.new('RGB', (30, 20), 'lime').save(tmp_path / second)
  out = tmp_path / 'out'
  assert run(tmp_path / 'shot.png', '-o', out, '--model', model) == 0
  other = (tmp_path / second, '-o', out, '--model', model)
  capsys.readouterr()
  for _ in range(2):
    assert run(*other) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert 'shot.png is there, the result of another shot.png' in line
  assert run(tmp_path / 'shot.png', '-o', out, '--model', model) == 0
  assert run(*other, '--overwrite') == 0
  with Image.open(out / 'shot.png') as image:
    assert image.size == (120, 80)


def test_names_lose_the_endings_of_pictures_alone(
  model, tmp_path, capsys, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  put(tmp_path / 'a.png')
  for name in ('Mr. Smith', 'photo.2024', '-', 'b.PNG'):
    (tmp_path / name).write_bytes((tmp_path / 'a.png').read_bytes())
  names = ('Mr. Smith', 'photo.2024', './-', 'b.PNG', 'a.png', 'a.png')
  assert run(*names, '--model', model) == 0, capsys.readouterr().err
  made = {'Mr. Smith_x4.png', 'photo.2024_x4.png', '-_x4.png', 'b_x4.PNG'}
  assert made | {'a_x4.png'} < names_in(tmp_path)


def test_two_that_would_have_one_name_have_two(model, tmp_path):
  put(tmp_path / 'shot.png')
  Image.new('RGB', (6, 5)).save(tmp_path / 'shot.gif')
  both = (tmp_path / 'shot.png', tmp_path / 'shot.gif')
  assert run(*both, '--model', model) == 0
  assert {'shot_x4.png', 'shot.gif_x4.png'} < names_in(tmp_path)


@pytest.mark.skipif(sys.platform != 'linux', reason='needs attributes of Linux')
def test_results_of_another_model_are_named(model, tmp_path, capsys):
  put(tmp_path / 'a.png')
  go = lambda *options: run(
    tmp_path / 'a.png', '-o', tmp_path / 'out', '--model', *options
  )
  assert go(model) == 0
  said = []
  for options in ((model,), (model, '--back-project', '1'), ('srresnet',)):
    assert go(*options) == 0
    said.append('made by another model' in capsys.readouterr().err)
  assert said == [False, True, True]
  assert go('srresnet', '--overwrite') == go('photo') == 0
  assert 'another model: srresnet (--ov' in capsys.readouterr().err


def test_the_report_goes_into_devices_pipes_and_links(model, tmp_path, capsys):
  put(tmp_path / 'a.png')
  go = lambda report: run(
    tmp_path / 'a.png', '-o', tmp_path / 'out', '--overwrite',
    '--model', model, '--report', report,
  )  # fmt: skip
  pipe = tmp_path / 'pipe'
  os.mkfifo(pipe)
  texts: list[str] = []
  reader = threading.Thread(target=lambda: texts.append(pipe.read_text()))
  reader.start()
  assert go(pipe) == 0
  reader.join(10)
  assert stat.S_ISFIFO(pipe.stat().st_mode) and 'a.png' in texts[0]
  (tmp_path / 'link.csv').symlink_to('real.csv')
  assert go(tmp_path / 'link.csv') == 0
  assert (tmp_path / 'link.csv').is_symlink()
  assert 'a.png' in (tmp_path / 'real.csv').read_text()
  assert go(os.devnull) == 0 and stat.S_ISCHR(os.stat(os.devnull).st_mode)
  capsys.readouterr()
  (tmp_path / 'folder').mkdir()
  assert go(tmp_path / 'folder') == 1
  assert 'folder is a folder' in capsys.readouterr().err


def test_a_picture_from_a_pipe(model, tmp_path):
  pipe = tmp_path / 'pipe.png'
  os.mkfifo(pipe)
  writer = threading.Thread(target=lambda: pipe.write_bytes(PICTURE))
  writer.start()
  assert run(pipe, '-o', tmp_path / 'out', '--model', model) == 0
  writer.join(10)
  assert names_in(tmp_path / 'out') == {'pipe.png'}


@pytest.mark.parametrize('number', ['SIGINT', 'SIGHUP', 'SIGTERM'])
def test_a_stop_leaves_nothing_half_written(number, model, tmp_path):
  for i in range(200):
    Image.fromarray(noise(60, 60)).save(tmp_path / f'{i}.png')
  out = tmp_path / 'out'
  with signals.hangups_count():
    process = subprocess.Popen(
      [*COMMAND, str(tmp_path), '-o', str(out), '--model', str(model)],
      cwd=repository.ROOT,
      stderr=subprocess.PIPE,
      stdout=subprocess.DEVNULL,
    )
  while process.poll() is None and not list(out.glob('*.png')):
    time.sleep(0.01)
  process.send_signal(getattr(signal, number))
  error = process.communicate(timeout=60)[1].decode()
  assert process.returncode == 130 and 'stopped' in error, error
  assert 'Traceback' not in error
  written = list(out.iterdir())
  assert 0 < len(written) < 200
  for path in written:
    with Image.open(path) as image:
      image.load()
      assert image.size == (240, 240)


def test_hdr_is_refused_before_it_is_computed(model, tmp_path, capsys):
  chunk = png.Chunk(b'cICP', bytes((9, 16, 0, 1)))
  data = with_chunks(Image.fromarray(noise(6, 5)), chunk)
  (tmp_path / 'hdr.png').write_bytes(data)
  out = tmp_path / 'out'
  arguments = (tmp_path / 'hdr.png', '-o', out, '--model', model)
  assert run(*arguments, '--format', 'jpg') == 1
  assert 'hdr.png: JPEG cannot hold HDR (PQ)' in capsys.readouterr().err
  assert run(*arguments) == 0
  with open(out / 'hdr.png', 'rb') as file:
    assert chunk in png.split(file)[0].chunks
  assert np.asarray(Image.open(out / 'hdr.png')).shape == (24, 20, 3)


@pytest.mark.parametrize(
  ('stdout', 'status', 'said'),
  [
    ('> /dev/full', 1, 'No space left on device'),
    ('| head -n 1 > first', 0, ''),
    ('>&- 2>&-', 0, ''),
  ],
)
def test_no_picture_hangs_on_what_reads_the_names(
  stdout, status, said, model, tmp_path
):
  put(*(tmp_path / 'in' / f'{i}.png' for i in range(5)))
  result = subprocess.run(
    f'{sys.executable} -m srgan_jax.upscale in -o out --model {model} {stdout}',
    shell=True,
    cwd=tmp_path,
    env=repository.environment(),
    capture_output=True,
    text=True,
  )
  assert result.returncode == status and said in result.stderr
  assert len(result.stderr.splitlines()) == bool(said)
  assert len(names_in(tmp_path / 'out')) == 5
