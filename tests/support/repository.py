"""The repository, and a run with the smallest networks."""

import os
import pathlib
import subprocess
import sys
from typing import Any

from srgan_jax.training import config_files

ROOT = pathlib.Path(__file__).resolve().parents[2]
PHOTOS = ROOT / 'srgan_jax' / 'assets'

# The quickstart's recipe with the smallest networks that have every layer.
_TINY = {
  'batch_size': 4,
  'crop_size': 32,
  'model.blocks': 1,
  'model.channels': 4,
  'model.discriminator_channels': 4,
  'stages.pretrain.warmup': 0,
  'data.validation': '',
}
TINY = (
  '--config=configs/quickstart.py',
  *(f'--config.{name}={value}' for name, value in _TINY.items()),
  '--config.log_every=1',
)


def config_of(*flags: str):
  """The config of a command line, for a run within the test's process."""
  name, *fields = flags
  config = config_files.load(ROOT / name.removeprefix('--config='))
  for field in fields:
    config_files.override(config, field)
  return config


def tiny_config(**overrides):
  config = config_files.load('quickstart')
  steps = {'stages.pretrain.steps': 2, 'stages.gan.steps': 2}
  config.update_from_flattened_dict(_TINY | steps | overrides)
  return config


def environment() -> dict[str, str]:
  """For commands that run elsewhere, with this repository's package."""
  return os.environ | {'PYTHONPATH': str(ROOT)}


def run_python(
  *arguments: str, **settings: Any
) -> 'subprocess.CompletedProcess[str]':
  """Runs Python, by default in the repository; its output is text."""
  defaults: dict[str, Any] = {'cwd': ROOT, 'env': environment()}
  return subprocess.run(
    [sys.executable, *arguments],
    capture_output=True,
    text=True,
    **defaults | settings,
  )
