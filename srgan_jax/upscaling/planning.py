"""Which pictures a command goes through, where each goes, what became of it."""

from collections.abc import Sequence
import csv
import dataclasses
import io
import os
import pathlib

from PIL import Image

from srgan_jax import files
from srgan_jax.imaging import writing
from srgan_jax.models.generator import SCALE

# Standard input or output.
STANDARD = pathlib.Path('-')

# What Pillow registers but cannot decode, or not without other programs.
_NOT_PICTURES = {'BUFR', 'EPS', 'GRIB', 'HDF5', 'MPEG', 'WMF'}

# The suffix of each format that can be asked for.
FORMATS = {
  'jpg': '.jpg',
  'jpeg': '.jpg',
  'png': '.png',
  'webp': '.webp',
  'tif': '.tif',
  'tiff': '.tif',
  'bmp': '.bmp',
  'avif': '.avif',
}


@dataclasses.dataclass
class Job:
  """One picture, and what became of it.

  Attributes:
    source: where it comes from, - for standard input.
    target: where it goes to, - for standard output.
    form: Pillow's name of the format that is written; '' for its own.
    height: of the picture, 0 where that is not known.
    width: likewise.
    seconds: that the network took.
    status: 'waiting', 'done', 'skipped' or 'failed'.
    note: why it failed, or what was left aside.
  """

  source: pathlib.Path
  target: pathlib.Path
  form: str
  height: int = 0
  width: int = 0
  seconds: float = 0.0
  status: str = 'waiting'
  note: str = ''

  @property
  def result_pixels(self) -> int:
    return SCALE**2 * self.height * self.width


def plan(
  inputs: Sequence[pathlib.Path], output: pathlib.Path, form: str | None
) -> list[Job]:
  """Where each picture goes; no picture may take another's place.

  Raises:
    ValueError: naming two pictures with one target, one that would be
      overwritten, a folder without pictures, or an output that cannot be
      written to.
  """
  relative = _find(inputs, output)
  is_single = len(inputs) == 1 and not inputs[0].is_dir()
  if output == STANDARD and not is_single:
    raise ValueError('standard output takes a single picture')
  is_file = (
    is_single
    and not output.is_dir()
    and output.suffix.lower() in writing.SUFFIXES
  )
  if output != STANDARD:
    _check_output(output.parent if is_file else output)
  sources = {path.resolve() for path in relative if path != STANDARD}
  taken: dict[pathlib.Path, pathlib.Path] = {}
  jobs = []
  for path, name in relative.items():
    if output == STANDARD:
      target = output
      kind = writing.output_format(FORMATS[form]) if form else ''
    else:
      target = output if is_file else output / name
      suffix = FORMATS[form] if form else target.suffix
      kind = writing.output_format(suffix)
      if not is_file and suffix.lower() not in writing.SUFFIXES:
        suffix = '.png'
      if not is_file:
        target = target.with_suffix(suffix)
      if target.resolve() in sources:
        raise ValueError(f'{target} is an input and would be overwritten')
      if target in taken:
        raise ValueError(f'{taken[target]} and {path} would both be {target}')
      taken[target] = path
    jobs.append(Job(path, target, kind))
  return jobs


def _find(
  inputs: Sequence[pathlib.Path], output: pathlib.Path
) -> dict[pathlib.Path, pathlib.Path]:
  """The pictures, and the place of each below the output."""
  suffixes = {
    suffix
    for suffix, kind in Image.registered_extensions().items()
    if kind in Image.OPEN and kind not in _NOT_PICTURES
  }
  relative: dict[pathlib.Path, pathlib.Path] = {}
  for path in inputs:
    if path == STANDARD:
      relative[path] = pathlib.Path('stdin.png')
    elif path.is_dir():
      inside = output != STANDARD and output.resolve() != path.resolve()
      found = [
        file
        for file in sorted(path.rglob('*'))
        if file.suffix.lower() in suffixes
        and not file.name.startswith('.')
        and file.is_file()
        # Results of an earlier run, in a folder in the input's.
        and not (inside and file.resolve().is_relative_to(output.resolve()))
      ]
      if not found:
        raise ValueError(f'{path} has no pictures')
      relative |= {file: file.relative_to(path) for file in found}
    else:
      relative[path] = pathlib.Path(path.name)
  return relative


def _check_output(folder: pathlib.Path) -> None:
  """Refuses a folder that is not there and could not be made."""
  nearest = next(
    path for path in (folder, *folder.absolute().parents) if path.exists()
  )
  if not nearest.is_dir():
    raise ValueError(f'{nearest} is a file, not a folder')
  if not os.access(nearest, os.W_OK):
    raise ValueError(f'{nearest} cannot be written to')


def write_report(path: pathlib.Path, jobs: Sequence[Job]) -> None:
  """Writes a CSV file with a line a picture."""
  text = io.StringIO()
  table = csv.writer(text, lineterminator='\n')
  table.writerow(
    ['input', 'output', 'status', 'width', 'height', 'megapixels', 'seconds']
    + ['note']
  )
  for job in jobs:
    table.writerow(
      [job.source, job.target, job.status, job.width, job.height]
      + [f'{job.result_pixels / 1e6:.3f}', f'{job.seconds:.3f}', job.note]
    )
  files.write_text(path, text.getvalue())
