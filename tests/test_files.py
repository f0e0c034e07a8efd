"""Files that are there whole or not at all."""

import errno
import os
import subprocess
import sys

import pytest

from srgan_jax import files
from tests.support import repository


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
