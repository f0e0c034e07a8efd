"""The generators that ship with the package, by the names of table 1."""

import os
import pathlib

_FOLDER = pathlib.Path(__file__).parent

# Every name that a generator ships under, and its file.
FILES = {
  'srresnet': 'srresnet-mse',
  'srresnet-mse': 'srresnet-mse',
  'srresnet-vgg22': 'srresnet-vgg22',
  'srgan-mse': 'srgan-mse',
  'srgan-vgg22': 'srgan-vgg22',
  'srgan': 'srgan-vgg54',
  'srgan-vgg54': 'srgan-vgg54',
}

# What is taken where no model is named.
DEFAULT = 'srresnet'


def find(model: str | os.PathLike[str]) -> pathlib.Path:
  """The weights file of a shipped name; any other is a path already.

  A file of such a name in the working directory is meant, but not a folder.
  """
  path = pathlib.Path(model)
  if str(model) not in FILES or path.is_file():
    return path
  return _FOLDER / f'{FILES[str(model)]}.safetensors'
