"""The pictures of a run: those that it is trained on, those it is judged by."""

import functools
import hashlib
from typing import Any

from jax.sharding import Mesh

from srgan_jax.data import opening, resident, tfdata
from srgan_jax.data.loader import Loader
from srgan_jax.data.source import CachedSource, Source
from srgan_jax.evaluation import report
from srgan_jax.training import validation
from srgan_jax.training.config_files import ConfigDict


class Inputs:
  """What a config says of data, opened.

  Attributes:
    source: the pictures that crops are cut from.
    validation: the pictures that generators are scored on.
  """

  def __init__(self, config: ConfigDict, mesh: Mesh):
    """Opens the sources of a checked configuration; reads the validation set.

    Raises:
      ValueError: one line: a source that cannot be used, or a figure to keep
        the best generator by that is not measured.
    """
    self._config, self._mesh = config, mesh
    self.source, held_out = _open_sources(config)
    data = config.data
    distances = report.load_distances([data.lpips] if data.lpips else [])
    self.validation = validation.Validation(held_out, distances)
    if (best_by := config.keep_best_by) not in ('', *self.validation.names):
      raise ValueError(
        f'config.keep_best_by must be one of {", ".join(self.validation.names)}'
        f', not {best_by!r}'
      )

  @functools.cached_property
  def loader(self) -> Loader:
    """The loader of crops; resident pictures are decoded here."""
    config = self._config
    settings = {
      'seed': config.seed,
      'batch_size': config.batch_size,
      'crop_size': config.crop_size,
      'augment': config.data.augment,
      'crops_per_image': config.data.crops_per_image,
    }
    if config.data.loader == 'resident':
      return resident.ResidentLoader(
        self.source, self._mesh, placement=config.data.placement, **settings
      )
    cached = CachedSource(self.source, gib=config.data.cache_gib)
    return tfdata.TfDataLoader(cached, **settings)

  @property
  def fingerprint(self) -> dict[str, Any]:
    """What tells the pictures apart from others, wherever they lie."""
    return {
      'images': len(self.source),
      'image_sizes': hashlib.sha256(self.source.sizes.tobytes()).hexdigest(),
      'image_contents': hashlib.sha256(self.source.marks.tobytes()).hexdigest(),
    }


def _open_sources(config: ConfigDict) -> tuple[Source, Source | None]:
  """The training pictures, and those held out or named for validation."""
  data = config.data
  source = opening.open_source(
    data.source,
    min_size=config.crop_size,
    max_megapixels=data.max_megapixels,
  )
  kind, _, count = data.validation.partition(':')
  if kind == 'hold-out':
    return validation.hold_out(source, count)
  if not data.validation:
    return source, None
  return source, opening.open_source(
    data.validation,
    min_size=validation.MIN_SIZE,
    max_megapixels=data.max_megapixels,
  )
