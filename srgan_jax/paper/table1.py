"""The paper's tables 1 and 2 for any set of weights, with the paper's figures.

  python -m srgan_jax.paper.table1 --benchmarks DIR --method SRResNet-MSE=FILE \
    --method SRGAN-VGG54=FILE [--lpips FILE] [--mos CSV] -o OUT

DIR holds Set5/HR, Set14/HR, BSD100/HR, whichever there are, and beside each
HR an LRx4 where LR shall not be made. A method is a weights file, a shipped
generator's name or a folder of finished images (OTHER, or OTHER/Set5, ...;
./NAME where a method has its name), so that SRCNN's, DRCN's and others'
published images get their columns as well (- on a set that OTHER has no folder
of); nearest and bicubic are always measured. OUT.md and OUT.csv are written; a
cell is ours (the paper's, difference).
"""

from collections.abc import Mapping, Sequence
import csv
import dataclasses
import pathlib

from srgan_jax import cli, files, tables
from srgan_jax.evaluation import benchmarks, methods, report
from srgan_jax.paper import printed

_PROTOCOLS = ('paper', 'y')
_STARS = {'true': True, 'false': False}  # as `srgan_jax.mos` writes them
_LEGEND = (
  "Ours (the paper's, difference); PSNR in dB and SSIM by the named protocol. "
  "MOS: * significantly above the category's other losses."
)


@dataclasses.dataclass(frozen=True)
class Cell:
  """A figure of ours and the paper's, either of which may not exist."""

  ours: float | None = None
  paper: float | None = None
  digits: int = 2
  is_starred: bool = False
  is_starred_in_paper: bool = False
  is_lacking: bool = False  # the method's folder has no such set

  @property
  def difference(self) -> float | None:
    if self.ours is None or self.paper is None:
      return None
    return round(self.ours - self.paper, self.digits) + 0.0  # not -0.0

  def __str__(self) -> str:
    if self.ours is None and self.paper is None:
      return '-' * self.is_lacking
    text = '-' if self.ours is None else f'{self.ours:.{self.digits}f}'
    text += '*' * self.is_starred
    if self.paper is not None:
      theirs = f'{self.paper:.{self.digits}f}{"*" * self.is_starred_in_paper}'
      if self.difference is not None:
        theirs += f', {self.difference:+.{self.digits}f}'
      text += f' ({theirs})'
    return text


Key = tuple[str, str]  # a set and a method
Figures = Mapping[str, float]  # e.g. {'psnr_paper': 29.4}
Table = dict[str, dict[str, Cell]]  # cells by row and method


def open_benchmarks(
  folder: pathlib.Path,
) -> dict[pathlib.Path, benchmarks.Benchmark]:
  """The sets of a folder of benchmarks, by their own folders, in order.

  Raises:
    ValueError: one line: it holds none, or a file in one is unfit.
  """
  found = sorted(path.parent for path in folder.glob('*/HR') if path.is_dir())
  if not found:
    raise ValueError(f'{folder} holds no benchmark (a folder NAME/HR)')
  known = [folder / name for name in printed.SETS if folder / name in found]
  sets = [*known, *(path for path in found if path not in known)]
  return {
    path: benchmarks.Benchmark(
      path / 'HR', benchmarks.beside(path / 'HR'), protocols=_PROTOCOLS
    )
    for path in sets
  }


def open_methods(
  models: Mapping[str, str], sets: Mapping[str, benchmarks.Benchmark]
) -> dict[Key, methods.Method]:
  """Every method on every set, but a set that is lacking in a folder of sets.

  Raises:
    ValueError: one line: a method is unfit.
  """
  opened: dict[Key, methods.Method] = {}
  for name, model in models.items():
    of_sets = {each: methods.of_set(model, each) for each in sets}
    folders = {each: of for each, of in of_sets.items() if of != model}
    for each, of_set in (folders or of_sets).items():
      opened[each, name] = methods.open_method(of_set, sets[each], name)
  return opened


def describe(
  models: Mapping[str, str], opened: Mapping[Key, methods.Method]
) -> list[str]:
  """Lines on what methods are, and on the sets that their folders lack."""
  sets, lines = dict.fromkeys(name for name, _ in opened), []
  for name, model in models.items():
    own = [each for each in sets if (each, name) in opened]
    # Each once: generators have one, finished images a folder per set.
    origins = dict.fromkeys(opened[each, name].origin for each in own)
    lines.append(f'{name}: {", ".join(origins)}')
    if lacking := ', '.join(each for each in sets if each not in own):
      lines.append(f'{name}: {model} has no folder for {lacking}')
  return lines


def measure(
  folder: pathlib.Path,
  models: Mapping[str, str],
  distances: Sequence[report.Distance],
) -> tuple[dict[Key, Figures], list[str]]:
  """Figures by (set, method) on every set of a folder, and lines on both.

  Raises:
    ValueError: where there is no set, or a method or an image is unfit.
  """
  sets = {p.name: images for p, images in open_benchmarks(folder).items()}
  opened = open_methods(models, sets)
  lines = describe(models, opened)
  print('\n'.join(lines), flush=True)  # before hours pass
  figures: dict[Key, Figures] = {}
  for (set_name, name), method in opened.items():
    what = f'{name}, {set_name}'
    images = cli.progress(sets[set_name], desc=what, leave=False)
    result = report.evaluate(
      method, images, _PROTOCOLS, distances, unmeasured=[]
    )
    figures[set_name, name] = report.flat(result.mean)
    for line in result.unmeasured:
      lines.append(f'{what}: not measured: {line}')
      print(lines[-1], flush=True)
  return figures, lines


def read_mos(path: pathlib.Path) -> tuple[dict[Key, float], set[Key]]:
  """Mean opinion scores by (set, method), and which have a star.

  The file is `mos.csv` of `srgan_jax.mos`.

  Raises:
    ValueError: naming the line that is not as it should be.
  """
  try:
    lines = list(
      csv.DictReader(path.read_text(encoding='utf-8-sig').splitlines())
    )
  except (OSError, UnicodeDecodeError) as error:
    raise ValueError(f'{path} cannot be read: {error}') from error
  scores, starred = {}, set()
  for number, line in enumerate(lines, 2):
    try:
      key = (line['set'], printed.canonical(line['method']))
      scores[key] = float(line['mean'])
      if not 1 <= scores[key] <= 5:
        raise ValueError(f'a mean of {scores[key]}')
      if _STARS[line['significant'].lower()]:
        starred.add(key)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
      raise ValueError(
        f'{path}, line {number}: {error}; the columns are set, method, mean '
        '(1 to 5) and significant (true or false)'
      ) from error
  return scores, starred


def tabulate(
  figures: Mapping[Key, Figures],
  mos: Mapping[Key, float],
  starred: set[Key],
) -> dict[str, Table]:
  """Both tables, one a set; methods that the paper lacks join table 2."""
  sets = list(dict.fromkeys(name for name, _ in figures))
  rows = dict.fromkeys(row for scores in figures.values() for row in scores)
  known = {name for names in printed.TABLES.values() for name in names}
  others = dict.fromkeys(n for _, n in [*figures, *mos] if n not in known)
  measured = {name for _, name in figures}

  def cell(key: Key, row: str) -> Cell:
    # What the paper prints is the protocol `paper`'s, and the MOS.
    paper = printed.PRINTED.get((*key, row.removesuffix('_paper')))
    if row == 'mos':
      return Cell(
        mos.get(key), paper, 2, key in starred, key in printed.STARRED
      )
    digits = 2 if row.startswith('psnr') else 4
    return Cell(
      figures.get(key, {}).get(row),
      paper,
      digits,
      is_lacking=key not in figures and key[1] in measured,
    )

  return {
    f'{title}: {name}': {
      _heading(row): {
        method: cell((name, method), row)
        for method in (*columns, *(others if title == 'Table 2' else ()))
      }
      for row in (*rows, 'mos')
    }
    for title, columns in printed.TABLES.items()
    for name in sets
    if title == 'Table 2' or name in printed.TABLE_1_SETS
  }


def as_markdown(blocks: Mapping[str, Table], notes: Sequence[str]) -> str:
  """The tables with what their columns are."""
  parts = [_LEGEND]
  for title, table in blocks.items():
    rows = ([row, *map(str, cells.values())] for row, cells in table.items())
    text = tables.as_markdown(['', *next(iter(table.values()))], rows)
    parts += [f'## {title}', text]
  parts.append('\n'.join(f'- {note}' for note in notes))
  return '\n\n'.join(parts) + '\n'


def as_csv(blocks: Mapping[str, Table]) -> str:
  """A line a cell: table and set, method, row, and the cell's figures."""
  lines = [
    ['table', 'method', 'row', 'ours', 'paper', 'difference', 'significant']
  ]
  for title, table in blocks.items():
    for row, cells in table.items():
      for method, cell in cells.items():
        if str(cell):
          numbers = (
            '' if value is None else f'{value:.6g}'
            for value in (cell.ours, cell.paper, cell.difference)
          )
          star = '*' * cell.is_starred
          lines.append([title, method, row, *numbers, star])
  return tables.as_csv(lines)


def _heading(row: str) -> str:
  """'psnr_paper' as 'PSNR paper', 'lpips_alex' as 'LPIPS alex'."""
  measure, _, protocol = row.partition('_')
  return f'{measure.upper()} {protocol}'.strip()


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = cli.parser(__doc__)
  add = parser.add_argument
  add('--benchmarks', type=pathlib.Path, required=True, metavar='DIR')
  add('--method', action='append', default=[], metavar='NAME=MODEL')
  add('--lpips', action='append', default=[], metavar='FILE')
  add('--mos', type=pathlib.Path, metavar='CSV')
  add('-o', '--output', type=pathlib.Path, required=True, metavar='OUT')
  options = parser.parse_args(arguments)
  with cli.failing_in_a_line('table1'):
    models = methods.parse(
      [*(f'{name}={name}' for name in methods.BASELINES), *options.method],
      printed.canonical,
    )
    outputs = [f'{options.output}{suffix}' for suffix in ('.md', '.csv')]
    for path in outputs:
      files.require_place(path, options.mos, *options.lpips, *models.values())
    mos, starred = read_mos(options.mos) if options.mos else ({}, set())
    figures, notes = measure(
      options.benchmarks,
      models,
      report.load_distances(options.lpips),
    )
  blocks = tabulate(figures, mos, starred)
  texts = as_markdown(blocks, notes), as_csv(blocks)
  for path, text in zip(outputs, texts, strict=True):
    files.write_text(path, text)
    print(f'wrote {path}')


if __name__ == '__main__':
  cli.run(main)
