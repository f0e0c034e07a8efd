"""What the shipped generators are: read from the headers of their files."""

from collections.abc import Iterator, Mapping
import dataclasses
import json
import pathlib
import struct
from typing import Any

from srgan_jax import pretrained
from srgan_jax.pretrained import published

# What each is for, by the name of its file.
_PURPOSES = {
  'photo': 'for pictures as they are: noisy, blurred or compressed',
  'photo-srgan': 'for the same, with texture, part of which is invented',
  'srresnet-mse': 'for clean pictures: nearest to the original in PSNR',
  'srresnet-vgg22': "a column of table 1; for pictures take 'srresnet'",
  'srgan-mse': 'a column of table 1; for pictures take another SRGAN',
  'srgan-vgg22': 'sharper edges, a little texture',
  'srgan-vgg54': 'for clean pictures: fur, grass, stone and bark get texture',
}


@dataclasses.dataclass(frozen=True)
class Model:
  """A generator that can be asked for by name.

  Attributes:
    name: for `load` and `--model`.
    aliases: other names of it.
    purpose: what it is for, in a few words.
    path: its weights file.
    size: of the file, in bytes.
    licence: of the weights.
    label: the name that its training gave it.
    figures: by data set, then by name: {'Set5': {'psnr_paper': dB, ...}, ...}.
  """

  name: str
  aliases: tuple[str, ...]
  purpose: str
  path: pathlib.Path
  size: int
  licence: str
  label: str
  figures: Mapping[str, Mapping[str, float]]


def list_models() -> list[Model]:
  """The generators that ship with the package.

  Nothing is loaded: what is said of each comes from its file's header.
  """
  names: dict[str, list[str]] = {}
  for name, file in pretrained.FILES.items():
    names.setdefault(file, []).append(name)
  models = []
  for file, known in names.items():
    path = pretrained.find(known[0])
    training = _read_training(path)
    models.append(
      Model(
        name=known[0],
        aliases=tuple(known[1:]),
        purpose=_PURPOSES[file],
        path=path,
        size=path.stat().st_size,
        licence=training['licence'],
        label=training['label'],
        figures=training.get('figures', {}),
      )
    )
  return models


def describe() -> str:
  """All generators that have a name, as lines for a terminal."""
  lines = []
  for model in list_models():
    known = ', '.join((model.name, *model.aliases))
    default = ' (the default)' if model.name == pretrained.DEFAULT else ''
    lines.append(f'{known}{default}: {model.purpose}')
    lines.append(f'  {model.size / 1e6:.1f} MB, {model.licence}')
    lines += _describe_figures(model.figures)
  for name, theirs in published.MODELS.items():
    lines.append(f'{name}: of {theirs.author}, downloaded when asked for')
    lines.append(f'  {theirs.licence}')
    lines += _describe_figures(theirs.figures)
  return '\n'.join(lines)


def _describe_figures(
  figures: Mapping[str, Mapping[str, float]],
) -> Iterator[str]:
  for name, values in sorted(figures.items()):
    shown = [_SHOWN[key].format(values[key]) for key in _SHOWN if key in values]
    yield f'  {name}: {", ".join(shown)}'


_SHOWN = {
  'psnr_paper': 'PSNR {:.2f} dB',
  'ssim_paper': 'SSIM {:.4f}',
  'lpips_alex': 'LPIPS {:.3f}',
}


def _read_training(path: pathlib.Path) -> dict[str, Any]:
  with open(path, 'rb') as file:
    (length,) = struct.unpack('<Q', file.read(8))
    header = json.loads(file.read(length))
  training: dict[str, Any] = json.loads(header['__metadata__']['training'])
  return training
