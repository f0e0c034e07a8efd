"""Runs every attack and prints what came of it, as tables of Markdown."""

from collections.abc import Sequence

from srgan_jax import cli
from tests.stress import pictures, raters, readers, sizes, training

_PARTS = {
  'files': readers,
  'servers': raters,
  'training': training,
  'pictures': pictures,
  'sizes': sizes,
}


def main(arguments: Sequence[str] | None = None) -> int:
  """The command; 1 where something did not hold."""
  parser = cli.parser(__doc__, 'python -m tests.stress')
  parser.add_argument(
    '--short', action='store_true', help='fewer kills, smaller sizes'
  )
  parser.add_argument('--only', choices=_PARTS, help='one part of it')
  options = parser.parse_args(arguments)
  faults = []
  for name in [options.only] if options.only else _PARTS:
    part = _PARTS[name]
    _print(part.HEADER)
    _print(['---'] * len(part.HEADER))
    for row in part.attack(options.short):
      _print(row.cells)
      if row.fault:
        faults.append(f'{row.cells[0]}: {row.fault}')
    print()
  for fault in faults:
    print(f'FAULT: {fault}')
  return 1 if faults else 0


def _print(cells: Sequence[object]) -> None:
  texts = (f'{c:.2f}' if isinstance(c, float) else str(c) for c in cells)
  print(f'| {" | ".join(texts)} |', flush=True)


if __name__ == '__main__':
  cli.run(main)
