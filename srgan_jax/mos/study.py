"""A study: a folder of images, and the order in which each rater sees them.

  manifest.json    what every image is; never shown to a rater
  images/          PNG files, uint8 RGB, under names that tell nothing, all
                   versions of an image of one size
  ratings.sqlite   the scores (ratings.py), once the study is served

A version is one image made by one method. Some images are repeated: all their
versions are shown twice, which measures how far a rater agrees with herself.
"""

from collections.abc import Mapping
import dataclasses
import functools
import hashlib
import hmac
import json
import pathlib
from typing import Any

import numpy as np

from srgan_jax import files

FORMAT = 2
MANIFEST = 'manifest.json'
IMAGES = 'images'
RATINGS = 'ratings.sqlite'
# What the scale's ends look like, and the method that calibrates each.
WORST, BEST = 1, 5
ORIGINAL = 'HR'


@dataclasses.dataclass(frozen=True)
class Version:
  """One image of a set by one method, and its file."""

  set: str
  image: str
  method: str
  file: str


@dataclasses.dataclass(frozen=True)
class Example:
  """A calibration image: a file and the score it is shown with, 1 or 5."""

  image: str
  file: str
  score: int


@dataclasses.dataclass(frozen=True)
class Trial:
  """One showing of a version: 1 the first time, 2 where it is repeated."""

  file: str
  showing: int


@dataclasses.dataclass(frozen=True)
class Study:
  """What a manifest says.

  Attributes:
    seed: chooses the examples and the repeated images.
    secret: random; makes file names and orders unpredictable.
    methods: name to description, in order; the original last.
    versions: every image by every method that its set has.
    examples: the calibration images in the order in which they are shown.
    repeated: (set, image) pairs whose versions are shown twice.
    version: the package's, when it made the study.
  """

  seed: int
  secret: str
  methods: Mapping[str, str]
  versions: tuple[Version, ...]
  examples: tuple[Example, ...]
  repeated: tuple[tuple[str, str], ...]
  version: str

  @property
  def sets(self) -> list[str]:
    """The sets' names in order."""
    return list(dict.fromkeys(v.set for v in self.versions))

  def images(self, set_name: str) -> list[str]:
    """The names of a set's images in order."""
    return list(
      dict.fromkeys(v.image for v in self.versions if v.set == set_name)
    )

  @functools.cached_property
  def by_file(self) -> Mapping[str, Version]:
    """The versions by their files' names."""
    return {version.file: version for version in self.versions}

  @functools.cached_property
  def files(self) -> tuple[str, ...]:
    """Every rating's file, those of repeated images twice."""
    repeated = set(self.repeated)
    return tuple(
      v.file
      for v in self.versions
      for _ in range(2 if (v.set, v.image) in repeated else 1)
    )

  @functools.cached_property
  def id(self) -> str:
    """A digest of the manifest, which ties ratings to this study."""
    return hashlib.sha256(self.as_json().encode()).hexdigest()[:16]

  def order(self, rater: int) -> list[Trial]:
    """All trials in the random order of a rater, a number from 1."""
    rng = np.random.default_rng(list(keyed(self.secret, str(rater))))
    seen: set[str] = set()
    trials = []
    for index in rng.permutation(len(self.files)):
      file = self.files[index]
      trials.append(Trial(file, 2 if file in seen else 1))
      seen.add(file)
    return trials

  def as_json(self) -> str:
    """The manifest's text."""
    facts = {'format': FORMAT} | dataclasses.asdict(self)
    return json.dumps(facts, indent=1) + '\n'


def keyed(secret: str, *what: str) -> bytes:
  """A digest that takes the secret to compute."""
  message = json.dumps(what).encode()
  return hmac.new(secret.encode(), message, hashlib.sha256).digest()


def load(folder: pathlib.Path) -> Study:
  """Reads a study's manifest and checks that its images exist.

  Raises:
    ValueError: one line naming the file.
  """
  path = folder / MANIFEST
  try:
    study = _parse(files.parse_json(path.read_bytes()))
  except OSError as error:
    raise ValueError(
      f'{folder} is no study: {path} cannot be read ({error.strerror})'
    ) from error
  except (
    AttributeError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
  ) as error:
    raise ValueError(f'{path} is no manifest of a study: {error}') from error
  for name in _names(study):
    if not (folder / IMAGES / name).is_file():
      raise ValueError(f'{folder / IMAGES / name} is missing')
  return study


def _names(study: Study) -> list[str]:
  return [v.file for v in study.versions] + [e.file for e in study.examples]


def _parse(facts: Any) -> Study:
  if facts['format'] != FORMAT:
    raise ValueError(
      f'format {facts["format"]!r}, not {FORMAT}: prepare it again'
    )
  study = Study(
    seed=int(facts['seed']),
    secret=str(facts['secret']),
    methods={str(k): str(v) for k, v in facts['methods'].items()},
    versions=tuple(Version(**entry) for entry in facts['versions']),
    examples=tuple(Example(**entry) for entry in facts['examples']),
    repeated=tuple((str(a), str(b)) for a, b in facts['repeated']),
    version=str(facts['version']),
  )
  if not study.versions:
    raise ValueError('it has no images')
  for name in _names(study):
    # It becomes part of a path.
    if type(name) is not str or pathlib.PurePath(name).name != name:
      raise ValueError(f'{name!r} is not a file name')
  if len(study.by_file) != len(study.versions):
    raise ValueError('two images have one file')
  for entry in study.versions:
    if entry.method not in study.methods:
      raise ValueError(f'{entry.method!r} is not one of its methods')
  return study
