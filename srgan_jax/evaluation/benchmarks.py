"""Benchmarks: pairs of an original and its low-resolution image.

HR is cropped to a multiple of 4, from its top left corner. LR comes from a
folder of its own, as Set5's and Set14's public files do, or is made from HR by
the exact resize. All images are uint8 RGB; grayscale files have three equal
channels.
"""

from collections.abc import Iterable, Iterator, Sequence
import dataclasses
import os
import pathlib
import re
from typing import overload
import unicodedata

import numpy as np

from srgan_jax import SCALE
from srgan_jax.imaging import finding, opening, reading, resize

Path = str | os.PathLike[str]


@dataclasses.dataclass(frozen=True)
class Pair:
  """One image: uint8 HR [4h, 4w, 3] and its LR [h, w, 3]."""

  name: str
  hr: np.ndarray
  lr: np.ndarray


def make_pair(name: str, image: np.ndarray, edge: resize.Edge) -> Pair:
  """Crops an image to a multiple of 4 and makes its LR by the exact resize."""
  hr = _crop(image)
  return Pair(name, hr, resize.imresize(hr, 1 / SCALE, edge))


class Benchmark(Sequence[Pair]):
  """Pairs in files, each read when it is asked for."""

  def __init__(
    self,
    hr: Path,
    lr: Path | None = None,
    edge: resize.Edge = 'clamp',
    *,
    left_out: list[str] | None = None,
    max_megapixels: float = opening.MAX_MEGAPIXELS,
  ):
    """Finds the files and checks from their headers that they are pairs.

    Args:
      hr: a folder of originals, or one file.
      lr: a folder of their LR images, or one file; by default LR is made.
      edge: what the resize reads outside an image, where it makes LR.
      left_out: takes a line on each file that cannot be read, and its image is
        left out; by default such a file is an error.
      max_megapixels: larger images cannot be read.

    Raises:
      ValueError: naming the file that cannot be read, has no partner, or is
        not of its partner's size.
    """
    self._edge = edge
    self.left_out, self.max_megapixels = left_out, max_megapixels
    self.all_files = list_images(hr, left_out)
    names = _unique_names(self.all_files)
    others = self.match(lr) if lr is not None else [None] * len(names)
    self.files: list[pathlib.Path] = []
    self.names: list[str] = []
    self.sizes: list[tuple[int, int]] = []
    self._lr: list[pathlib.Path | None] = []
    for path, name, other in zip(self.all_files, names, others, strict=True):
      if (size := self.size(path)) is not None:
        self.files.append(path)
        self.names.append(name)
        self.sizes.append(size)
        self._lr.append(other)
    if not self.files:
      faults = '; '.join(left_out or ())
      raise ValueError(f'{hr} holds no image that can be read: {faults}')
    for path, (height, width) in zip(self.files, self.sizes, strict=True):
      if min(height, width) < SCALE:
        raise ValueError(f'{path} has {height}x{width} pixels: too few')
    for i, other in enumerate(self._lr):
      if other is None or (size := self.size(other)) is None:
        continue
      path, (height, width) = other, self.sizes[i]
      expected = (height // SCALE, width // SCALE)
      if size != expected:
        raise ValueError(
          f'{path} has {size[0]}x{size[1]} pixels; a quarter of '
          f'{self.files[i]} ({height}x{width}) has {expected[0]}x{expected[1]}'
        )

  def __len__(self) -> int:
    return len(self.files)

  @overload
  def __getitem__(self, index: int) -> Pair: ...
  @overload
  def __getitem__(self, index: slice) -> list[Pair]: ...
  def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
    if isinstance(index, slice):
      return [self[i] for i in range(*index.indices(len(self)))]
    image = self.read(self.files[index])
    if (other := self._lr[index]) is None:
      return make_pair(self.names[index], image, self._edge)
    return Pair(self.names[index], _crop(image), self.read(other))

  def __iter__(self) -> Iterator[Pair]:
    """The pairs; one whose file cannot be read is left out, if any may be."""
    for index in range(len(self)):
      try:
        pair = self[index]
      except ValueError as error:
        self._leave_out(error)
      else:
        yield pair

  def match(self, folder: Path) -> list[pathlib.Path]:
    """For each of `all_files` its version in a folder, or in one file."""
    return match(self.all_files, list_images(folder, self.left_out))

  def read(self, path: pathlib.Path) -> np.ndarray:
    """An image of the benchmark, or of its size."""
    return reading.read_rgb(path, str(path), self.max_megapixels)

  def size(self, path: pathlib.Path) -> tuple[int, int] | None:
    """Height and width; None of what is left out."""
    try:
      return reading.image_size(path, str(path), self.max_megapixels)
    except ValueError as error:
      self._leave_out(error)
      return None

  def _leave_out(self, error: ValueError) -> None:
    if self.left_out is None:
      raise error
    if str(error) not in self.left_out:  # its header may have been met already
      self.left_out.append(str(error))


def set_name(hr: Path) -> str:
  """A folder of originals' name, 'Set5' of data/Set5/HR."""
  folder = pathlib.Path(hr).resolve()
  return folder.parent.name if folder.name.upper() == 'HR' else folder.name


def beside(hr: Path) -> pathlib.Path | None:
  """The folder LRx4 beside a folder HR, where there is one."""
  folder = pathlib.Path(hr)
  lr = folder.with_name('LRx4')
  return lr if folder.name == 'HR' and lr.is_dir() else None


def list_images(
  path: Path, left_out: list[str] | None = None
) -> list[pathlib.Path]:
  """The image files of a folder in the order of their names, or the one file.

  Args:
    path: the folder or the file.
    left_out: takes lines on pictures that are not read.

  Raises:
    ValueError: where there is none.
  """
  path = pathlib.Path(path)
  if path.is_file():
    return [path]
  if not path.is_dir():
    raise ValueError(f'{path}: no such file or folder')
  found = finding.find(path, is_recursive=False)
  others = finding.describe(found.passed_over)
  if not found.files:
    raise ValueError('; '.join([f'{path} holds no image files', *others]))
  if left_out is not None:
    left_out += others
  return [pathlib.Path(file) for file in found.files]


def match(
  originals: Sequence[pathlib.Path], others: Sequence[pathlib.Path]
) -> list[pathlib.Path]:
  """For each original the one file of the others that is its version.

  Names are equal, or the other's goes on after the original's, as 'baby_SR',
  'babyx4' or 'baby.4x' after 'baby'; the endings of published originals, 'HR',
  'GT' and 'SRF_4_HR', are left out. One original and one other are a pair
  whatever their names.

  Raises:
    ValueError: naming a file that has no partner, or two.
  """
  if len(originals) == len(others) == 1:
    return list(others)
  by_stem = {stem(path): path for path in originals}
  found: dict[pathlib.Path, pathlib.Path] = {}
  for other in others:
    # The longest: 'img_1_SR' is of 'img_1', though there is an 'img' too.
    longest = max(
      (name for name in by_stem if _continues(_composed(other.stem), name)),
      key=len,
      default=None,
    )
    if longest is None:
      raise ValueError(f'{other} belongs to no image in {originals[0].parent}')
    original = by_stem[longest]
    if original in found:
      raise ValueError(
        f'{found[original]} and {other} both belong to {original}'
      )
    found[original] = other
  for path in originals:
    if path not in found:
      raise ValueError(f'{others[0].parent} has no version of {path}')
  return [found[path] for path in originals]


def stem(path: pathlib.Path) -> str:
  """An original's name: its file's, without what says that it is one."""
  return re.sub(r'(_SRF_4)?_(HR|GT)$', '', _composed(path.stem))


def _composed(name: str) -> str:
  """A name in the one form of letters that Macs and others write in two."""
  return unicodedata.normalize('NFC', name)


def _unique_names(paths: Iterable[pathlib.Path]) -> list[str]:
  """The images' names; no two files may have one."""
  taken: dict[str, pathlib.Path] = {}
  for path in paths:
    name = stem(path)
    if name in taken:
      raise ValueError(f'{taken[name]} and {path} have one name')
    taken[name] = path
  return list(taken)


def _continues(name: str, stem: str) -> bool:
  rest = name.removeprefix(stem)
  return name.startswith(stem) and bool(re.match(r'x\d|[^0-9A-Za-z]|$', rest))


def _crop(image: np.ndarray) -> np.ndarray:
  height, width = (length // SCALE * SCALE for length in image.shape[:2])
  return image[:height, :width]
