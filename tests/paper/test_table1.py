"""Tables and panels, made by the commands and read back."""

import csv
import shutil

import numpy as np
from PIL import Image
import pytest

from srgan_jax import pretrained
from srgan_jax.evaluation import methods, panels, score
from srgan_jax.evaluation.benchmarks import Benchmark
from srgan_jax.paper import printed, table1
from tests.support import opinion


@pytest.fixture
def benchmarks(tmp_path):
  """Set5 of two small images, with LR images of its own."""
  opinion.write_set(tmp_path / 'benchmarks', a=(80, 64), b=(80, 64))
  return tmp_path / 'benchmarks'


@pytest.fixture
def finished(benchmarks, tmp_path):
  """A method's images in a folder per set: bicubic, a level brighter."""
  hr = benchmarks / 'Set5' / 'HR'
  return opinion.write_finished(hr, tmp_path / 'theirs')


def write_mos(path, *lines):
  head = 'set,method,mean,low,high,significant'
  path.write_text('\n'.join([head, *lines]) + '\n')
  return path


def test_the_tables_hold_our_figures_the_papers_and_their_difference(
  benchmarks, finished, tmp_path
):
  mos = write_mos(
    tmp_path / 'mos.csv',
    'Set5,srgan,3.70,3.5,3.9,True',
    'Set5,Theirs,2.00,1.9,2.1,false',
  )
  table1.main(
    [
      *('--benchmarks', str(benchmarks), '--mos', str(mos)),
      *('--method', f'srcnn={finished}', '--method', f'Theirs={finished}'),
      *('-o', str(tmp_path / 'table')),
    ]
  )
  psnr = np.mean(
    [
      score(np.minimum(methods.bicubic(pair), 254) + 1, pair.hr, 'paper')[
        'psnr'
      ]
      for pair in Benchmark(benchmarks / 'Set5' / 'HR')
    ]
  )
  text = (tmp_path / 'table.csv').read_text()
  cells = {
    (line['table'], line['method'], line['row']): line
    for line in csv.DictReader(text.splitlines())
  }
  srcnn = cells['Table 2: Set5', 'SRCNN', 'PSNR paper']
  assert float(srcnn['ours']) == pytest.approx(psnr, rel=1e-5)
  assert float(srcnn['paper']) == 30.07
  assert float(srcnn['difference']) == pytest.approx(psnr - 30.07, abs=0.006)
  assert not cells['Table 2: Set5', 'SRCNN', 'PSNR y']['paper']
  theirs = cells['Table 2: Set5', 'Theirs', 'SSIM y']
  assert theirs['ours'] and not theirs['paper'] and not theirs['difference']
  assert ('Table 1: Set5', 'Theirs', 'SSIM y') not in cells
  assert cells['Table 1: Set5', 'SRGAN-VGG54', 'MOS']['significant'] == '*'
  assert not any('Set14' in table for table, _, _ in cells)

  markdown = (tmp_path / 'table.md').read_text()
  lines = markdown.splitlines()
  head = lines[lines.index('## Table 2: Set5') + 2]
  row = next(x for x in lines[lines.index(head) :] if 'PSNR paper' in x)
  columns = [cell.strip() for cell in head.split('|')]
  cell = [cell.strip() for cell in row.split('|')][columns.index('SRCNN')]
  assert cell == f'{psnr:.2f} (30.07, {psnr - 30.07:+.2f})'
  assert '3.70* (3.58, +0.12)' in markdown
  assert f'- SRCNN: {finished / "Set5"}' in markdown


def test_a_note_names_the_folders_of_all_sets(benchmarks, finished, tmp_path):
  shutil.copytree(benchmarks / 'Set5', benchmarks / 'Set14')
  shutil.copytree(finished / 'Set5', finished / 'Set14')
  given = ['--benchmarks', str(benchmarks), '--method', f'Theirs={finished}']
  table1.main([*given, '-o', str(tmp_path / 'table')])
  notes = (tmp_path / 'table.md').read_text().splitlines()
  assert f'- Theirs: {finished / "Set5"}, {finished / "Set14"}' in notes
  assert '- nearest: pixels repeated' in notes


def test_a_folder_without_a_set_gets_no_figures_on_it(
  benchmarks, finished, tmp_path, capsys
):
  for name in ('Mine', 'Set14'):
    shutil.copytree(benchmarks / 'Set5', benchmarks / name)
  given = ['--benchmarks', str(benchmarks), '--method', f'Theirs={finished}']
  given += ['--method', f'SRCNN={finished}', '-o', str(tmp_path / 'table')]
  table1.main(given)
  line = f'Theirs: {finished} has no folder for Set14, Mine'
  assert line in capsys.readouterr().out.splitlines()
  markdown = (tmp_path / 'table.md').read_text()
  assert f'\n- {line}\n' in markdown
  tables = dict(part.split('\n', 1) for part in markdown.split('## ')[1:])
  rows = tables['Table 2: Mine'].splitlines()
  head, row = (
    [cell.strip() for cell in text.split('|')]
    for text in (rows[1], next(r for r in rows if 'PSNR paper' in r))
  )
  assert row[head.index('Theirs')] == row[head.index('SRCNN')] == '-'
  assert float(row[head.index('bicubic')]) > 0
  assert '- (27.18)' in tables['Table 2: Set14']  # SRCNN's, as printed
  lines = (tmp_path / 'table.csv').read_text().splitlines()
  assert 'Table 2: Mine,Theirs,PSNR paper,,,,' in lines
  assert 'Table 2: Set14,SRCNN,PSNR paper,,27.18,,' in lines


def test_a_distance_that_an_image_has_not_ends_no_table(
  benchmarks, tmp_path, capsys, monkeypatch
):
  class Picky:
    name = 'picky'

    def __call__(self, sr, hr):
      if (sr == hr).mean() > 0.5:
        raise ValueError('too near')
      return 1.0

  smooth = np.full((64, 80, 3), 128, np.uint8)
  Image.fromarray(smooth).save(benchmarks / 'Set5' / 'HR' / 'b.png')
  Image.fromarray(smooth[::4, ::4]).save(benchmarks / 'Set5' / 'LRx4' / 'b.png')
  monkeypatch.setattr(table1.report, 'load_distances', lambda _: [Picky()])
  output = tmp_path / 'table'
  table1.main(['--benchmarks', str(benchmarks), '-o', str(output)])
  line = 'bicubic, Set5: not measured: b: too near; the mean is over the others'
  assert line in capsys.readouterr().out.splitlines()
  assert f'- {line}\n' in (tmp_path / 'table.md').read_text()
  assert 'bicubic,PICKY,1,' in (tmp_path / 'table.csv').read_text()


def test_an_image_that_is_too_small_is_said_before_any_image(
  benchmarks, tmp_path, monkeypatch
):
  small = Image.fromarray(np.zeros((18, 18, 3), np.uint8))
  (benchmarks / 'Z' / 'HR').mkdir(parents=True)
  small.save(benchmarks / 'Z' / 'HR' / 'tiny.png')
  monkeypatch.setattr(table1.report, 'evaluate', pytest.fail)
  with pytest.raises(SystemExit, match="tiny.png has 18x18 .* 'y' needs 20x20"):
    table1.main(
      ['--benchmarks', str(benchmarks), '-o', str(tmp_path / 'table')]
    )


def test_a_method_that_is_unfit_is_said_before_any_image(
  benchmarks, finished, tmp_path, monkeypatch
):
  shutil.copytree(benchmarks / 'Set5', benchmarks / 'Set14')
  shutil.copytree(finished / 'Set5', finished / 'Set14')
  (finished / 'Set14' / 'b_SR.png').unlink()
  monkeypatch.setattr(table1.report, 'evaluate', pytest.fail)
  given = ['--benchmarks', str(benchmarks), '--method', f'Theirs={finished}']
  with pytest.raises(SystemExit, match='Set14 has no version of .*b.png'):
    table1.main([*given, '-o', str(tmp_path / 'table')])


def test_a_difference_never_reads_minus_zero():
  assert str(table1.Cell(26.2571, 26.26)) == '26.26 (26.26, +0.00)'
  assert str(table1.Cell(None, 3.72, 2, False, True)) == '- (3.72*)'
  assert str(table1.Cell()) == ''


def test_a_folder_named_as_a_method_does_not_replace_it(
  benchmarks, tmp_path, monkeypatch
):
  hr = benchmarks / 'Set5' / 'HR'
  opinion.write_finished(hr, tmp_path / 'bicubic')
  monkeypatch.chdir(tmp_path)
  table1.main(['--benchmarks=benchmarks', '--method=X=./bicubic', '-o=table'])
  with open('table.csv', newline='') as file:
    ours = {
      line['method']: float(line['ours'])
      for line in csv.DictReader(file)
      if (line['table'], line['row']) == ('Table 2: Set5', 'PSNR y')
    }
  pairs = Benchmark(hr)
  exact = [score(methods.bicubic(p), p.hr, 'y')['psnr'] for p in pairs]
  assert ours['bicubic'] == pytest.approx(np.mean(exact), abs=1e-4)
  assert ours['X'] != pytest.approx(np.mean(exact), abs=1e-4)
  notes = (tmp_path / 'table.md').read_text()
  assert '- bicubic: imresize by 4' in notes and '- X: bicubic/Set5' in notes


@pytest.mark.parametrize('name', [*methods.BASELINES, *pretrained.FILES])
def test_names_win_over_folders(name, tmp_path, monkeypatch):
  (tmp_path / name / 'Set5').mkdir(parents=True)
  monkeypatch.chdir(tmp_path)
  assert methods.of_set(name, 'Set5') == name
  assert methods.of_set(f'./{name}', 'Set5') == f'{name}/Set5'
  assert methods.of_set(str(tmp_path / name), 'Set14') == str(tmp_path / name)


def test_the_printed_figures_are_whole():
  """Twelve methods on their sets, without PSNR and SSIM of the originals."""
  assert len(printed.PRINTED) == 9 * 3 * 3 - 2 * 3 + 3 * 2 * 3
  assert printed.PRINTED['Set14', 'SRGAN-VGG54', 'mos'] == 3.72
  assert printed.PRINTED['BSD100', 'SRGAN-VGG54', 'ssim'] == 0.6688
  assert printed.canonical('srgan') == 'SRGAN-VGG54'
  assert printed.canonical('ESRGAN') == 'ESRGAN'


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    ('Set5,SRGAN,7,1,2,true', 'line 2: a mean of 7'),
    ('Set5,SRGAN,x,1,2,true', 'line 2: could not convert'),
    (
      'Set5,SRGAN,3,1,2,maybe',
      "line 2: 'maybe'; .* significant .true or false",
    ),
    ('Set5,SRGAN,3', 'line 2: .*the columns are set, method, mean'),
  ],
)
def test_opinion_scores_that_make_no_sense_are_named(tmp_path, line, message):
  with pytest.raises(ValueError, match=message):
    table1.read_mos(write_mos(tmp_path / 'mos.csv', line))


def test_opinion_scores_that_excel_saved_are_read(tmp_path):
  path = write_mos(tmp_path / 'mos.csv', 'Set5,SRGAN,3.5,3,4,TRUE')
  path.write_text(path.read_text(), encoding='utf-8-sig', newline='\r\n')
  key = 'Set5', 'SRGAN-VGG54'
  assert table1.read_mos(path) == ({key: 3.5}, {key})


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--method', 'SRGAN'], "'SRGAN' is not NAME=MODEL"),
    (
      ['--method=SRGAN=nearest', '--method=SRGAN-VGG54=bicubic'],
      "the method 'SRGAN-VGG54' is given twice",
    ),
    (['--method=Bicubic=nearest'], "the method 'bicubic' is given twice"),
    (['--method', 'SRGAN=/none.safetensors'], '/none.safetensors'),
    (['--mos', '/none.csv'], '/none.csv cannot be read'),
    (['--benchmarks', '/none'], '/none holds no benchmark'),
    (['-o', '/none/table'], 'there is no folder /none'),
  ],
)
def test_bad_input_to_the_tables_is_one_line(
  benchmarks, tmp_path, arguments, message
):
  given = ['--benchmarks', str(benchmarks), '-o', str(tmp_path / 'table')]
  with pytest.raises(SystemExit) as caught:
    table1.main([*given, *arguments])
  assert message in caught.value.code and '\n' not in caught.value.code
  assert not list(tmp_path.glob('table*'))


def _holds(figure, region):
  windows = np.lib.stride_tricks.sliding_window_view(figure, region.shape)
  return bool((windows[:, :, 0] == region).all((-1, -2, -3)).any())


def test_panels_show_the_crops_that_were_asked_for(benchmarks, tmp_path):
  output = tmp_path / 'panel.png'
  panels.main(
    [
      *('--hr', str(benchmarks / 'Set5' / 'HR'), '--method', 'near=nearest'),
      *('--crop', 'b:8,4,24,16', '--zoom', '1', '-o', str(output)),
    ]
  )
  figure = np.asarray(Image.open(output))
  pair = Benchmark(benchmarks / 'Set5' / 'HR')[1]
  for image in (methods.bicubic(pair), methods.nearest(pair), pair.hr):
    assert _holds(figure, image[4:20, 8:32])


def test_panels_are_png_files_whatever_their_case(benchmarks, tmp_path):
  given = ['--hr', str(benchmarks / 'Set5' / 'HR'), '-o']
  panels.main([*given, str(tmp_path / 'panel.PNG')])
  assert (tmp_path / 'panel.PNG').read_bytes().startswith(b'\x89PNG')
  with pytest.raises(SystemExit, match=r'panel.jpg: panels are .png files'):
    panels.main([*given, str(tmp_path / 'panel.jpg')])
  assert not (tmp_path / 'panel.jpg').exists()


def test_full_panels_go_into_a_folder_one_an_image(benchmarks, tmp_path):
  folder = tmp_path / 'figures'
  hr = benchmarks / 'Set5' / 'HR'
  panels.main(['--hr', str(hr), '--full', '-o', str(folder)])
  assert sorted(path.name for path in folder.iterdir()) == ['a.png', 'b.png']
  assert _holds(np.asarray(Image.open(folder / 'a.png')), Benchmark(hr)[0].hr)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--crop', 'c'], "has no image 'c': a, b"),
    (['--crop', 'a:60,0,32,32'], 'a has 80x64 pixels; the region 32x32'),
    (['--method', 'x=/none.safetensors'], '/none.safetensors'),
    (['--method=bicubic=nearest'], "the method 'bicubic' is given twice"),
  ],
)
def test_bad_input_to_the_panels_is_one_line(
  benchmarks, tmp_path, arguments, message
):
  output = tmp_path / 'panel.png'
  given = ['--hr', str(benchmarks / 'Set5' / 'HR'), '-o', str(output)]
  with pytest.raises(SystemExit) as caught:
    panels.main([*given, *arguments])
  assert message in caught.value.code and '\n' not in caught.value.code
  assert not output.exists()
