"""The paper's tables 1 and 2 for any set of weights, beside the paper's own.

  python -m srgan_jax.paper.table1 --benchmarks DIR --method SRResNet-MSE=FILE \
    --method SRGAN-VGG54=FILE [--lpips FILE] [--mos CSV] -o OUT

DIR holds Set5/HR, Set14/HR, BSD100/HR, whichever there are, and beside each
HR an LRx4 where LR shall not be made. A method is a weights file, a shipped
generator's name or a folder of finished images (OTHER, or OTHER/Set5, ...), so
that SRCNN's, DRCN's and others' published images get their columns as well;
nearest and bicubic are always measured. OUT.md and OUT.csv are written; a cell
is ours (the paper's, difference).
"""

from collections.abc import Mapping, Sequence
import csv
import dataclasses
import pathlib

from srgan_jax import cli, files, tables
from srgan_jax.evaluation import benchmarks, methods, report
from srgan_jax.paper import printed

_MOS_COLUMNS = ('set', 'method', 'mean', 'low', 'high', 'significant')
_TRUE, _FALSE = ('true', '1', 'yes', '*'), ('false', '0', 'no', '')


@dataclasses.dataclass(frozen=True)
class Cell:
  """A figure of ours and the paper's, either of which may not exist."""

  ours: float | None = None
  paper: float | None = None
  digits: int = 2
  is_starred: bool = False
  is_starred_in_paper: bool = False

  @property
  def difference(self) -> float | None:
    if self.ours is None or self.paper is None:
      return None
    return round(self.ours - self.paper, self.digits) + 0.0  # not -0.0

  def __str__(self) -> str:
    if self.ours is None and self.paper is None:
      return ''
    text = '-' if self.ours is None else f'{self.ours:.{self.digits}f}'
    text += '*' * self.is_starred
    if self.paper is not None:
      theirs = f'{self.paper:.{self.digits}f}{"*" * self.is_starred_in_paper}'
      if self.difference is not None:
        theirs += f', {self.difference:+.{self.digits}f}'
      text += f' ({theirs})'
    return text


@dataclasses.dataclass(frozen=True)
class Block:
  """One table on one set: its columns, and cells by row."""

  title: str
  columns: tuple[str, ...]
  rows: Mapping[str, list[Cell]]


Key = tuple[str, str]  # a set and a method
Figures = Mapping[str, float]  # e.g. {'psnr_paper': 29.4}


def open_benchmarks(
  folder: pathlib.Path,
) -> dict[pathlib.Path, benchmarks.Benchmark]:
  """The sets of a folder of benchmarks, by their own folders, in order.

  Raises:
    ValueError: one line: it holds none, or a file in one is unfit.
  """
  sets = sorted(
    (path for path in folder.glob('*') if (path / 'HR').is_dir()), key=_order
  )
  if not sets:
    raise ValueError(f'{folder} holds no benchmark (a folder NAME/HR)')
  return {
    path: benchmarks.Benchmark(path / 'HR', benchmarks.beside(path / 'HR'))
    for path in sets
  }


def measure(
  folder: pathlib.Path,
  models: Mapping[str, str],
  distances: Sequence[report.Distance],
) -> tuple[dict[Key, Figures], dict[str, str]]:
  """Figures by (set, method) on every set of a folder, and what methods are.

  Raises:
    ValueError: where there is no set, or a method or an image is unfit.
  """
  figures: dict[Key, Figures] = {}
  origins: dict[str, str] = {}
  for path, benchmark in open_benchmarks(folder).items():
    for name, model in models.items():
      if (pathlib.Path(model) / path.name).is_dir():
        model = str(pathlib.Path(model) / path.name)
      method = methods.open_method(model, benchmark, name)
      images = cli.progress(benchmark, desc=f'{name}, {path.name}', leave=False)
      result = report.evaluate(method, images, ('paper', 'y'), distances)
      figures[path.name, name] = report.flat(result.mean)
      origins[name] = method.origin
  return figures, origins


def read_mos(
  path: pathlib.Path,
) -> tuple[dict[tuple[str, str], float], set[tuple[str, str]]]:
  """Mean opinion scores by (set, method), and which have a star.

  Raises:
    ValueError: naming the line that is not as it should be.
  """
  try:
    lines = list(csv.DictReader(path.read_text(encoding='utf-8').splitlines()))
  except (OSError, UnicodeDecodeError) as error:
    raise ValueError(f'{path} cannot be read: {error}') from error
  scores, starred = {}, set()
  for number, line in enumerate(lines, 2):
    try:
      values = [line[column].strip() for column in _MOS_COLUMNS]
      key = (values[0], printed.canonical(values[1]))
      mean = float(values[2])
      if not 1 <= mean <= 5:
        raise ValueError(f'a mean of {mean}')
      if values[5].lower() not in (*_TRUE, *_FALSE):
        raise ValueError(f'significant is {values[5]!r}')
    except (AttributeError, KeyError, TypeError, ValueError) as error:
      raise ValueError(
        f'{path}, line {number}: {error}; the columns are '
        f'{", ".join(_MOS_COLUMNS)}, means 1 to 5, significant true or false'
      ) from error
    if key in scores:
      raise ValueError(f'{path}, line {number}: {key[1]} on {key[0]} again')
    scores[key] = mean
    if values[5].lower() in _TRUE:
      starred.add(key)
  if not scores:
    raise ValueError(f'{path} holds no scores')
  return scores, starred


def tabulate(
  figures: Mapping[Key, Figures],
  mos: Mapping[Key, float],
  starred: set[Key],
) -> list[Block]:
  """Both tables, a block a set; methods that the paper lacks join table 2."""
  sets = list(dict.fromkeys(name for name, _ in figures))
  rows = list(
    dict.fromkeys(row for scores in figures.values() for row in scores)
  )
  known = {name for names in printed.TABLES.values() for name in names}
  others = dict.fromkeys(n for _, n in [*figures, *mos] if n not in known)

  def cell(set_name: str, method: str, row: str) -> Cell:
    key = (set_name, method)
    # What the paper prints is the protocol `paper`'s, and the MOS.
    paper = printed.PRINTED.get((*key, row.removesuffix('_paper')))
    if row == 'mos':
      return Cell(
        mos.get(key), paper, 2, key in starred, key in printed.STARRED
      )
    digits = 2 if row.startswith('psnr') else 4
    return Cell(figures.get(key, {}).get(row), paper, digits)

  blocks = []
  for title, names in printed.TABLES.items():
    columns = (*names, *(others if title == 'Table 2' else ()))
    for set_name in sets:
      cells = {
        _heading(row): [cell(set_name, name, row) for name in columns]
        for row in (*rows, 'mos')
      }
      if title == 'Table 2' or set_name in printed.TABLE_1_SETS:
        blocks.append(Block(f'{title}: {set_name}', columns, cells))
  return blocks


def as_markdown(blocks: Sequence[Block], notes: Sequence[str]) -> str:
  """The tables with what their columns are."""
  parts = [_LEGEND]
  for block in blocks:
    rows = ([row, *map(str, cells)] for row, cells in block.rows.items())
    table = tables.as_markdown(['', *block.columns], rows)
    parts += [f'## {block.title}', table]
  parts.append('\n'.join(f'- {note}' for note in notes))
  return '\n\n'.join(parts) + '\n'


def as_csv(blocks: Sequence[Block]) -> str:
  """A line a cell: table and set, method, row, and the cell's figures."""
  lines = [
    ['table', 'method', 'row', 'ours', 'paper', 'difference', 'significant']
  ]
  for block in blocks:
    for row, cells in block.rows.items():
      for method, cell in zip(block.columns, cells, strict=True):
        if str(cell):
          numbers = (
            '' if value is None else f'{value:.6g}'
            for value in (cell.ours, cell.paper, cell.difference)
          )
          star = '*' * cell.is_starred
          lines.append([block.title, method, row, *numbers, star])
  return tables.as_csv(lines)


_LEGEND = (
  "Ours (the paper's, difference); PSNR in dB and SSIM by the named protocol. "
  "MOS: * significantly above the category's other losses."
)


def _heading(row: str) -> str:
  """'psnr_paper' as 'PSNR paper', 'lpips_alex' as 'LPIPS alex'."""
  measure, _, protocol = row.partition('_')
  return f'{measure.upper()} {protocol}'.strip()


def _order(path: pathlib.Path) -> tuple[int, str]:
  sets = printed.SETS
  return (
    sets.index(path.name) if path.name in sets else len(sets),
    path.name,
  )


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
    files.require_folder(options.output)
    models = {
      printed.canonical(name): model
      for name, model in methods.parse(options.method).items()
    }
    mos, starred = read_mos(options.mos) if options.mos else ({}, set())
    figures, origins = measure(
      options.benchmarks,
      {'nearest': 'nearest', 'bicubic': 'bicubic'} | models,
      report.load_distances(options.lpips),
    )
  blocks = tabulate(figures, mos, starred)
  notes = [f'{name}: {origin}' for name, origin in origins.items()]
  for suffix, text in (
    ('.md', as_markdown(blocks, notes)),
    ('.csv', as_csv(blocks)),
  ):
    files.write_text(
      options.output.with_name(options.output.name + suffix), text
    )
    print(f'wrote {options.output}{suffix}')


if __name__ == '__main__':
  cli.run(main)
