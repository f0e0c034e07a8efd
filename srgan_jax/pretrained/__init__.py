"""Generators by name: those that ship, published ones, and those on the Hub."""

import os
import pathlib

import srgan_jax
from srgan_jax import cli, files
from srgan_jax.pretrained import published

_FOLDER = pathlib.Path(__file__).parent

# Every name that a generator ships under, and its file.
FILES = {
  'photo': 'photo',
  'photo-srgan': 'photo-srgan',
  'srresnet': 'srresnet-mse',
  'srresnet-mse': 'srresnet-mse',
  'srresnet-vgg22': 'srresnet-vgg22',
  'srgan-mse': 'srgan-mse',
  'srgan-vgg22': 'srgan-vgg22',
  'srgan': 'srgan-vgg54',
  'srgan-vgg54': 'srgan-vgg54',
}

# What is taken where no model is named.
DEFAULT = 'photo'

# The SRResNet that a shipped SRGAN was trained on from, where it is another.
_SRRESNETS = {'photo-srgan': 'photo'}

# What a run leaves of its first stage (`training.outputs`).
_PRETRAINED = 'generator_pretrain.safetensors'

HUB = 'hf:'  # in front of a repository on the Hugging Face Hub
HUB_FILE = 'generator.safetensors'  # in such a repository


def find(model: str | os.PathLike[str]) -> pathlib.Path:
  """The weights file of a name; any other is a path already.

  A file of such a name in the working directory is meant, but not a folder.
  'hf:USER/REPO', or 'hf:USER/REPO@REVISION', is fetched from the Hugging Face
  Hub, or read from its cache on this machine.

  Raises:
    ValueError: one line, for a published generator that is not fetched yet,
      for what is neither a name nor a file, and where the Hub has no such file.
  """
  path = pathlib.Path(model)
  if is_on_hub(model):
    path = _fetch_from_hub(str(model))
  elif is_published(model):
    path = cached(str(model))
    if not path.is_file():
      raise ValueError(
        f'{model} is not fetched yet: '
        f'python -m srgan_jax.convert.published {model}'
      )
  elif str(model) in FILES and not path.is_file():
    path = _shipped(str(model))
  elif not path.exists():
    names = [*FILES, *published.MODELS]
    near = cli.did_you_mean(str(model), names)
    raise ValueError(
      f'{model}: no such file or model{near}: '
      f'models are {", ".join(names)} (srgan-upscale --list-models)'
    )
  return path


def is_published(model: str | os.PathLike[str]) -> bool:
  """Whether that is the name of a published generator, and no file."""
  return str(model) in published.MODELS and not pathlib.Path(model).is_file()


def is_on_hub(model: str | os.PathLike[str]) -> bool:
  """Whether that names a repository on the Hugging Face Hub."""
  return str(model).startswith(HUB)


def find_srresnet(model: str | os.PathLike[str]) -> pathlib.Path:
  """The weights file of the SRResNet that a generator was trained on from.

  For a file that is the run's own first stage, where that lies beside it, else
  the one known of this file, by whatever name it is asked for, or the shipped
  one.

  Raises:
    ValueError: as `find`.
  """
  path = find(model)
  of_run = path.with_name(_PRETRAINED)
  if of_run.is_file():
    return of_run
  known = {_shipped(name): own for name, own in _SRRESNETS.items()}
  known |= {
    cached(name): own.srresnet for name, own in published.MODELS.items()
  }
  same = [
    own for file, own in known.items() if file.resolve() == path.resolve()
  ]
  return find(same[0] if same else 'srresnet')


def cached(name: str) -> pathlib.Path:
  """Where a published generator lies once it is fetched."""
  return files.cache_folder('generators') / f'{name}.safetensors'


def _shipped(name: str) -> pathlib.Path:
  return _FOLDER / f'{FILES[name]}.safetensors'


def _fetch_from_hub(model: str) -> pathlib.Path:
  try:
    import huggingface_hub
  except ImportError:
    install = cli.install('hub')
    raise ValueError(f'{model} takes one more package: {install}') from None
  repository, _, revision = model.removeprefix(HUB).partition('@')
  try:
    return pathlib.Path(
      huggingface_hub.hf_hub_download(
        repository,
        HUB_FILE,
        revision=revision or None,
        library_name='srgan_jax',
        library_version=srgan_jax.__version__,
      )
    )
  except (OSError, ValueError) as error:
    raise ValueError(f'{model}: {cli.one_line(error)}') from error
