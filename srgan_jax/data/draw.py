"""Which picture, where, and how turned: every crop is a draw of (seed, step).

The paper takes 16 random 96x96 crops of distinct images (section 3.2). Both
loaders, on any number of processes, and after any restart, ask the function
`draw` here, so they train on the same crops. Its numbers come from the raw
output of Philox, a counter-based generator whose stream NumPy guarantees, and
not from NumPy's distributions, which may change between versions.

Coordinates are HR pixels. Pictures are uint8 [H, W, 3], first cropped (at the
bottom and the right) to a multiple of 4; crops lie on the LR grid.
"""

import functools
from typing import NamedTuple

import numpy as np

from srgan_jax import SCALE
from srgan_jax.imaging import resize


class Draw(NamedTuple):
  """The crops of one global batch; each field is int32 [batch_size].

  Attributes:
    image: index of the picture in its source.
    y: top of the crop, a multiple of 4.
    x: left of the crop, likewise.
    symmetry: 0..7; bit 0 flips vertically, bit 1 horizontally, and then bit 2
      transposes (`batch.apply_symmetry`).
  """

  image: np.ndarray
  y: np.ndarray
  x: np.ndarray
  symmetry: np.ndarray


def draw(
  seed: int,
  step: int,
  *,
  sizes: np.ndarray,
  batch_size: int,
  crop_size: int,
  augment: bool = True,
  crops_per_image: int = 1,
) -> Draw:
  """Draws the crops of one step; a pure function of its arguments.

  Each epoch is a permutation of the pictures, cut into batches; what is left
  at its end is dropped, so the pictures of a batch are distinct. Where there
  are fewer pictures than crops in a batch, permutations are chained, and no
  picture appears more than ceil(batch_size / pictures) times in a batch.

  Args:
    seed: the run's seed, an integer of up to 64 bits.
    step: 0, 1, …
    sizes: int [N, 2], height and width of each picture.
    batch_size: the global batch.
    crop_size: side of an HR crop, a multiple of 4.
    augment: False leaves every symmetry 0.
    crops_per_image: steps in a row that cut the same pictures, at other places.

  Raises:
    ValueError: a crop size that is no multiple of 4 or is larger than a
      picture drawn, a negative step, no pictures, or an empty batch.
  """
  if crop_size <= 0 or crop_size % SCALE:
    raise ValueError(f'crop_size {crop_size} is not a positive multiple of 4')
  if step < 0 or min(batch_size, len(sizes), crops_per_image) < 1:
    raise ValueError(
      f'cannot draw {batch_size} crops of {len(sizes)} pictures at step {step},'
      f' {crops_per_image} of each'
    )
  image = _images(seed, step // crops_per_image, len(sizes), batch_size)
  starts = (np.asarray(sizes)[image].astype(np.int64) - crop_size) // SCALE + 1
  if starts.min() < 1:
    bad = image[np.argmin(starts.min(axis=1))]
    raise ValueError(
      f'picture {bad} is {sizes[bad][0]}x{sizes[bad][1]}, smaller than'
      f' crop_size {crop_size}'
    )
  raw = _random(seed, 2 * step + 1, 3 * batch_size).reshape(3, batch_size)
  symmetry = raw[2] % np.uint64(8) if augment else np.zeros(batch_size)
  return Draw(
    image=image.astype(np.int32),
    y=(_below(raw[0], starts[:, 0]) * SCALE).astype(np.int32),
    x=(_below(raw[1], starts[:, 1]) * SCALE).astype(np.int32),
    symmetry=symmetry.astype(np.int32),
  )


def cut(
  image: np.ndarray,
  y: int,
  x: int,
  *,
  crop_size: int,
) -> np.ndarray:
  """Cuts one HR crop with the context that its own LR pixels read.

  The context repeats the edge pixel where the picture itself ends. Positions
  beyond the last one that fits start again at 0, because a picture that stands
  in for a broken one may be smaller than the one that was drawn.

  Args:
    image: uint8 [H, W, 3].
    y: top of the crop (without context), a multiple of 4.
    x: left of the crop, likewise.
    crop_size: side of the crop, a multiple of 4.

  Returns:
    uint8 [S, S, 3], S = crop_size + 16: 8 pixels of context on each side. A
    copy, never a view of `image`.

  Raises:
    ValueError: the picture is smaller than the crop.
  """
  slices: list[slice] = []
  pads: list[tuple[int, int]] = []
  for length, start in zip(image.shape[:2], (int(y), int(x)), strict=True):
    length = length // SCALE * SCALE
    if length < crop_size:
      raise ValueError(
        f'picture of {image.shape[0]}x{image.shape[1]} is smaller than'
        f' crop_size {crop_size}'
      )
    start %= length - crop_size + SCALE
    first = start - resize.CONTEXT
    last = start + crop_size + resize.CONTEXT
    slices.append(slice(max(first, 0), min(last, length)))
    pads.append((max(-first, 0), max(last - length, 0)))

  crop = image[slices[0], slices[1]]
  if pads == [(0, 0), (0, 0)]:
    return crop.copy()
  return np.pad(crop, [*pads, (0, 0)], mode='edge')


def _images(seed: int, step: int, count: int, batch_size: int) -> np.ndarray:
  """Indices of the batch's pictures, int [batch_size]."""
  if count >= batch_size:
    epoch, batch = divmod(step, count // batch_size)
    start = batch * batch_size
    return _permutation(seed, epoch, count)[start : start + batch_size]
  rounds = -(-batch_size // count)
  chain = [_permutation(seed, step * rounds + i, count) for i in range(rounds)]
  return np.concatenate(chain)[:batch_size]


@functools.lru_cache(maxsize=2)  # the loaders run ahead into the next epoch
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
  order = np.argsort(_random(seed, 2 * epoch, count), kind='stable')
  order = order.astype(np.int32)
  order.flags.writeable = False
  return order


def _random(seed: int, stream: int, count: int) -> np.ndarray:
  """uint64 [count], uniform; even streams are epochs, odd ones steps."""
  key = np.array([seed % 2**64, stream], np.uint64)
  return np.random.Philox(key=key).random_raw(count)


def _below(raw: np.ndarray, bound: np.ndarray) -> np.ndarray:
  """Uniform integers in [0, bound), int64, from the raw upper 32 bits."""
  return ((raw >> np.uint64(32)).astype(np.int64) * bound) >> 32
