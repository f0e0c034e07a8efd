"""Tables as texts: CSV for programs, Markdown for people."""

from collections.abc import Iterable, Sequence
import csv
import io
from typing import Any


def as_csv(rows: Iterable[Sequence[Any]]) -> str:
  """A line a row, the head first."""
  text = io.StringIO()
  csv.writer(text, lineterminator='\n').writerows(rows)
  return text.getvalue()


def as_markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """A table under its head, without a line's end behind it."""
  lines = [head, ['---'] * len(head), *rows]
  escaped = ([cell.replace('|', r'\|') for cell in line] for line in lines)
  return '\n'.join(f'| {" | ".join(line)} |' for line in escaped)
