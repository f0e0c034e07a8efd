"""Files that are there whole or not at all."""

import errno
import importlib
import os
import pathlib
import subprocess
import sys

from PIL import Image
import pytest

from srgan_jax import files
from tests.support import image_files, repository


def test_two_of_one_process_number_do_not_meet(tmp_path, monkeypatch):
  """As in two containers, whose processes are counted from 1."""
  monkeypatch.setattr(os, 'getpid', lambda: 1)
  path = tmp_path / 'a.txt'
  with files.replacing(path) as first, files.replacing(path) as second:
    assert first != second
    second.write_text('second')
    first.write_text('first')
  assert path.read_text() == 'first'
  assert os.listdir(tmp_path) == ['a.txt']


def test_the_longest_name_can_be_written(tmp_path):
  path = tmp_path / ('x' * 255)
  files.write_text(path, 'text')
  assert path.read_text() == 'text'


def test_what_fails_leaves_the_old_file_and_no_other(tmp_path):
  path = tmp_path / 'a.txt'
  path.write_text('old')
  with pytest.raises(ZeroDivisionError), files.replacing(path) as beside:
    beside.write_text('new')
    raise ZeroDivisionError
  assert path.read_text() == 'old' and os.listdir(tmp_path) == ['a.txt']


def test_a_link_stays_and_leads_to_the_new_file(tmp_path):
  (tmp_path / 'folder').mkdir()
  real = tmp_path / 'folder' / 'real.txt'
  for name, target in (('b.txt', real), ('a.txt', 'b.txt')):
    (tmp_path / name).symlink_to(target)
  for text in ('first', 'second'):  # the file is not there at first
    files.write_text(tmp_path / 'a.txt', text)
    assert real.read_text() == text
  assert (tmp_path / 'a.txt').is_symlink()
  assert os.listdir(tmp_path / 'folder') == ['real.txt']


@pytest.mark.parametrize(
  'path', ['/dev/stdout', '/dev/fd/1', '/proc/self/fd/1']
)
@pytest.mark.parametrize('to_file', [False, True])
def test_standard_output_is_written_where_it_leads(path, to_file, tmp_path):
  if not os.path.exists(path):
    pytest.skip(f'no {path} here')
  code = f'from srgan_jax import files; files.write_text({path!r}, "text")'
  command = [sys.executable, '-c', code]
  log = tmp_path / 'log'
  with open(log, 'wb') as file:
    result = subprocess.run(
      command,
      cwd=repository.ROOT,
      check=True,
      stdout=file if to_file else subprocess.PIPE,
    )
  found = log.read_bytes() if to_file else result.stdout
  assert found == b'text' and os.listdir(tmp_path) == ['log']


def test_bytes_that_are_no_text_pass_through(tmp_path):
  files.write_text(tmp_path / 'a', os.fsdecode(b'caf\xe9 \xc3\xa9'))
  assert (tmp_path / 'a').read_bytes() == b'caf\xe9 \xc3\xa9'


def test_a_place_that_cannot_be_is_refused(tmp_path):
  files.require_place(tmp_path / 'a')
  with pytest.raises(ValueError, match='there is no folder'):
    files.require_place(tmp_path / 'none' / 'a')
  with pytest.raises(ValueError, match='is a folder'):
    files.require_place(tmp_path)


def test_an_error_names_the_file_and_not_the_one_beside_it(tmp_path):
  for path in (tmp_path / 'none' / 'a', tmp_path / 'b'):
    with pytest.raises(OSError) as caught, files.replacing(path) as beside:
      beside.write_bytes(b'')
      raise OSError(errno.ENOSPC, 'No space left on device')
    assert caught.value.filename == str(path)


@pytest.mark.parametrize(
  ('command', 'arguments'),
  [
    ('export', 'a.onnx -o a.onnx'),
    ('video', 'a.mkv -o a.mkv --overwrite'),
    ('upscale', 'HR/a.png -o x.png --model srgan --report HR/a.png'),
    ('upscale', 'HR/a.png -o x.png --model srgan --report x.png'),
    ('evaluate', '--sr HR --hr HR/a.png --json HR/a.png'),
    ('evaluate', '--model bicubic --hr HR --csv HR/a.png'),
    ('evaluate', '--model bicubic --hr HR --metric a.npz --csv a.npz'),
    ('evaluate', '--model bicubic --hr HR --json x --csv x'),
    ('evaluation.panels', '--hr HR -o HR'),
    ('evaluation.panels', '--hr HR --crop a -o HR/a.png'),
    ('convert.to_torch', 'a.pth -o a.pth'),
    ('convert.generator', 'a.pth -o a.pth'),
    ('convert.vgg', 'a.pth -o a.pth'),
    ('convert.lpips', 'a.pth -o a.pth'),
    ('convert.metrics', 'dists --vgg a.pth -o a.pth --package b'),
    ('convert.metrics', 'niqe --package a.pth -o a.pth'),
    ('paper.averaging', 'b.pth a.pth -o a.pth'),
    ('paper.table1', '--benchmarks . --mos a.csv -o a'),
    ('speed.upscaling', '--model a.pth --json a.pth'),
  ],
)
def test_no_command_writes_over_its_input_or_two_files_as_one(
  command, arguments, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  picture = image_files.encode(Image.new('RGB', (64, 48)))
  pathlib.Path('HR').mkdir()
  pathlib.Path('HR/a.png').write_bytes(picture)
  for suffix in ('.onnx', '.mkv', '.npz', '.pth', '.csv'):
    pathlib.Path('a').with_suffix(suffix).write_text('mine')
  pathlib.Path('b.pth').write_text('mine')
  before = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
  main = importlib.import_module(f'srgan_jax.{command}').main
  try:
    status, said = main(arguments.split()), capsys.readouterr().err
  except SystemExit as end:
    status, said = 1, str(end.code) + '\n'
  assert status == 1 and said.count('\n') == 1
  assert 'is an input or another output already' in said
  after = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
  assert after == before


def test_a_file_is_itself_by_any_name_and_a_stream_is_none(tmp_path):
  given, link = tmp_path / 'a', tmp_path / 'b'
  given.write_text('mine')
  os.link(given, link)
  for path, other in ((link, given), (tmp_path / 'c', tmp_path / '.' / 'c')):
    with pytest.raises(ValueError, match='is an input or another output'):
      files.require_place(path, None, other)
  files.require_place(tmp_path / 'c', given, link)
  files.require_place(os.devnull, os.devnull)


def test_folders_are_made_or_a_file_is_named(tmp_path):
  files.make_folder(tmp_path / 'a' / 'b')
  files.make_folder(tmp_path / 'a' / 'b')
  (tmp_path / 'link').symlink_to(tmp_path / 'a')
  files.make_folder(tmp_path / 'link' / 'c')
  assert (tmp_path / 'a' / 'c').is_dir()
  (tmp_path / 'file').write_bytes(b'')
  (tmp_path / 'dead').symlink_to(tmp_path / 'none')
  for name in ('file', 'dead'):
    for path in (tmp_path / name, tmp_path / name / 'in' / 'it'):
      with pytest.raises(ValueError, match=f'{name} is a file, not a folder'):
        files.make_folder(path)
