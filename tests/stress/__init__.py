"""Attacks on the package: hostile files, kills, full disks, sizes beyond use.

`hostile_files` makes files that are meant to cost time and memory and `readers`
measures what each reader does with them; `raters` scores a study while its
server is killed; `training`, `pictures` and `sizes` attack the commands.
`python -m tests.stress` prints it all.
"""

from typing import NamedTuple


class Row(NamedTuple):
  """A line of figures.

  Attributes:
    cells: text or numbers.
    fault: what should not be; '' where all is well.
  """

  cells: tuple[object, ...]
  fault: str = ''
