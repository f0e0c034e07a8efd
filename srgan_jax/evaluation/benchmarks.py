"""Benchmarks: pairs of an original and its low-resolution image.

HR is cropped to a multiple of 4, from its top left corner. LR comes from a
folder of its own, as Set5's and Set14's public files do, or is made from HR by
the exact resize. All images are uint8 RGB; grayscale files have three equal
channels.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import os
import pathlib
import re
import unicodedata

import numpy as np

from srgan_jax import SCALE, files
from srgan_jax.evaluation import metrics
from srgan_jax.imaging import finding, opening, reading, resize


@dataclasses.dataclass(frozen=True)
class Pair:
  """One image: uint8 HR [4h, 4w, 3] and its LR [h, w, 3]."""

  name: str
  hr: np.ndarray
  lr: np.ndarray


def make_pair(name: str, image: np.ndarray) -> Pair:
  """Crops an image to a multiple of 4 and makes its LR by the exact resize."""
  hr = crop(image)
  return Pair(name, hr, resize.imresize(hr, 1 / SCALE))


class Benchmark:
  """Pairs in files, each read when it is asked for.

  Attributes:
    files: the originals; `names` and `sizes` (height, width) are theirs.
    left_out: a line on each file that is left out; None: none may be.
    passed_over: lines on drawings and videos beside the images.
  """

  def __init__(
    self,
    hr: files.Path,
    lr: files.Path | None = None,
    *,
    protocols: Sequence[str] = (),
    left_out: list[str] | None = None,
    max_megapixels: float = opening.MAX_MEGAPIXELS,
  ):
    """Finds the files and checks from their headers that they are pairs.

    Args:
      hr: a folder of originals, or one file.
      lr: a folder of their LR images, or one file; by default LR is made.
      protocols: those that the images will be scored by, if any.
      left_out: takes a line on each file that cannot be read or is too small,
        and its image is left out; by default such a file is an error.
      max_megapixels: larger images cannot be read.

    Raises:
      ValueError: naming the file that cannot be read, is too small, has no
        partner, or is not of its partner's size.
    """
    self.left_out, self._max_megapixels = left_out, max_megapixels
    self.passed_over: list[str] = []
    self._originals = list_images(hr, left_out, self.passed_over)
    sizes = {
      path: size
      for path in self._originals
      if (size := self.size(path)) is not None
      and self._is_large_enough(path, size, protocols)
    }
    self._lr = self.match(lr, list(sizes)) if lr is not None else {}
    self.files: list[pathlib.Path] = []
    self.names: list[str] = []
    self.sizes: list[tuple[int, int]] = []
    for name, path in _by_name(self._originals).items():
      if path in sizes and self._has_lr(path, sizes[path]):
        self.files.append(path)
        self.names.append(name)
        self.sizes.append(sizes[path])
    if not self.files:
      faults = '; '.join(left_out or ())
      raise ValueError(f'{hr} holds no image that can be used: {faults}')

  def _is_large_enough(
    self, path: pathlib.Path, size: tuple[int, int], protocols: Sequence[str]
  ) -> bool:
    """Whether an original can be scored; one that cannot is left out."""
    least, what = max(
      ((metrics.least_side(p), f'protocol {p!r}') for p in protocols),
      default=(SCALE, 'a scale of 4'),
    )
    least = -(-least // SCALE) * SCALE  # it will be cropped to a multiple
    if min(size) >= least:
      return True
    error = ValueError(
      f'{path} has {size[0]}x{size[1]} pixels, too few: {what} needs '
      f'{least}x{least}'
    )
    leave_out(error, self.left_out)
    return False

  def _has_lr(self, path: pathlib.Path, size: tuple[int, int]) -> bool:
    """Whether an original's LR is to be made, or can be read."""
    height, width = size
    if not (lr := self._lr.get(path)):
      return True
    if not (found := self.size(lr)):
      return False
    expected = (height // SCALE, width // SCALE)
    if found != expected:
      raise ValueError(
        f'{lr} has {found[0]}x{found[1]} pixels; a quarter of {path} '
        f'({height}x{width}) has {expected[0]}x{expected[1]}'
      )
    return True

  def __len__(self) -> int:
    return len(self.files)

  def __getitem__(self, index: int) -> Pair:
    name, path = self.names[index], self.files[index]
    image = self.read(path)
    if path not in self._lr:
      return make_pair(name, image)
    return Pair(name, crop(image), self.read(self._lr[path]))

  def __iter__(self) -> Iterator[Pair]:
    """The pairs; one whose file cannot be read is left out, if any may be."""
    for index in range(len(self)):
      try:
        pair = self[index]
      except ValueError as error:
        leave_out(error, self.left_out)
      else:
        yield pair

  def match(
    self, folder: files.Path, needed: Sequence[pathlib.Path]
  ) -> dict[pathlib.Path, pathlib.Path]:
    """By original its version in a folder, or in one file; see `match`."""
    found = list_images(folder, self.left_out, self.passed_over)
    return match(self._originals, found, needed)

  def read(self, path: pathlib.Path) -> np.ndarray:
    """An image of the benchmark, or of its size."""
    return reading.read_rgb(path, str(path), self._max_megapixels)

  def size(self, path: pathlib.Path) -> tuple[int, int] | None:
    """Height and width; None for a file that is left out."""
    try:
      return reading.image_size(path, str(path), self._max_megapixels)
    except ValueError as error:
      leave_out(error, self.left_out)
      return None


def leave_out(error: ValueError, left_out: list[str] | None) -> None:
  """Notes what cannot be read, or raises it where nothing may be left out."""
  if left_out is None:
    raise error
  if str(error) not in left_out:  # its header may have been met already
    left_out.append(str(error))


def set_name(hr: files.Path) -> str:
  """A folder of originals' name, 'Set5' of data/Set5/HR."""
  folder = pathlib.Path(hr).resolve()
  return folder.parent.name if folder.name.upper() == 'HR' else folder.name


def beside(hr: files.Path) -> pathlib.Path | None:
  """The folder LRx4 beside a folder HR, where there is one."""
  folder = pathlib.Path(hr)
  lr = folder.with_name('LRx4')
  return lr if folder.name == 'HR' and lr.is_dir() else None


def list_images(
  path: files.Path,
  left_out: list[str] | None = None,
  passed_over: list[str] | None = None,
) -> list[pathlib.Path]:
  """The image files of a folder in the order of their names, or the one file.

  Args:
    path: the folder or the file.
    left_out: takes lines on images that cannot be read.
    passed_over: takes lines on drawings and videos, which are no images.

  Raises:
    ValueError: where there is none.
  """
  path = pathlib.Path(path)
  if path.is_file():
    return [path]
  if not path.is_dir():
    raise ValueError(f'{path}: no such file or folder')
  found = finding.find(path, is_recursive=False)
  if not found.files:
    others = finding.describe(found.passed_over)
    raise ValueError('; '.join([f'{path} holds no image files', *others]))
  for lines, is_image in ((left_out, True), (passed_over, False)):
    if lines is not None:
      lines += finding.describe(
        [
          item
          for item in found.passed_over
          if (item.is_fault or opening.may_be_photo(item.why)) == is_image
        ]
      )
  return [pathlib.Path(file) for file in found.files]


def input_files(*inputs: files.Path | None) -> list[files.Path]:
  """The files that inputs are, or those of pictures in folders."""
  result: list[files.Path] = []
  for path in inputs:
    if path is not None and os.path.isdir(path):
      result += finding.find(path, is_recursive=False).files
    elif path is not None:
      result.append(path)
  return result


def match(
  originals: Sequence[pathlib.Path],
  others: Sequence[pathlib.Path],
  needed: Sequence[pathlib.Path] | None = None,
) -> dict[pathlib.Path, pathlib.Path]:
  """By original the one file of the others that is its version.

  The other's name is the original's, or begins with it, as 'baby_SR', 'babyx4'
  and 'baby.4x' begin with 'baby'; the endings of published originals, 'HR',
  'GT' and 'SRF_4_HR', do not count. One original and one other are a pair
  whatever their names.

  Raises:
    ValueError: naming a file that has no partner, or two; of the originals one
      that is `needed`, as by default all are.
  """
  if len(originals) == len(others) == 1:
    return {originals[0]: others[0]}
  by_stem = {_stem(path): path for path in originals}
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
  for path in originals if needed is None else needed:
    if path not in found:
      raise ValueError(f'{others[0].parent} has no version of {path}')
  return found


def _stem(path: pathlib.Path) -> str:
  """An original's name: its file's, without what says that it is one."""
  return re.sub(r'(_SRF_4)?_(HR|GT)$', '', _composed(path.stem))


def _composed(name: str) -> str:
  """A name in NFC, one of the two forms in which systems write letters."""
  return unicodedata.normalize('NFC', name)


def _by_name(paths: Sequence[pathlib.Path]) -> dict[str, pathlib.Path]:
  """The images by their names; no two files may have one."""
  result: dict[str, pathlib.Path] = {}
  for path in paths:
    if (other := result.setdefault(_stem(path), path)) is not path:
      raise ValueError(f'{other} and {path} have one name')
  return result


def _continues(name: str, stem: str) -> bool:
  rest = name.removeprefix(stem)
  return name.startswith(stem) and bool(re.match(r'x\d|[^0-9A-Za-z]|$', rest))


def crop(image: np.ndarray) -> np.ndarray:
  """An image's top left part whose sides are the largest multiples of 4."""
  height, width = (length // SCALE * SCALE for length in image.shape[:2])
  return image[:height, :width]
