"""Data parallelism over one mesh axis: where states and batches live.

The states are replicated, a batch is split over all devices of all processes;
`jit` then inserts the all-reduces. So batch normalisation sees the global
batch, and the same step runs from one CPU to a TPU pod.
"""

from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np

AXIS = 'data'


def make_mesh(batch_size: int) -> Mesh:
  """A one-axis mesh over every device.

  Raises:
    ValueError: where the devices do not divide the global batch.
  """
  devices = jax.devices()
  if batch_size % len(devices):
    raise ValueError(
      f'batch_size={batch_size} is global and must be a multiple of the '
      f'{len(devices)} devices'
    )
  return Mesh(np.asarray(devices), (AXIS,))


def replicated(mesh: Mesh) -> NamedSharding:
  """The sharding of what every device holds whole."""
  return NamedSharding(mesh, PartitionSpec())


def batched(mesh: Mesh) -> NamedSharding:
  """The sharding of arrays whose first axis is the global batch."""
  return NamedSharding(mesh, PartitionSpec(AXIS))


def replicate(tree: Any, mesh: Mesh) -> Any:
  """Puts a tree of host arrays, the same in every process, on all devices."""
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(
      replicated(mesh), np.asarray(x), np.shape(x)
    ),
    tree,
  )


def shard_batch(local: Any, mesh: Mesh) -> Any:
  """Joins the processes' rows of a batch, [B/processes, ...] each."""
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(batched(mesh), x), local
  )


def shard_batches(locals_: Sequence[Any], mesh: Mesh) -> Any:
  """Joins the rows of several batches, stacked: [count, B, ...]."""
  placement = NamedSharding(mesh, PartitionSpec(None, AXIS))
  return jax.tree.map(
    lambda *x: jax.make_array_from_process_local_data(placement, np.stack(x)),
    *locals_,
  )
