"""Raters and their scores, in SQLite.

A score is on disk before its rater is told so (WAL, synchronous=FULL), and the
file stays consistent whenever the program dies. Raters are numbered from 1 as
they register. A rater logs in by a secret code; only its digest is stored.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import functools
import hashlib
import pathlib
import secrets
import sqlite3
import textwrap
import threading

from srgan_jax.mos.study import RATINGS, Study

# Without I, L, O, U, 0 and 1, which are misread. 12 letters are 58 bits, too
# many to guess over a network.
_ALPHABET = '23456789ABCDEFGHJKMNPQRSTVWXYZ'

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (
  name TEXT PRIMARY KEY, value TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS raters (
  number INTEGER PRIMARY KEY,
  code TEXT NOT NULL UNIQUE,
  examples_seen INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS ratings (
  rater INTEGER NOT NULL REFERENCES raters (number),
  position INTEGER NOT NULL,
  file TEXT NOT NULL,
  showing INTEGER NOT NULL,
  score INTEGER NOT NULL CHECK (score BETWEEN 1 AND 5),
  rated TEXT NOT NULL,
  UNIQUE (rater, position),
  UNIQUE (rater, file, showing)
) STRICT;
"""


class OutOfOrder(ValueError):
  """A score for something that is not being shown to the rater."""


@dataclasses.dataclass(frozen=True)
class Rating:
  """A rater's score, 1..5, of a file at a position in her order.

  `showing` is 1, or 2 where a version was shown again.
  """

  rater: int
  position: int
  file: str
  showing: int
  score: int


@dataclasses.dataclass(frozen=True)
class Progress:
  """How far a rater is: examples seen, images rated."""

  examples: int
  rated: int


class Ratings:
  """The scores of a study; may be used from several threads and processes."""

  def __init__(self, folder: pathlib.Path, study: Study):
    """Opens the scores in a study's folder, or creates them.

    Raises:
      ValueError: where the file belongs to another study or is damaged.
    """
    self._path = path = folder / RATINGS
    self._study = study
    self.order = functools.lru_cache(maxsize=256)(study.order)
    self._lock = threading.RLock()
    try:
      self._database = sqlite3.connect(
        path, timeout=30, isolation_level=None, check_same_thread=False
      )
    except sqlite3.Error as error:
      raise ValueError(f'{path} cannot be opened: {error}') from error
    try:
      for pragma in ('journal_mode=WAL', 'synchronous=FULL', 'foreign_keys=ON'):
        self._database.execute(f'PRAGMA {pragma}')
      self._database.executescript(_SCHEMA)
      owner = self._fact('study', study.id)
      # Kept, so that the page's address stays the same.
      self.token = self._fact('token', secrets.token_urlsafe(16))
    except sqlite3.Error as error:
      self._database.close()
      raise ValueError(f'{path} cannot be opened: {error}') from error
    if owner != study.id:
      self._database.close()
      raise ValueError(f'{path} holds the ratings of another study')

  def close(self) -> None:
    """Closes the file."""
    self._database.close()

  def register(self) -> str:
    """A new rater's code, such as 'K7QF-2M9X-PT4D'."""
    code = spelled(''.join(secrets.choice(_ALPHABET) for _ in range(12)))
    with self._writing() as database:
      database.execute('INSERT INTO raters (code) VALUES (?)', [_digest(code)])
    return code

  def find(self, code: str) -> int | None:
    """The number of the rater who has a code, however it is typed."""
    with self._lock:
      row = self._database.execute(
        'SELECT number FROM raters WHERE code = ?', [_digest(code)]
      ).fetchone()
    return row[0] if row else None

  def progress(self, rater: int) -> Progress:
    """How far a rater is."""
    with self._lock:
      return Progress(
        *self._database.execute(
          'SELECT examples_seen, (SELECT count(*) FROM ratings '
          'WHERE rater = number) FROM raters WHERE number = ?',
          [rater],
        ).fetchone()
      )

  def see_example(self, rater: int, position: int, score: int) -> None:
    """Notes that a rater has seen an example and pressed its score.

    Raises:
      OutOfOrder: for another example than the one that is next.
    """
    with self._writing() as database:
      examples = self._study.examples
      due = self.progress(rater).examples
      if position != due or due >= len(examples):
        raise OutOfOrder('this example is not being shown')
      if score != examples[due].score:
        raise OutOfOrder(f'this example is a {examples[due].score}')
      database.execute(
        'UPDATE raters SET examples_seen = ? WHERE number = ?', [due + 1, rater]
      )

  def see_examples_again(self, rater: int) -> None:
    """Shows a rater all examples again."""
    with self._writing() as database:
      database.execute(
        'UPDATE raters SET examples_seen = 0 WHERE number = ?', [rater]
      )

  def add(self, rater: int, position: int, file: str, score: int) -> None:
    """Keeps a score; it is on the disk when this returns.

    Raises:
      OutOfOrder: where this is not what the rater is being shown: something
        scored already, something later, or before the examples are through.
      ValueError: for another score than 1..5.
    """
    if score not in range(1, 6):
      raise ValueError(f'a score of {score}, not 1 to 5')
    with self._writing() as database:
      progress, order = self.progress(rater), self.order(rater)
      if (
        progress.examples < len(self._study.examples)
        or position != progress.rated
        or position >= len(order)
        or file != order[position].file
      ):
        raise OutOfOrder('this image is not being shown')
      database.execute(
        'INSERT INTO ratings VALUES (?, ?, ?, ?, ?, ?)',
        [
          *(rater, position, file, order[position].showing, score),
          datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        ],
      )

  def all(self) -> list[Rating]:
    """Every score, by rater and position.

    Raises:
      ValueError: where the file is damaged.
    """
    try:
      with self._lock:
        rows = self._database.execute(
          'SELECT rater, position, file, showing, score FROM ratings '
          'ORDER BY rater, position'
        ).fetchall()
    except sqlite3.DatabaseError as error:
      raise ValueError(f'{self._path} cannot be read: {error}') from error
    return [Rating(*row) for row in rows]

  def _fact(self, name: str, default: str) -> str:
    """A stored fact; the default is stored where there is none yet."""
    rows = self._database.execute(
      'INSERT INTO facts VALUES (?, ?) '
      'ON CONFLICT (name) DO UPDATE SET value = value RETURNING value',
      [name, default],
    ).fetchall()
    return str(rows[0][0])

  @contextlib.contextmanager
  def _writing(self) -> Iterator[sqlite3.Connection]:
    """One exclusive transaction."""
    with self._lock:
      self._database.execute('BEGIN IMMEDIATE')
      try:
        yield self._database
        self._database.execute('COMMIT')
      except BaseException:
        # A full disk fails at any place, and may have rolled back already.
        if self._database.in_transaction:
          self._database.execute('ROLLBACK')
        raise


def spelled(code: str) -> str:
  """A code as it is given out, however it was typed."""
  letters = ''.join(c for c in code.upper() if c in _ALPHABET)
  return '-'.join(textwrap.wrap(letters, 4))


def _digest(code: str) -> str:
  return hashlib.sha256(spelled(code).encode()).hexdigest()
