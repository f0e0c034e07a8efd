"""Places tiles of one shape in pictures, and chooses the shape.

Every tile lies inside the picture, shifted inward at the edges. So the
network's zero padding acts at the picture's own edges and, with the halo cut
off, nowhere else. A side shorter than a tile has one tile, in the top left of
a buffer.

Lengths are in LR pixels.
"""

import collections
import dataclasses
import functools
import itertools
import math

import jax

from srgan_jax import runtime

_SMALLEST = 8  # sides are multiples of it


@dataclasses.dataclass(frozen=True)
class Grid:
  """The lengths that sides are rounded up to.

  Attributes:
    unit: all are multiples of it.
    steps: and at most this many lie between two powers of two.
  """

  unit: int
  steps: int

  def round_up(self, length: int) -> int:
    """The next length."""
    below = 2 ** ((length - 1).bit_length() - 1) if length > 1 else 1
    unit = max(self.unit, below // self.steps)
    return math.ceil(length / unit) * unit


# A size's own shapes: at most an eighth of a side is computed in vain. Pictures
# of all sizes share coarser ones, on a CPU where a program is compiled in the
# time of some thousand pixels, elsewhere in that of many millions (for a TPU it
# took libtpu 0.0.42 two to three minutes on two busy cores).
_FITTED = Grid(_SMALLEST, 8)
_CPU_GRID, _CPU_PROGRAM = Grid(32, 8), 2**13
_DEVICE_GRID, _DEVICE_PROGRAM = Grid(_SMALLEST, 1), 2**26

# Auto: what a tile may take of the free memory, and the most that is any use.
_SHARE = 0.5
_CPU_SHARE = 0.25
_CPU_PIXELS = 720**2  # halos are 20 % of it
_DEVICE_SIDE = 1024
_UNKNOWN_MEMORY = 2 * 2**30

# A strip's largest map, 16 times the channels for an LR pixel, takes 128 MiB at
# 64 channels; of few rows too many would be its halo of 3 to each side.
_STRIP_PIXELS = 2**15
_STRIP_ROWS = 32

# Tiles are batched up to this many pixels a call; more is no faster.
_CPU_BATCH = 96**2
_DEVICE_BATCH = 1024**2


@dataclasses.dataclass(frozen=True)
class Span:
  """One tile along one axis, from `start` on.

  It gives the result of the pixels from `first` to `last`, exclusive.
  """

  start: int
  first: int
  last: int


def spans(length: int, side: int, halo: int) -> list[Span]:
  """The tiles along one axis, evenly spread.

  Args:
    length: of the picture.
    side: of a tile.
    halo: how far from an edge that is not the picture's a result is right.

  Raises:
    ValueError: for several tiles without anything between their halos.
  """
  if length <= side:
    return [Span(0, 0, length)]
  check_side(side, halo)
  gaps = math.ceil((length - side) / (side - 2 * halo))
  starts = [i * (length - side) // gaps for i in range(gaps + 1)]
  # Each result is taken from the tile that has it further inside.
  cuts = [(a + side + b) // 2 for a, b in itertools.pairwise(starts)]
  return [
    Span(*span)
    for span in zip(starts, [0, *cuts], [*cuts, length], strict=True)
  ]


def check_side(side: int, halo: int) -> None:
  """Raises a ValueError if a tile has nothing between its halos."""
  if side <= 2 * halo:
    raise ValueError(
      f'a tile of {side} pixels is too small: this network sees {halo} to each '
      f'side, so a tile must be larger than {2 * halo}'
    )


@dataclasses.dataclass(frozen=True)
class Limit:
  """How large a tile may be: a fixed side, or an area.

  Attributes:
    side: of every tile, unless the picture is shorter.
    pixels: of a tile without a fixed side; its shape does least work.
    grid: of the tiles' sides.
    batch: the most pixels of all tiles of one call.
    program: what compiling a program costs, in computed pixels; infinite for a
      fixed side.
  """

  side: int | None
  pixels: int
  grid: Grid
  batch: int
  program: float

  def of_side(self, side: int) -> 'Limit':
    """The limit for tiles of a fixed side."""
    return dataclasses.replace(self, side=side, program=math.inf)

  def halved(self, shape: tuple[int, int]) -> 'Limit':
    """The limit for half the area of a tile that was too large."""
    half = math.prod(shape) // 2
    side = max(_SMALLEST, math.isqrt(half) // _SMALLEST * _SMALLEST)
    return dataclasses.replace(
      self,
      side=self.side and side,
      pixels=half,
      batch=min(self.batch, half),
    )


class Shapes:
  """Chooses the shapes of many pictures' tiles, so that programs are few.

  At first all sizes share common shapes. Once the pixels that a size computes
  in vain cost more than a program, it gets the shape that does least work:
  many sizes do not take a program each, and a video's frames fit.
  """

  def __init__(self, limit: Limit, halo: int):
    """Starts with no picture seen; `halo` as for `spans`."""
    self.limit = limit
    self._halo = halo
    self._in_vain: collections.Counter[tuple[int, int]] = collections.Counter()

  def choose(self, count: int, height: int, width: int) -> tuple[int, int]:
    """The tiles' height and width for `count` pictures of a size."""
    common = shape(height, width, self._halo, self.limit)
    own = dataclasses.replace(self.limit, side=None, grid=_FITTED)
    fitted = shape(height, width, self._halo, own)
    work = functools.partial(computed, height, width, self._halo)
    in_vain = count * (work(common) - work(fitted))
    if self._in_vain[height, width] + in_vain > self.limit.program:
      return fitted
    self._in_vain[height, width] += in_vain
    return common

  def shrink(self, shape: tuple[int, int]) -> bool:
    """Halves a shape that was too large, if the half is worth computing."""
    smaller = self.limit.halved(shape)
    if smaller.pixels < smallest(self._halo) ** 2 or smaller == self.limit:
      return False
    self.limit = smaller
    return True


@functools.lru_cache(maxsize=256)
def shape(height: int, width: int, halo: int, limit: Limit) -> tuple[int, int]:
  """The tiles' height and width for a picture by a limit."""
  grid = limit.grid
  if limit.side is not None:
    lengths = (height, width)
    rounded = [min(grid.round_up(n), limit.side) for n in lengths]
    return rounded[0], rounded[1]
  rows, columns = (_sides(length, halo, grid) for length in (height, width))
  area = max(limit.pixels, min(rows) * min(columns))
  work = (
    (rows[h] * columns[w] * h * w, h, w)
    for h in rows
    for w in columns
    if h * w <= area
  )
  return min(work)[1:]


def computed(height: int, width: int, halo: int, shape: tuple[int, int]) -> int:
  """The pixels of all tiles of a picture."""
  rows, columns = (
    len(spans(length, side, halo))
    for length, side in zip((height, width), shape, strict=True)
  )
  return rows * columns * math.prod(shape)


def smallest(halo: int) -> int:
  """The smallest side of a tile that is worth computing."""
  return math.ceil((2 * halo + 1) / _SMALLEST) * _SMALLEST


def _sides(length: int, halo: int, grid: Grid) -> dict[int, int]:
  """The sides to try along one axis, with the number of tiles of each."""
  most = math.ceil((length - 2 * halo) / max(halo, _SMALLEST))
  sides: dict[int, int] = {}
  for count in range(1, max(1, most) + 1):
    side = math.ceil((length + (count - 1) * 2 * halo) / count)
    sides.setdefault(grid.round_up(side), count)
  return sides


def batch_size(
  shape: tuple[int, int], tiles: int, images: int, limit: Limit
) -> int:
  """How many tiles go into one call.

  With fewer tiles than a call takes it depends on the number of images alone,
  so that the sizes of a run's pictures do not change the program.
  """
  fits = _power_of_two(max(1, limit.batch // math.prod(shape)))
  return fits if tiles >= fits else _power_of_two(min(images, fits))


def _power_of_two(number: int) -> int:
  """The largest power of two within a number."""
  return 2 ** (number.bit_length() - 1)


def automatic(device: jax.Device, channels: int, halo: int) -> Limit:
  """Tiles for the memory that a device has free.

  Args:
    device: what computes.
    channels: the network's feature maps.
    halo: as for `spans`; a tile has something between its halos, however
      little is free.
  """
  if device.platform == 'cpu':
    # Seven feature maps of float32; the tail runs in strips.
    per_pixel = 7 * 4 * channels
    free = runtime.free_memory()
    free = _UNKNOWN_MEMORY if free is None else free
    fit = int(_CPU_SHARE * free / per_pixel)
    pixels = max(_SMALLEST**2, min(fit, _CPU_PIXELS))
    return Limit(None, pixels, _CPU_GRID, _CPU_BATCH, _CPU_PROGRAM)
  stats = device.memory_stats() or {}
  free = stats.get('bytes_limit', _UNKNOWN_MEMORY)
  free -= stats.get('bytes_in_use', 0)
  # Two maps of 4 times the channels on the x2 grid, and the residual blocks'.
  per_pixel = 4 * channels * (2 * 16 + 8)
  fit = math.isqrt(max(1, int(_SHARE * free / per_pixel)))
  side = min(_DEVICE_SIDE, max(smallest(halo), fit // 64 * 64))
  batch = min(_DEVICE_BATCH, side**2)
  return Limit(side, side**2, _DEVICE_GRID, batch, _DEVICE_PROGRAM)


def strips(shape: tuple[int, int], count: int, device: jax.Device) -> int:
  """Into how many strips of rows a program's tail is cut."""
  if device.platform != 'cpu':
    return 1
  height, width = shape
  rows = max(_STRIP_ROWS, _STRIP_PIXELS // (width * count))
  return 1 if height < 2 * rows else math.ceil(height / rows)
