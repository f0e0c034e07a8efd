"""How the runs of a recipe went: their metrics as a table and a picture."""

from collections.abc import Iterator, Mapping, Sequence
import pathlib
from typing import Any

from srgan_jax import files, tables

_CURVES = ('psnr_y', 'lpips_alex', 'content', 'd_real', 'd_fake')


def read_metrics(path: pathlib.Path) -> Iterator[dict[str, Any]]:
  """The lines of a run's metrics, without null; none before it has begun."""
  if not path.exists():
    return
  for line in path.read_text(encoding='utf-8').splitlines():
    try:
      values = files.parse_json(line)
    except ValueError:
      continue  # cut off in a run that was killed
    yield {name: value for name, value in values.items() if value is not None}


def write(lines: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
  """The metrics of all runs: a line a variant, step and name."""
  rows = [
    (line['variant'], line['step'], name, f'{value:.6g}')
    for line in lines
    for name, value in line.items()
    if name not in ('variant', 'step', 'stage')
  ]
  head = ('variant', 'step', 'name', 'value')
  files.write_text(path, tables.as_csv([head, *rows]))


def draw(lines: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
  """The curves that tell how the runs went; not without matplotlib."""
  try:
    from matplotlib import figure as figure_lib
  except ImportError:
    print('curves.png needs matplotlib: run this again with it', flush=True)
    return
  names = [name for name in _CURVES if any(name in line for line in lines)]
  variants = list(dict.fromkeys(line['variant'] for line in lines))
  figure = figure_lib.Figure(
    figsize=(4 * len(names), 2.6 * len(variants)), layout='constrained'
  )
  axes = figure.subplots(len(variants), len(names), squeeze=False)
  for row, variant in zip(axes, variants, strict=True):
    for axis, name in zip(row, names, strict=True):
      points = [
        (line['step'], line[name])
        for line in lines
        if line['variant'] == variant and name in line
      ]
      axis.set_title(f'{variant}: {name}', fontsize=9)
      axis.plot(*zip(*points, strict=True)) if points else axis.axis('off')
      axis.grid(alpha=0.3)
  with files.replacing(path) as beside:
    figure.savefig(beside, format='png', dpi=100)
