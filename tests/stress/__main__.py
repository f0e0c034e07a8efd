"""Runs every attack and prints what came of it, as tables of Markdown."""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import pathlib
import tempfile

from srgan_jax import cli
from tests.stress import raters, readers

_IDLE = 1100  # connections
_MIB = 2**20


def main(arguments: Sequence[str] | None = None) -> int:
  """The command; 1 where something did not hold."""
  parser = cli.parser(__doc__, 'python -m tests.stress')
  parser.add_argument(
    '--short', action='store_true', help='fewer scores and kills'
  )
  parser.add_argument(
    '--only', choices=('files', 'servers'), help='one part of it'
  )
  options = parser.parse_args(arguments)
  faults = []
  if options.only != 'servers':
    faults += attack_readers(print)
  if options.only != 'files':
    faults += attack_study(print, images=2 if options.short else 10)
  for fault in faults:
    print(f'FAULT: {fault}')
  return 1 if faults else 0


def attack_readers(say: Callable[[str], None]) -> list[str]:
  """Has the readers read every kind of hostile file.

  Args:
    say: is told each line of a table.

  Returns:
    What did not hold.
  """
  say('\n| hostile file | bytes | seconds | peak MiB |\n|---|---|---|---|')
  outcomes = []
  for outcome in readers.measure():
    outcomes.append(outcome)
    say(
      f'| {outcome.kind} | {outcome.size} | {outcome.seconds:.2f} | '
      f'{outcome.peak / _MIB:.1f} |'
    )
  slowest = max(outcomes, key=lambda outcome: outcome.seconds)
  largest = max(outcomes, key=lambda outcome: outcome.peak)
  say(
    f'\n{len(outcomes)} files; the slowest {slowest.seconds:.2f} s '
    f'({slowest.kind}), the largest {largest.peak / _MIB:.1f} MiB '
    f'({largest.kind})'
  )
  return [f'{o.kind}: {o.fault}' for o in outcomes if o.fault]


def attack_study(say: Callable[[str], None], *, images: int) -> list[str]:
  """Has 50 raters score while the server is killed, and what else befalls it.

  Args:
    say: is told each line of a table.
    images: of the study, each by three methods.

  Returns:
    What did not hold.
  """
  with tempfile.TemporaryDirectory() as folder:
    path = raters.make_study(pathlib.Path(folder), images)
    scores = raters.rate_under_kills(path, raters=50, kills=images)
    disk = raters.rate_on_a_full_disk(path)
    seconds = raters.answer_time_among_idle(path, _IDLE)
  say('\n| the study under attack | |\n|---|---|')
  for name, value in (*_fields(scores), *_fields(disk)):
    say(f'| {name} | {value} |')
  say(f'| seconds to register among {_IDLE} idle connections | {seconds:.2f} |')
  faults = []
  if scores.lost or scores.doubled or scores.acknowledged != scores.stored:
    faults.append(f'scores were lost or doubled: {scores}')
  if disk != raters.FullDisk(503, 0, 1):
    faults.append(f'a full disk was not survived: {disk}')
  if seconds > readers.MAX_SECONDS:
    faults.append(f'idle connections keep raters out for {seconds:.0f} s')
  return faults


def _fields(
  record: raters.Scores | raters.FullDisk,
) -> Iterator[tuple[str, str]]:
  for field in dataclasses.fields(record):
    value = getattr(record, field.name)
    text = f'{value:.1f}' if isinstance(value, float) else str(value)
    yield field.name.replace('_', ' '), text


if __name__ == '__main__':
  raise SystemExit(main())
