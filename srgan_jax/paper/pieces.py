"""A discriminator's file in pieces below 16 MB, to travel, and whole again."""

import pathlib

from srgan_jax import files

_PART = 15 * 2**20  # bytes of a piece of a discriminator


def split(path: pathlib.Path, folder: pathlib.Path, label: str) -> None:
  """Writes a file in pieces: LABEL-discriminator.1-of-4.part, ..."""
  data = path.read_bytes()
  pieces = [data[i : i + _PART] for i in range(0, len(data), _PART)]
  for old in folder.glob(f'{label}-discriminator.*.part'):
    old.unlink()
  for number, piece in enumerate(pieces, 1):
    name = f'{label}-discriminator.{number}-of-{len(pieces)}.part'
    files.write_bytes(folder / name, piece)


def join(folder: pathlib.Path, label: str, path: pathlib.Path) -> None:
  """Puts the pieces of `split` together.

  Raises:
    ValueError: where one is missing.
  """
  found = {}
  for part in folder.glob(f'{label}-discriminator.*.part'):
    number, _, of = part.name.split('.')[-2].partition('-of-')
    found[int(number)] = (int(of), part)
  count = max((count for count, _ in found.values()), default=0)
  if not count or sorted(found) != list(range(1, count + 1)):
    raise ValueError(f'{folder} lacks a piece of {label}-discriminator')
  with files.replacing(path) as beside, open(beside, 'wb') as file:
    for key in sorted(found):
      file.write(found[key][1].read_bytes())
