"""What is evaluated: the baselines, a generator, or finished images.

A method makes from a pair's LR, uint8 [h, w, 3], an image of its HR's size,
uint8 [4h, 4w, 3].
"""

from collections.abc import Callable, Sequence
import dataclasses
import pathlib

import numpy as np

from srgan_jax import SCALE, pretrained, upscaling
from srgan_jax.evaluation import benchmarks
from srgan_jax.evaluation.benchmarks import Pair
from srgan_jax.imaging import resize


@dataclasses.dataclass(frozen=True)
class Method:
  """A way to make SR images, uint8 [4h, 4w, 3] of a pair.

  `name` is for headings and tables; `origin` is the checkpoint with its label
  and steps, or the folder.
  """

  name: str
  upscale: Callable[[Pair], np.ndarray]
  origin: str = ''


def nearest(pair: Pair) -> np.ndarray:
  """Every pixel repeated, which is MATLAB's nearest neighbour by 4."""
  return pair.lr.repeat(SCALE, axis=0).repeat(SCALE, axis=1)


def bicubic(pair: Pair) -> np.ndarray:
  """MATLAB's bicubic by 4."""
  return resize.imresize(pair.lr, SCALE)


BASELINES = {
  'nearest': Method('nearest', nearest, 'pixels repeated'),
  'bicubic': Method('bicubic', bicubic, 'imresize by 4'),
}


def open_method(
  model: str,
  benchmark: benchmarks.Benchmark,
  name: str = '',
  *,
  strength: float = 1.0,
  back_project: int = 0,
) -> Method:
  """A method from what a command line says.

  Args:
    model: 'nearest', 'bicubic', a shipped generator's name, a weights file, or
      a folder of finished images of the benchmark (./NAME, where a generator
      has its name).
    benchmark: what it will be evaluated on.
    name: for headings; by default made from `model`.
    strength: of a generator, see `upscaling.read_generator`.
    back_project: of a generator, see `upscaling.Upscaler`; what its file
      recommends does not count.

  Raises:
    ValueError: one line naming the file.
  """
  if model in BASELINES:
    return dataclasses.replace(BASELINES[model], name=name or model)
  if is_finished(model):
    return finished(pathlib.Path(model), benchmark, name)
  path = pretrained.find(model)
  generator, variables, metadata = upscaling.read_generator(model, strength)
  upscaler = upscaling.Upscaler(generator, variables, back_project=back_project)
  training = metadata['training']
  label = str(training.get('label') or path.stem)
  name = name or label
  facts = [str(path)]
  if label not in (name, path.stem):
    facts.append(label)
  if 'steps' in training:
    facts.append(f'{training["steps"]} steps')
  facts += [
    str(training[k])
    for k in ('author', 'licence')
    if training.get('author') and training.get(k)
  ]
  if strength < 1:
    facts.append(f'strength {strength:g}')
  if back_project:
    facts.append(f'back-projection {back_project}')
  return of_upscaler(name, upscaler, ', '.join(facts))


def is_finished(model: str) -> bool:
  """Whether that is a folder of finished images, and no name of a method."""
  return not _is_name(model) and pathlib.Path(model).is_dir()


def _is_name(model: str) -> bool:
  names = {*BASELINES, *pretrained.FILES}
  is_elsewhere = pretrained.is_published(model) or pretrained.is_on_hub(model)
  return model in names or is_elsewhere


def of_set(model: str, set_name: str) -> str:
  """The folder of a set in one of finished images, if any; else the model.

  A folder that has a method's name is ./NAME, as for `open_method`.
  """
  folder = pathlib.Path(model, set_name)
  return model if _is_name(model) or not folder.is_dir() else str(folder)


def of_upscaler(
  name: str, upscaler: upscaling.Upscaler, origin: str = ''
) -> Method:
  """A generator on the pairs' LR images."""
  return Method(name, lambda pair: upscaler(pair.lr), origin)


def finished(
  folder: pathlib.Path, benchmark: benchmarks.Benchmark, name: str = ''
) -> Method:
  """Images that were upscaled already, found by their names.

  They are of the original's size, before or after its crop to a multiple of 4.

  Raises:
    ValueError: naming a file that is missing, unmatched, or of another size.
  """
  versions = benchmark.match(folder, benchmark.files)
  files = [versions[path] for path in benchmark.files]
  by_name = dict(zip(benchmark.names, files, strict=True))
  for file, size in zip(files, benchmark.sizes, strict=True):
    cropped = tuple(length // SCALE * SCALE for length in size)
    if (found := benchmark.size(file)) not in (None, size, cropped):
      raise ValueError(
        f'{file} has {found[0]}x{found[1]} pixels, its original '
        f'{size[0]}x{size[1]}'
      )

  def read(pair: Pair) -> np.ndarray:
    height, width = pair.hr.shape[:2]
    return benchmark.read(by_name[pair.name])[:height, :width]

  return Method(name or folder.name, read, str(folder))


def parse(
  texts: Sequence[str], spell: Callable[[str], str] = str
) -> dict[str, str]:
  """NAME=MODEL of a command line, in order; names as `spell` writes them.

  Raises:
    ValueError: for a text of another form, or a name given twice.
  """
  result: dict[str, str] = {}
  for text in texts:
    name, _, model = text.partition('=')
    if not name or not model:
      raise ValueError(f'{text!r} is not NAME=MODEL')
    name = spell(name)
    if name in result:
      raise ValueError(f'the method {name!r} is given twice')
    result[name] = model
  return result
