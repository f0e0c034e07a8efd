"""Images that cannot be read: named, and the rest are scored."""

import json
import os
import unicodedata

import numpy as np
from PIL import Image
import pytest

from srgan_jax import evaluate
from srgan_jax.evaluation import benchmarks, niqe, report
from tests.support.image_files import encode, noise


def put(path, seed=0):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(encode(Image.fromarray(noise(32, 32, seed))))


def run(*arguments):
  plain = ('--protocol', 'rgb')
  return evaluate.main([*map(str, arguments), *plain])


def test_what_cannot_be_read_is_named_and_the_rest_scored(tmp_path, capsys):
  for i in range(4):
    put(tmp_path / 'HR' / f'{i}.png', i)
  go = lambda: run(
    '--model', 'bicubic', '--hr', tmp_path / 'HR', '--json', tmp_path / 'a'
  )
  assert go() == 0
  whole = json.loads((tmp_path / 'a').read_text())
  assert 'left_out' not in whole
  data = (tmp_path / 'HR' / '0.png').read_bytes()
  (tmp_path / 'HR' / '0.png').write_bytes(data[:-900])  # its header is fine
  (tmp_path / 'HR' / '2.png').write_bytes(b'no picture')
  (tmp_path / 'HR' / 'x.jxl').write_bytes(b'')
  capsys.readouterr()
  assert go() == 1
  found = json.loads((tmp_path / 'a').read_text())
  assert found['images'] == {i: whole['images'][i] for i in ('1', '3')}
  lines = capsys.readouterr().err.splitlines()
  assert len(lines) == len(found['left_out']) == 3
  for name in ('0.png', '2.png', 'x.jxl'):
    assert sum(name in line for line in lines) == 1


@pytest.mark.parametrize('folder', ['SR', 'LR'])
@pytest.mark.parametrize('part', [0.05, 0.5])
def test_a_version_that_cannot_be_read_is_left_out(
  folder, part, tmp_path, capsys
):
  for i in range(3):
    put(tmp_path / 'HR' / f'{i}.png', i)
    put(tmp_path / 'SR' / f'{i}.png', i + 1)
    path = tmp_path / 'LR' / f'{i}.png'
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encode(Image.fromarray(noise(8, 8, i))))
  path = tmp_path / folder / '1.png'
  data = path.read_bytes()
  path.write_bytes(data[: int(part * len(data))])
  method = (
    ('--sr', tmp_path / 'SR')
    if folder == 'SR'
    else ('--model', 'nearest', '--lr', tmp_path / 'LR')
  )
  assert run(*method, '--hr', tmp_path / 'HR', '--json', tmp_path / 'a') == 1
  found = json.loads((tmp_path / 'a').read_text())
  assert found['images'].keys() == {'0', '2'}
  (line,) = capsys.readouterr().err.splitlines()
  assert f'{folder}/1.png' in line


@pytest.mark.parametrize('option', ['--sr', '--lr'])
def test_an_image_that_is_left_out_needs_no_version(option, tmp_path, capsys):
  for name, side in (('HR', 32), ('versions', 32 if option == '--sr' else 8)):
    for i in range(2):
      path = tmp_path / name / f'{i}.png'
      path.parent.mkdir(exist_ok=True)
      path.write_bytes(encode(Image.fromarray(noise(side, side, i))))
  (tmp_path / 'HR' / '2.png').write_bytes(b'no picture')
  method = () if option == '--sr' else ('--model', 'nearest')
  versions = (option, tmp_path / 'versions')
  assert run(*method, *versions, '--hr', tmp_path / 'HR') == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert 'left out' in line and '2.png' in line


def test_an_image_that_is_too_small_is_left_out_before_any_is_upscaled(
  tmp_path, capsys, monkeypatch
):
  put(tmp_path / 'HR' / 'a.png')
  small = Image.fromarray(noise(19, 19, 1))  # 16x16 by whole multiples of 4
  (tmp_path / 'HR' / 'b.png').write_bytes(encode(small))
  (tmp_path / 'HR' / 'c.png').write_bytes(encode(small.crop((0, 0, 3, 3))))
  go = lambda protocol: evaluate.main(
    [
      *('--model', 'bicubic', '--hr', str(tmp_path / 'HR')),
      *('--json', str(tmp_path / 'a'), '--protocol', protocol),
    ]
  )
  assert go('paper,y') == 1
  lines = capsys.readouterr().err.splitlines()
  assert [line.rpartition(': ')[2] for line in lines] == [
    "protocol 'y' needs 20x20"
  ] * 2
  found = json.loads((tmp_path / 'a').read_text())
  assert found['images'].keys() == {'a'} and len(found['left_out']) == 2
  assert go('paper') == 1
  found = json.loads((tmp_path / 'a').read_text())
  assert found['images'].keys() == {'a', 'b'}
  with pytest.raises(ValueError, match="b.png has 19x19 .* 'y' needs 20x20"):
    benchmarks.Benchmark(tmp_path / 'HR', protocols=['paper', 'y'])
  monkeypatch.setattr(report, 'evaluate', lambda *_, **__: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    go('y')
  assert 'b.png has 19x19' in capsys.readouterr().err


def test_a_distance_that_an_image_has_not_is_named_and_loses_nothing(
  tmp_path, capsys, monkeypatch
):
  (tmp_path / 'HR').mkdir()
  for name, width in (('a', 192), ('b', 96), ('c', 288)):
    image = Image.fromarray(noise(96, width, width))
    image.save(tmp_path / 'HR' / f'{name}.png')
  metric = niqe.Niqe(np.zeros(36), np.eye(36))
  monkeypatch.setattr(report, 'load_distances', lambda _: [metric])
  arguments = ['--model', 'nearest', '--hr', tmp_path / 'HR']
  arguments += ['--json', tmp_path / 'a', '--csv', tmp_path / 'b']
  assert run(*arguments) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('evaluate: not measured: b: niqe needs two blocks')
  assert line.endswith('; the mean is over the others')
  found = json.loads((tmp_path / 'a').read_text())
  assert found['unmeasured'] == [line.removeprefix('evaluate: not measured: ')]
  figures = {name: scores['niqe'] for name, scores in found['images'].items()}
  assert figures['b'] is None and found['images']['b']['rgb']['psnr'] > 0
  assert found['mean']['niqe'] == pytest.approx(
    (figures['a'] + figures['c']) / 2
  )
  assert ',nan' in (tmp_path / 'b').read_text().splitlines()[2]


def test_a_drawing_beside_the_originals_is_no_image_left_out(tmp_path, capsys):
  for folder in ('HR', 'SR'):
    put(tmp_path / folder / 'a.png')
    (tmp_path / folder / 'paper.pdf').write_bytes(b'%PDF-1.7')
  arguments = ['--hr', tmp_path / 'HR', '--json', tmp_path / 'a']
  assert run('--sr', tmp_path / 'SR', *arguments) == 0
  lines = capsys.readouterr().err.splitlines()
  assert len(lines) == 2
  assert all('1 passed over: ' in x and 'paper.pdf' in x for x in lines)
  assert 'left_out' not in json.loads((tmp_path / 'a').read_text())


def test_nothing_to_score_is_an_error(tmp_path, capsys):
  put(tmp_path / 'HR' / 'a.png')
  path = tmp_path / 'HR' / 'a.png'
  path.write_bytes(path.read_bytes()[:-900])
  assert run('--model', 'bicubic', '--hr', tmp_path / 'HR') == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith('evaluate: ') and 'a.png' in line


def test_tables_over_all_images_stay_strict(tmp_path):
  put(tmp_path / 'a.png')
  (tmp_path / 'b.png').write_bytes(b'no picture')
  with pytest.raises(ValueError, match='b.png'):
    benchmarks.Benchmark(tmp_path)


@pytest.mark.parametrize('forms', [('NFC', 'NFD'), ('NFD', 'NFC')])
def test_names_are_one_in_both_forms_of_unicode(forms, tmp_path):
  name = 'bébé'
  hr, sr = (unicodedata.normalize(form, name) for form in forms)
  assert hr != sr
  put(tmp_path / 'HR' / f'{hr}.png')
  put(tmp_path / 'HR' / 'other.png', 1)
  put(tmp_path / 'SR' / f'{sr}_SR.png', 2)
  put(tmp_path / 'SR' / 'other.png', 3)
  code = run(
    '--sr', tmp_path / 'SR', '--hr', tmp_path / 'HR', '--json', tmp_path / 'a'
  )
  assert code == 0
  images = json.loads((tmp_path / 'a').read_text())['images']
  assert set(images) == {name, 'other'}


def test_the_limit_is_one_option(tmp_path, capsys):
  put(tmp_path / 'a.png')
  arguments = ('--model', 'bicubic', '--hr', tmp_path / 'a.png')
  assert run(*arguments, '--max-megapixels', '0.001') == 1
  assert '32x32 pixels are over the limit' in capsys.readouterr().err
  assert run(*arguments, '--max-megapixels', '0.002') == 0
  for wrong in ('0', 'nan', 'inf'):
    with pytest.raises(SystemExit):
      run(*arguments, '--max-megapixels', wrong)
    assert f'{wrong} is not in 1e-06..' in capsys.readouterr().err


def test_figures_go_into_devices_and_not_onto_folders(tmp_path, capsys):
  put(tmp_path / 'a.png')
  name = os.fsdecode(b'caf\xe9')
  put(tmp_path / 'HR' / f'{name}.png')
  arguments = ('--model', 'bicubic', '--hr', tmp_path / 'HR')
  assert run(*arguments, '--json', os.devnull, '--csv', tmp_path / 'c') == 0
  assert b'caf\xe9,' in (tmp_path / 'c').read_bytes()
  assert run(*arguments, '--json', tmp_path / 'HR') == 1
  assert 'HR is a folder' in capsys.readouterr().err
