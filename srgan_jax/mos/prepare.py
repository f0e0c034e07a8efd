"""Makes a study: all versions of every image, from sets and methods.

Versions are uint8 RGB [4h, 4w, 3] of the size of their HR image, which is
cropped to a multiple of 4. The same arguments and seed make the same images
under other names. Files are not compressed, so that their size tells nothing of
how smooth an image is.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
import contextlib
import os
import pathlib
import secrets
import tempfile

import numpy as np
from PIL import Image

import srgan_jax
from srgan_jax import files
from srgan_jax.evaluation import benchmarks, methods, panels
from srgan_jax.evaluation.methods import BASELINES, Method
from srgan_jax.mos import study as study_lib
from srgan_jax.mos.study import BEST, IMAGES, ORIGINAL, WORST

# Examples are cut to this many pixels a side, to about the size of the paper's
# (BSD300 has 481x321).
_EXAMPLE_SIDE = 480


def open_sets(
  hr: Sequence[str], lr: Sequence[str] = ()
) -> dict[str, benchmarks.Benchmark]:
  """The sets of a command line by their names.

  Args:
    hr: folders of originals, DIR or NAME=DIR; by default a set is called as
      its folder, 'Set5' of data/Set5/HR.
    lr: a folder of LR images for each, in the same order; by default LRx4
      beside a folder HR is taken where there is one, else LR is made.

  Raises:
    ValueError: one line naming the folder, or sets of one name.
  """
  if lr and len(lr) != len(hr):
    raise ValueError(f'{len(hr)} folders of originals, {len(lr)} of LR images')
  sets: dict[str, benchmarks.Benchmark] = {}
  for i, text in enumerate(hr):
    name, equals, path = text.partition('=')
    if not equals or os.path.exists(text):
      name, path = benchmarks.set_name(text), text
    if not name or name in sets:
      raise ValueError(
        f'--hr {text}: the set needs a name of its own, NAME=DIR'
      )
    source = lr[i] if lr else benchmarks.beside(path)
    sets[name] = benchmarks.Benchmark(path, source)
  return sets


def prepare(
  sets: Mapping[str, benchmarks.Benchmark],
  models: Mapping[str, str],
  output: pathlib.Path,
  *,
  only: Mapping[str, Collection[str]] | None = None,
  calibration: Sequence[pathlib.Path] = (),
  examples: int = 20,
  repeats: int = 10,
  seed: int = 0,
  say: Callable[[str], None] = lambda line: None,
) -> study_lib.Study:
  """Writes a study; nearest, bicubic and the original are always in it.

  Args:
    sets: what is scored, by name.
    models: by name what `methods.open_method` takes, or a folder that has a
      folder of finished images for every set.
    output: the study's folder; made whole or not at all.
    only: by method the sets that it is shown on, where it is not all.
    calibration: image files for the examples; by default the package's photos.
    examples: how many of them at most are shown, each by nearest and as it is.
    repeats: of how many images, at most, all versions are shown twice.
    seed: decides examples and repeats.
    say: is told a line for every set and method.

  Raises:
    ValueError: naming the file, the method or the set, or where `output` holds
      something already.
  """
  if seed < 0 or examples < 0 or repeats < 0:
    raise ValueError('the seed, examples and repeats cannot be negative')
  only, photos = only or {}, calibration or _photos()
  _check_names(sets, models, only)
  secret, rng = secrets.token_hex(16), np.random.default_rng(seed)
  images = [(name, i) for name, pairs in sets.items() for i in pairs.names]
  chosen = sorted(rng.permutation(len(images))[:repeats])
  origins: dict[str, dict[str, None]] = {}  # each once: a folder per set
  versions: list[study_lib.Version] = []
  columns = list(_columns(sets, models, only))  # all that is unfit is said now
  with _made_whole(output) as folder:
    for set_name, pairs, method in columns:
      say(f'{set_name}: {method.name} ({method.origin})')
      origins.setdefault(method.name, {})[method.origin] = None
      for pair in pairs:
        what = (set_name, pair.name, method.name)
        file = _save(folder, method.upscale(pair), secret, *what)
        versions.append(study_lib.Version(*what, file))
    order = (*BASELINES, *models, ORIGINAL)
    study = study_lib.Study(
      seed=seed,
      secret=secret,
      methods={n: ', '.join(origins[n]) for n in order if n in origins},
      versions=tuple(versions),
      examples=tuple(_examples(folder, photos, examples, secret, rng)),
      repeated=tuple(images[i] for i in chosen),
      version=srgan_jax.__version__,
    )
    files.write_text(folder / study_lib.MANIFEST, study.as_json())
  return study


def _columns(
  sets: Mapping[str, benchmarks.Benchmark],
  models: Mapping[str, str],
  only: Mapping[str, Collection[str]],
) -> Iterator[tuple[str, benchmarks.Benchmark, Method]]:
  """Each set with each of its methods."""
  for set_name, pairs in sets.items():
    for baseline in BASELINES.values():
      yield set_name, pairs, baseline
    for name, model in models.items():
      if set_name in only.get(name, sets):
        model = methods.of_set(model, set_name)
        yield set_name, pairs, methods.open_method(model, pairs, name)
    yield (
      set_name,
      pairs,
      Method(ORIGINAL, lambda pair: pair.hr, 'the original'),
    )


def _examples(
  folder: pathlib.Path,
  photos: Sequence[pathlib.Path],
  count: int,
  secret: str,
  rng: np.random.Generator,
) -> Iterator[study_lib.Example]:
  """Each photo twice: by nearest, then as it is."""
  for index in rng.permutation(len(photos))[:count]:
    pair = benchmarks.Benchmark(photos[index])[0]
    left, top, width, height = panels.centre(pair, _EXAMPLE_SIDE)
    cut = pair.hr[top : top + height, left : left + width]
    pair = benchmarks.make_pair(pair.name, cut)
    for score, image in ((WORST, methods.nearest(pair)), (BEST, pair.hr)):
      # By its number as well: photos of several folders may share a name.
      what = ('', str(index), pair.name, str(score))
      file = _save(folder, image, secret, *what)
      yield study_lib.Example(pair.name, file, score)


def _photos() -> list[pathlib.Path]:
  """Photos that come with the package and are of no benchmark."""
  folders = (files.PHOTOS / name for name in ('train', 'validation'))
  return [file for f in folders for file in benchmarks.list_images(f)]


def _save(
  folder: pathlib.Path, image: np.ndarray, secret: str, *what: str
) -> str:
  """Writes an image; returns its name, which reveals nothing."""
  name = f'{study_lib.keyed(secret, *what).hex()[:32]}.png'
  path = folder / IMAGES / name
  Image.fromarray(image).save(path, format='PNG', compress_level=0)
  return name


def _check_names(
  sets: Collection[str],
  models: Collection[str],
  only: Mapping[str, Collection[str]],
) -> None:
  reserved = {*BASELINES, ORIGINAL.lower(), 'original'}
  for name in models:
    if name.lower() in reserved:
      raise ValueError(f'the method {name!r} is in every study already')
  for name, wanted in only.items():
    if name not in models:
      raise ValueError(f'--only {name}: there is no such method')
    for set_name in wanted:
      if set_name not in sets:
        raise ValueError(
          f'--only {name}={set_name}: the sets are {", ".join(sets)}'
        )


@contextlib.contextmanager
def _made_whole(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a temporary folder that becomes `folder` if all goes well.

  One that is there may be the working directory, a link's or a mount point,
  which cannot be replaced: it is filled, the manifest last.

  Raises:
    ValueError: where `folder` holds something already.
  """
  given, folder = folder, pathlib.Path(os.path.realpath(folder))
  files.require_folder(folder)
  is_there = files.nearest_folder(folder) == folder
  if is_there and any(folder.iterdir()):
    raise ValueError(f'{given} holds something already: give another folder')
  with (
    files.naming(given),
    tempfile.TemporaryDirectory(
      dir=folder if is_there else folder.parent,
      prefix='.study.',
      ignore_cleanup_errors=True,
    ) as staging,
  ):
    made = pathlib.Path(staging, 'study')
    (made / IMAGES).mkdir(parents=True)
    yield made
    if is_there:
      for name in (IMAGES, study_lib.MANIFEST):
        os.replace(made / name, folder / name)
    else:
      os.replace(made, folder)
