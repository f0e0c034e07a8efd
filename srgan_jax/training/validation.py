"""How a run's generators do on images that it does not train on."""

from collections.abc import Mapping, Sequence
import hashlib
import math

import numpy as np

from srgan_jax.data.source import Source
from srgan_jax.evaluation import methods, panels, report
from srgan_jax.evaluation.benchmarks import make_pair
from srgan_jax.upscaling.upscaler import Upscaler

MIN_SIZE = 48  # of an image, in pixels: the protocols' windows have to fit

_PROTOCOLS = ('y', 'paper')
_SAMPLES = 3  # images that are shown
_SAMPLE_SIDE = 384  # at most, of what is shown of each, in pixels


def hold_out(source: Source, count: str) -> tuple[Source, Source]:
  """Takes some pictures, evenly spaced, out of a source.

  `count` is as it stands behind 'hold-out:' in the config. Returns the source
  without them, and they.

  Raises:
    ValueError: for a count that is no number, or takes none or too many.
  """
  large = np.flatnonzero(source.sizes.min(axis=1) >= MIN_SIZE)
  most = min(len(large), len(source) - 1)
  if not count.isdecimal() or not 1 <= int(count) <= most:
    raise ValueError(
      f"config.data.validation 'hold-out:{count}': of the {len(source)} "
      f'pictures of {source.spec} at most {most} can be held out, none smaller '
      f'than {MIN_SIZE}x{MIN_SIZE}, and at least 1 must be'
    )
  held = large[np.arange(int(count)) * len(large) // int(count)]
  rest = np.setdiff1d(np.arange(len(source)), held)
  return source.part(rest.tolist()), source.part(held.tolist())


def is_better(name: str, figure: float, than: float | None) -> bool:
  """Whether a figure beats the one before, if any. Most are distances."""
  if than is None or math.isnan(than):
    return True
  return figure > than if name.startswith(('psnr', 'ssim')) else figure < than


class Validation:
  """Images with their LR, and what is measured on them; false without any."""

  def __init__(
    self, source: Source | None, distances: Sequence[report.Distance]
  ):
    """Reads the HR images of a source, if any, and makes their LR.

    `distances` are learned metrics, measured as well as PSNR and SSIM.

    Raises:
      ValueError: naming an image that a distance cannot be measured on.
    """
    self._pairs = []
    if source is not None:
      self._pairs = [
        make_pair(name, source.read(i)) for i, name in enumerate(source.names)
      ]
    # Those that cannot be measured are said now.
    originals = methods.Method('originals', lambda pair: pair.hr)
    report.evaluate(originals, self._pairs, (), distances)
    self._distances = distances

  def __bool__(self) -> bool:
    return bool(self._pairs)

  @property
  def fingerprint(self) -> str:
    """What tells the images apart from others; '' without any."""
    digest = hashlib.sha256()
    for pair in self._pairs:
      digest.update(f'{pair.hr.shape}'.encode() + pair.hr.tobytes())
    return digest.hexdigest() if self._pairs else ''

  @property
  def names(self) -> list[str]:
    """What `score` measures: 'psnr_y', ..., 'lpips_alex'."""
    names = [f'{m}_{p}' for p in _PROTOCOLS for m in ('psnr', 'ssim')]
    return names + [distance.name for distance in self._distances]

  def score(
    self, name: str, upscaler: Upscaler
  ) -> tuple[dict[str, float], np.ndarray]:
    """Means over the images by their names, and a picture of some of them.

    A distance that one image has not, as SR may be flat, is NaN: a mean over
    the others would be better without it.
    """
    upscaled = {pair.name: upscaler(pair.lr) for pair in self._pairs}
    method = methods.Method(name, lambda pair: upscaled[pair.name])
    scores = report.evaluate(
      method, self._pairs, _PROTOCOLS, self._distances, unmeasured=[]
    )
    means = {
      figure: float(
        np.mean([image[figure] for image in scores.images.values()])
      )
      for figure in scores.mean
    }
    return report.flat(means), self._show([method])

  def compare(self, upscalers: Mapping[str, Upscaler]) -> np.ndarray:
    """Draws generators side by side, uint8 [H, W, 3]."""
    return self._show(
      [methods.of_upscaler(name, each) for name, each in upscalers.items()]
    )

  def _show(self, shown: Sequence[methods.Method]) -> np.ndarray:
    """The methods next to bicubic and the original."""
    image = panels.compare(
      [
        (pair, panels.centre(pair, _SAMPLE_SIDE))
        for pair in self._pairs[:_SAMPLES]
      ],
      [methods.BASELINES['bicubic'], *shown],
    )
    return np.asarray(image)
