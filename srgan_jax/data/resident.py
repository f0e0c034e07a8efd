"""The resident loader: the pictures lie on the device, and crops are cut there.

All pictures are decoded once, into one uint8 array. What the host then ships a
step is the draw alone, 16 bytes a crop; the crops are cut inside the compiled
step, byte for byte those of `tfdata`. Needs no TensorFlow.

The array has rows of 1024 RGB pixels, as one index over all bytes would not fit
32 bits. A picture begins at a row of its own and runs on over the row's end, so
that at most a row a picture is lost. Where the pictures do not fit into one
device's memory, whole pictures are dealt out to the devices; each cuts what
lies with it, and a sum over the devices puts the batch together.
"""

from collections.abc import Callable, Iterator
from concurrent import futures
import dataclasses
import functools
import itertools
import logging
import os
from typing import Any, Literal, NamedTuple, cast

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
import numpy as np

from srgan_jax import SCALE, runtime, sharding
from srgan_jax.data import draw as draw_lib
from srgan_jax.data.source import Source
from srgan_jax.imaging import resize

Placement = Literal['auto', 'replicated', 'sharded']

logger = logging.getLogger('srgan_jax')

_PIXELS = 1024  # in a row
_ROW = 3 * _PIXELS
# Of a device's memory, all pictures and at most as many as are dealt to it; the
# rest is for the step.
_LARGEST_WHOLE = 0.5
_LARGEST_PART = 0.8


class Pictures(NamedTuple):
  """The pictures on the devices.

  Attributes:
    rows: uint8 [N, 3072], whole on every device or split over them.
    device: int32 [M], the device that holds a picture (0 where all do).
    first: int32 [M], the picture's first row there.
    sizes: int32 [M, 2], height and width, multiples of 4.
  """

  rows: jax.Array
  device: jax.Array
  first: jax.Array
  sizes: jax.Array


@dataclasses.dataclass(frozen=True)
class Cutter:
  """Cuts batches inside a program; equal ones serve in the same program.

  Attributes:
    crop_size: side of an HR crop in pixels.
    mesh: the devices.
    is_sharded: whether the pictures are split over them.
  """

  crop_size: int
  mesh: Mesh
  is_sharded: bool

  def __call__(
    self, pictures: Pictures, drawn: draw_lib.Draw
  ) -> dict[str, jax.Array]:
    """Cuts a batch of all processes, as `ResidentLoader.batches` gives it.

    Returns:
      'crop' and 'symmetry', as `loader.host_batch` gives them.
    """
    cut_here = functools.partial(cut, crop_size=self.crop_size)
    if self.is_sharded:
      everywhere, along = PartitionSpec(), PartitionSpec(sharding.AXIS)
      split: list[Any] = [along, everywhere, everywhere, everywhere]
      cut_here = jax.shard_map(
        functools.partial(_cut_and_share, cut_here),
        mesh=self.mesh,
        in_specs=(Pictures(*split), everywhere),
        out_specs=along,
      )
    return {
      'crop': cut_here(pictures, drawn),
      'symmetry': jnp.asarray(drawn.symmetry),
    }


class ResidentLoader:
  """The pictures of a source on a mesh's devices, and crops of them.

  Attributes:
    pictures: what `crops` cuts from.
    crops: the `Cutter`.
  """

  def __init__(
    self,
    source: Source,
    mesh: Mesh,
    *,
    seed: int,
    batch_size: int,
    crop_size: int,
    augment: bool = True,
    crops_per_image: int = 1,
    placement: Placement = 'auto',
  ):
    """Decodes the pictures and puts them on the devices.

    Args as for `draw` and `cut`, and:
      placement: 'replicated' on every device, 'sharded' over them, or 'auto',
        the former where half of a device's memory holds them all.

    Raises:
      ValueError: for pictures that do not fit, before any is decoded, and what
        `draw` and the source raise.
    """
    self._batch_size = batch_size
    self._draw = functools.partial(
      draw_lib.draw,
      seed,
      sizes=source.sizes,
      batch_size=batch_size,
      crop_size=crop_size,
      augment=augment,
      crops_per_image=crops_per_image,
    )
    self._draw(0)  # what is wrong with the arguments is said now
    is_sharded = _is_sharded(placement, source.sizes, mesh)
    self.crops = Cutter(crop_size, mesh, is_sharded)
    self.pictures, self._sizes = _load(source, mesh, is_sharded)
    logger.info(
      '%d pictures, %.0f MiB on %s',
      len(source),
      self.pictures.rows.nbytes / 2**20,
      f'{mesh.size} devices together' if is_sharded else 'each device',
    )

  def batches(self, start_step: int = 0) -> Iterator[draw_lib.Draw]:
    """This process's rows of the draws from `start_step` on, without end."""
    share = self._batch_size // jax.process_count()
    mine = slice(jax.process_index() * share, (jax.process_index() + 1) * share)
    for step in itertools.count(start_step):
      drawn = self._draw(step)
      # A picture that stands in for a broken one may be smaller; as `draw.cut`.
      room = self._sizes[drawn.image] - self.crops.crop_size + SCALE
      drawn = drawn._replace(y=drawn.y % room[:, 0], x=drawn.x % room[:, 1])
      yield draw_lib.Draw(*(field[mine] for field in drawn))


def abstract_pictures(sizes: np.ndarray) -> Pictures:
  """The shapes of pictures of these sizes, int32 [M, 2], on one device."""
  count, rows = len(sizes), int(_rows_needed(sizes).sum())
  table = jax.ShapeDtypeStruct((count,), np.int32)
  return Pictures(
    rows=cast(jax.Array, jax.ShapeDtypeStruct((rows, _ROW), np.uint8)),
    device=cast(jax.Array, table),
    first=cast(jax.Array, table),
    sizes=cast(jax.Array, jax.ShapeDtypeStruct((count, 2), np.int32)),
  )


def _is_sharded(placement: Placement, sizes: np.ndarray, mesh: Mesh) -> bool:
  if placement != 'auto':
    return placement == 'sharded'
  whole = _rows_needed(sizes).sum() * _ROW
  return bool(whole > _LARGEST_WHOLE * _device_memory(mesh))


def _cut_and_share(
  cut: Callable[[Pictures, draw_lib.Draw], jax.Array],
  local: Pictures,
  drawn: draw_lib.Draw,
) -> jax.Array:
  """A device's rows of the batch, whose pictures lie anywhere."""
  is_here = local.device[drawn.image] == jax.lax.axis_index(sharding.AXIS)
  crops = cut(local, drawn) * is_here[:, None, None, None]
  return cast(jax.Array, jax.lax.psum_scatter(crops, sharding.AXIS, tiled=True))


def cut(
  pictures: Pictures, drawn: draw_lib.Draw, *, crop_size: int
) -> jax.Array:
  """`draw.cut` of a batch from pictures that all lie here.

  Returns:
    uint8 [N, S, S, 3], S = crop_size + 16: with the context.
  """
  offsets = jnp.arange(-resize.CONTEXT, crop_size + resize.CONTEXT)
  image, y, x = (jnp.asarray(field) for field in drawn[:3])
  sizes = pictures.sizes[image]
  rows = jnp.clip(y[:, None] + offsets, 0, sizes[:, :1] - 1)
  columns = jnp.clip(x[:, None] + offsets, 0, sizes[:, 1:] - 1)
  pixel = rows[:, :, None] * sizes[:, 1, None, None] + columns[:, None, :]
  row = pictures.first[image][:, None, None] + pixel // _PIXELS
  byte = pixel % _PIXELS * 3
  return pictures.rows[row[..., None], byte[..., None] + jnp.arange(3)]


def _load(
  source: Source, mesh: Mesh, is_sharded: bool
) -> tuple[Pictures, np.ndarray]:
  """Decodes what this process's devices hold; returns the sizes, too."""
  devices = mesh.devices.flat
  parts = mesh.size if is_sharded else 1
  mine = [
    part
    for part in range(parts)
    if not is_sharded or devices[part].process_index == jax.process_index()
  ]
  device, first, length = _lay_out(source.sizes, parts)
  _check_memory(length * _ROW, len(mine), mesh)

  sizes = source.sizes // SCALE * SCALE
  rows = {part: np.zeros((length, _ROW), np.uint8) for part in mine}
  # Each picture itself, or what stands in for a broken one.
  found = np.full(len(source), -1, np.int32)

  def read(index: int) -> None:
    found[index], image = source.read_or_next(index)
    if found[index] == index:
      height, width = sizes[index]
      image = image[:height, :width]
      flat = rows[device[index]][first[index] :].reshape(-1)
      flat[: image.size].reshape(image.shape)[:] = image

  # Straight into its rows: nothing else holds what is decoded.
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for _ in pool.map(read, np.flatnonzero(np.isin(device, mine)).tolist()):
      pass
  if is_sharded and jax.process_count() > 1:
    found = np.max(multihost_utils.process_allgather(found), axis=0)

  sizes = sizes[found]
  tables = sharding.replicate((device[found], first[found], sizes), mesh)
  if not is_sharded:
    return Pictures(sharding.replicate(rows[0], mesh), *tables), sizes
  placed = jax.make_array_from_callback(
    (parts * length, _ROW),
    sharding.batched(mesh),
    lambda index: rows[(index[0].start or 0) // length if index else 0],
  )
  return Pictures(placed, *tables), sizes


def _lay_out(
  sizes: np.ndarray, parts: int
) -> tuple[np.ndarray, np.ndarray, int]:
  """The part of each picture, its first row there, and the longest part."""
  device, room = _deal(sizes, parts), _rows_needed(sizes)
  first = np.zeros(len(sizes), np.int32)
  for part in range(parts):
    here = device == part
    first[here] = np.cumsum(room[here]) - room[here]
  return device, first, int((first + room).max())


def _check_memory(part: int, parts: int, mesh: Mesh) -> None:
  """Refuses parts, of so many bytes each, that do not fit where they go."""
  here = parts * part
  if mesh.devices.flat[0].platform == 'cpu':
    here += len(mesh.local_devices) * part  # the devices' memory is this one
  free = runtime.free_memory()
  for whose, need, room in (
    ("each device's", part, _LARGEST_PART * _device_memory(mesh)),
    ("this machine's", here, float('inf') if free is None else free),
  ):
    if need > room:
      raise ValueError(
        f'the pictures take {need / 2**30:.3g} GiB of {whose} memory, which '
        f"has {room / 2**30:.3g} GiB for them: the loader 'tfdata' holds none"
      )


def _deal(sizes: np.ndarray, parts: int) -> np.ndarray:
  """The part of each picture: the largest first, each to the emptiest part."""
  needed = _rows_needed(sizes)
  filled = np.zeros(parts, np.int64)
  part = np.zeros(len(sizes), np.int32)
  for index in np.argsort(-needed, kind='stable') if parts > 1 else ():
    part[index] = np.argmin(filled)
    filled[part[index]] += needed[index]
  return part


def _rows_needed(sizes: np.ndarray) -> np.ndarray:
  return -(-sizes.astype(np.int64).prod(axis=-1) // _PIXELS)


def _device_memory(mesh: Mesh) -> float:
  """Bytes of a device; no limit is known of a CPU."""
  stats = mesh.local_devices[0].memory_stats() or {}
  return float(stats.get('bytes_limit', float('inf')))
