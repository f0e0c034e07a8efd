"""The commands that README and docs show, from their text."""

import pathlib
import re
import shlex
from typing import NamedTuple

from tests.support import repository

PAGES = [
  repository.ROOT / 'README.md',
  *sorted((repository.ROOT / 'docs').glob('*.md')),
  repository.ROOT / 'srgan_jax' / 'pretrained' / 'MODEL_CARD.md',
]
_SCRIPTS = dict(
  re.findall(
    r'^(srgan-\w+) = "([\w.]+):\w+"$',
    (repository.ROOT / 'pyproject.toml').read_text(),
    re.M,
  )
)


class Command(NamedTuple):
  """A command of this package: its module or tool, and its arguments."""

  page: str
  target: str
  arguments: tuple[str, ...]

  @property
  def source(self) -> pathlib.Path:
    """The file that runs."""
    if self.target.endswith('.py'):
      return repository.ROOT / self.target
    path = repository.ROOT.joinpath(*self.target.split('.'))
    return path / '__main__.py' if path.is_dir() else path.with_suffix('.py')

  def __str__(self):
    return ' '.join((self.page, self.target, *self.arguments))


def code(page: pathlib.Path, language: str) -> list[str]:
  """The blocks of code of a language in a page."""
  pattern = rf'^```{language}\n(.*?)^```'
  return re.findall(pattern, page.read_text('utf-8'), re.M | re.S)


def lines(page: pathlib.Path) -> list[str]:
  """The lines of its shell blocks, continued ones put together."""
  text = '\n'.join(code(page, 'sh')).replace('\\\n', ' ')
  return [line for line in text.splitlines() if line.strip()]


def commands() -> list[Command]:
  """All commands of this package in the shell blocks."""
  found = []
  for page in PAGES:
    for line in lines(page):
      for part in line.split('&&'):
        if command := _parse(page.name, part):
          found.append(command)
  return list(dict.fromkeys(found))


def _parse(page: str, text: str) -> Command | None:
  match = re.search(
    r'(?:^|\s)(?:\S*python -m (srgan_jax[\w.]*|tests\.stress)'
    r'|python (tools/\w+\.py)'
    rf'|({"|".join(_SCRIPTS)}))(?=\s|$)(.*)',
    text,
  )
  if not match:
    return None
  module, tool, script, rest = match.groups()
  shown = re.split(r'\s#|[<>|]', rest)[0].rstrip()
  if shown.count("'") % 2:  # the end of a remote shell's command
    shown = shown.removesuffix("'")
  arguments = shlex.split(shown)
  target = module or tool or _SCRIPTS[script]
  return Command(page, target, tuple(arguments))
