"""Training pictures: as files, in tar files, and from memory."""

import io
import pathlib
import tarfile

import numpy as np
from PIL import Image

from srgan_jax.data import draw, loader
from srgan_jax.data.source import Entry, Source
from tests.support import image_files


def encode(pixels: np.ndarray, form: str = 'PNG') -> bytes:
  return image_files.encode(Image.fromarray(pixels), form)


def picture(seed: int, height: int = 40, width: int = 50) -> np.ndarray:
  return image_files.noise(height, width, seed)


def write_tar(path: pathlib.Path, files: dict[str, bytes], mode='w') -> None:
  with tarfile.open(path, mode) as archive:
    for name, data in files.items():
      member = tarfile.TarInfo(name)
      member.size = len(data)
      archive.addfile(member, io.BytesIO(data))


class Pictures(Source):
  """Pictures from memory; remembers which were read."""

  def __init__(self, count=20):
    self.pictures = []
    for i in range(count):
      rng = np.random.default_rng(i)
      shape = (int(rng.integers(32, 70)), int(rng.integers(32, 70)), 3)
      self.pictures.append(rng.integers(0, 256, shape, np.uint8))
    sizes = np.array([image.shape[:2] for image in self.pictures])
    entries = [Entry(f'{i}.png', io.BytesIO) for i in range(count)]
    super().__init__('memory:', entries, sizes, np.arange(count))
    self.reads = []

  def read_or_next(self, index):
    self.reads.append(index)
    return index, self.pictures[index]


def plain_batches(source, count, start_step=0, **settings):
  """What every loader must give, drawn and cut crop by crop."""
  crop_size = settings['crop_size']
  return [
    loader.host_batch(
      source,
      draw.draw(step=step, sizes=source.sizes, **settings),
      crop_size=crop_size,
    )
    for step in range(start_step, start_step + count)
  ]


def assert_same(some, others):
  for a, b in zip(some, others, strict=True):
    assert a.keys() == b.keys() == {'crop', 'symmetry'}
    for key in a:
      assert a[key].dtype == b[key].dtype
      np.testing.assert_array_equal(a[key], b[key])
