"""Plans which pictures a command upscales, where results go; the report."""

import collections
from collections.abc import Sequence
import dataclasses
import math
import mimetypes
import os
import pathlib

from srgan_jax import files, tables
from srgan_jax.imaging import finding, opening, writing
from srgan_jax.upscaling import FORMATS
from srgan_jax.upscaling.sizes import Size

_RESULTS = 'results of other pictures here; one given alone is upscaled again'

# Standard input or output.
STANDARD = pathlib.Path('-')


@dataclasses.dataclass
class Job:
  """One picture, its result's place and its status.

  Attributes:
    source: - for standard input.
    target: - for standard output.
    form: Pillow's name of the result's format; '' for the picture's own.
    size: of the result.
    height: of the picture, 0 if unknown.
    width: likewise.
    seconds: that the network took.
    status: 'waiting', 'done', 'skipped' or 'failed'.
    note: why it failed, or what was lost.
  """

  source: pathlib.Path
  target: pathlib.Path
  form: str
  size: Size
  height: int = 0
  width: int = 0
  seconds: float = 0.0
  status: str = 'waiting'
  note: str = ''

  def fail(self, why: str) -> None:
    """Notes why there is no result."""
    self.status, self.note = 'failed', why

  @property
  def mark(self) -> str:
    """What tells the picture's file from others, wherever it lies."""
    if self.source == STANDARD or not os.path.isfile(self.source):
      return ''
    return f'{os.path.getsize(self.source)} {self.source.name}'

  @property
  def origin(self) -> tuple[str, str]:
    """What made the result that is there, and the mark of its picture."""
    return _origin(self.target)

  @property
  def is_there(self) -> bool:
    # A device or a pipe is there to be written to, and - is no file.
    return self.target != STANDARD and os.path.isfile(self.target)

  @property
  def result_pixels(self) -> int:
    if not self.height:
      return 0
    return math.prod(self.size.of(self.height, self.width))

  @property
  def scale(self) -> float:
    """Pixels of the result per pixel of the picture, along its rows."""
    return self.size.of(self.height, self.width)[1] / self.width


@dataclasses.dataclass
class Plan:
  """The pictures of a command, and lines on inputs without any.

  Pictures without a place of their own have failed.
  """

  jobs: list[Job]
  passed_over: list[finding.PassedOver]
  faults: list[str]


def plan(
  inputs: Sequence[pathlib.Path],
  output: pathlib.Path | None,
  form: str | None,
  *,
  size: Size,
  tail: str = '',
  overwrite: bool = False,
) -> Plan:
  """Plans where each result goes; no picture takes another's place.

  Args:
    inputs: pictures, folders, or standard input.
    output: a file, a folder or standard output; None: beside the inputs.
    form: of `FORMATS`; None for each picture's own.
    size: of the results.
    tail: what names get in front of their ending. Beside its input, a folder's
      results lie in a folder whose name gets it.
    overwrite: whether results that are there are made again, not skipped.

  Raises:
    ValueError: naming an output that cannot be written to or holds no such
      pictures, or standard input without an output.
  """
  result = Plan([], [], [])
  if output is not None:
    _add(result, inputs, output, form, tail, size)
  else:
    _add_beside(result, inputs, form, tail, size)
  is_replaced = overwrite or output is not None
  _pass_over_results(result, is_replaced)
  sources = {_real(job.source) for job in result.jobs} - {''}
  result.passed_over = [
    item for item in result.passed_over if _real(item.path) not in sources
  ]
  taken: dict[pathlib.Path, pathlib.Path] = {}
  for job in result.jobs:
    target = _real(job.target)
    if target in sources and (is_replaced or target == _real(job.source)):
      job.fail(
        f'{job.source}: its result {job.target} would overwrite an input'
      )
    elif job.target in taken:
      first = taken[job.target]
      job.fail(f'{job.source}: {job.target} is the result of {first}')
    elif job.is_there and not overwrite:
      _skip(job)
    taken.setdefault(job.target, job.source)
  return result


def _origin(path: pathlib.Path) -> tuple[str, str]:
  """What made a file, and the mark of the picture that it was made from."""
  model, _, mark = files.origin(path).partition('\n')
  return model, mark


def _name_of(mark: str) -> str:
  return mark.partition(' ')[2]


def _real(path: files.Path) -> str:
  return '' if path == STANDARD else os.path.realpath(path)


def _pass_over_results(plan: Plan, is_replaced: bool) -> None:
  """Takes out pictures that another one has become, or would become.

  A mark names the picture, which lies beside the result or has its place as its
  target. Without a mark the place decides, but not where that would be written
  over, which is a fault, or has its own result, which is skipped.
  """
  makers = {
    target: job.source.name
    for job in plan.jobs
    if (target := _real(job.target)) != _real(job.source)
  }
  places = {(job.source.parent, job.source.name) for job in plan.jobs}
  jobs, plan.jobs = plan.jobs, []
  for job in jobs:
    name = _name_of(_origin(job.source)[1])
    maker = makers.get(_real(job.source))
    if name:
      is_beside = (job.source.parent, name) in places
      is_result = name == maker or (is_beside and name != job.source.name)
    else:
      is_result = bool(maker) and not (is_replaced or job.is_there)
    if is_result and job.source != STANDARD:
      path = str(job.source)
      plan.passed_over.append(finding.PassedOver(path, _RESULTS, False))
    else:
      plan.jobs.append(job)


def _skip(job: Job) -> None:
  """Leaves the result that is there, if it is not of another picture."""
  (_, theirs), own = job.origin, job.mark
  if theirs and own and theirs != own:
    job.fail(
      f'{job.source}: {job.target} is there, the result of another '
      f'{_name_of(theirs)} (--overwrite replaces it)'
    )
  else:
    job.status = 'skipped'


def _add_beside(
  plan: Plan,
  inputs: Sequence[pathlib.Path],
  form: str | None,
  tail: str,
  size: Size,
) -> None:
  """Adds pictures whose results lie in their own folder, or beside it."""
  together: dict[pathlib.Path, list[pathlib.Path]] = {}
  for path in inputs:
    if path == STANDARD:
      raise ValueError('standard input takes an output: -o FILE, or -o -')
    if os.path.isdir(path):
      folder = pathlib.Path(os.path.abspath(path))
      beside = folder.with_name(folder.name + tail)
      _add(plan, [path], beside, form, '', size)
    else:
      together.setdefault(path.parent, []).append(path)
  for folder, paths in together.items():
    _add(plan, paths, folder, form, tail, size)


def _add(
  plan: Plan,
  inputs: Sequence[pathlib.Path],
  output: pathlib.Path,
  form: str | None,
  tail: str,
  size: Size,
) -> None:
  """Adds pictures that go to one folder or file."""
  is_single = len(inputs) == 1 and not os.path.isdir(inputs[0])
  if output == STANDARD and not is_single:
    raise ValueError('standard output takes a single picture')
  is_file = output == STANDARD or _is_file(output, is_single, form)
  if output != STANDARD:
    _check_output(output.parent if is_file else output)
  relative = _find(plan, inputs, output)
  suffix = FORMATS[form] if form else None
  places = _places(relative, suffix)
  for (path, _), name in zip(relative, places, strict=True):
    name = name.with_name(f'{name.stem}{tail}{name.suffix}')
    target = output if is_file else output / name
    ending = suffix or ('' if output == STANDARD else target.suffix)
    pillow_form = writing.output_format(ending) if ending else ''
    plan.jobs.append(Job(path, target, pillow_form, size))


def _is_file(output: pathlib.Path, is_single: bool, form: str | None) -> bool:
  """Whether an output is a picture, and no folder of them."""
  suffix = output.suffix.lower()
  if os.path.isdir(output) or not _is_of_a_picture(suffix):
    return False
  if suffix not in writing.SUFFIXES:
    known = ', '.join(writing.SUFFIXES)
    raise ValueError(f'{output}: {suffix} is not written ({known} are)')
  if not is_single:
    raise ValueError(f'{output} is a single picture, not a folder for several')
  if form and writing.output_format(FORMATS[form]) != (
    writing.output_format(suffix)
  ):
    raise ValueError(f'{output}: its ending is not of --format {form}')
  return True


def _is_of_a_picture(suffix: str) -> bool:
  """Whether an ending is a picture's or a video's, and so no folder's."""
  name = f'picture{suffix}'
  kind = mimetypes.guess_type(name)[0] or ''
  return (
    opening.is_image(name)
    or opening.what_reads(name) is not None
    or kind.startswith(('image/', 'video/'))
  )


def _find(
  plan: Plan, inputs: Sequence[pathlib.Path], output: pathlib.Path
) -> list[tuple[pathlib.Path, pathlib.Path]]:
  """Finds the pictures, each with its path below the output."""
  pairs: dict[pathlib.Path, pathlib.Path] = {}
  for path in inputs:
    if path == STANDARD:
      pairs[path] = pathlib.Path('stdin.png')
    elif os.path.isdir(path):
      # Results of an earlier run, in a folder in the input's, are no input.
      real = os.path.realpath(output)
      is_inside = output != STANDARD and real != os.path.realpath(path)
      found = finding.find(path, leave=real if is_inside else None)
      plan.passed_over += found.passed_over
      if not found.files:
        plan.faults.append(f'{path} has no pictures')
      for file in map(pathlib.Path, found.files):
        pairs[file] = file.relative_to(path)
    else:
      pairs[path] = pathlib.Path(path.name)
  return list(pairs.items())


def _places(
  relative: Sequence[tuple[pathlib.Path, pathlib.Path]], suffix: str | None
) -> list[pathlib.Path]:
  """Names the results, with the suffix of their format.

  Where two have the same name, the old suffix stays: shot.gif.png.
  """

  def ending(name: pathlib.Path) -> str:
    if suffix:
      return suffix
    return name.suffix if name.suffix.lower() in writing.SUFFIXES else '.png'

  def without_ending(name: pathlib.Path) -> pathlib.Path:
    is_known = name.suffix and _is_of_a_picture(name.suffix.lower())
    return name.with_suffix('') if is_known else name

  plain = [
    name.with_name(without_ending(name).name + ending(name))
    for _, name in relative
  ]
  counts = collections.Counter(plain)
  return [
    name.with_name(name.name + place.suffix)
    if counts[place] > 1 and place != name
    else place
    for (_, name), place in zip(relative, plain, strict=True)
  ]


def _check_output(folder: pathlib.Path) -> None:
  """Refuses a folder that does not exist and cannot be made."""
  nearest = files.nearest_folder(folder)
  if not os.access(nearest, os.W_OK):
    raise ValueError(f'{nearest} cannot be written to')


def write_report(path: pathlib.Path, jobs: Sequence[Job]) -> None:
  """Writes a CSV file with a line a picture."""
  head = ['input', 'output', 'status', 'width', 'height', 'megapixels']
  rows = [
    [job.source, job.target, job.status, job.width, job.height]
    + [f'{job.result_pixels / 1e6:.3f}', f'{job.seconds:.3f}', job.note]
    for job in jobs
  ]
  table = tables.as_csv([[*head, 'seconds', 'note'], *rows])
  files.write_text(path, table)
