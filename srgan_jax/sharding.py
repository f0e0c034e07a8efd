"""Data parallelism over one mesh axis: where states and batches live.

The states are replicated, a batch is split over all devices of all processes;
`jit` then inserts the all-reduces. So batch normalisation sees the global
batch, and the same step runs from one CPU to a TPU pod.

With batch normalisation per device the batch statistics alone are not
replicated: they have a leading axis, an entry a device (`spread`), and each
device sees its own. What leaves the run is their mean (`average`).
"""

from collections.abc import Callable, Sequence
import dataclasses
import json
from typing import Any, Literal

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np

AXIS = 'data'

BatchNorm = Literal['global', 'per_device']


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


def in_any_process(here: bool) -> bool:
  """Whether something is so in any process of the run."""
  if jax.process_count() == 1:
    return here
  return bool(np.any(multihost_utils.process_allgather(np.asarray(here))))


def gather(value: Any) -> list[Any]:
  """What JSON makes of a value of each process, in their order."""
  text = json.dumps(value).encode()
  if jax.process_count() == 1:
    return [json.loads(text)]
  length = np.max(multihost_utils.process_allgather(np.asarray(len(text))))
  padded = np.frombuffer(text.ljust(int(length)), np.uint8)
  rows = multihost_utils.process_allgather(padded)
  return [json.loads(row.tobytes()) for row in rows]


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


@dataclasses.dataclass(frozen=True)
class Placement:
  """How the states of a run lie on its devices.

  Attributes:
    mesh: the devices.
    batch_norm: over the global batch, or over each device's part of it.
  """

  mesh: Mesh
  batch_norm: BatchNorm

  def place(self, state: Any) -> Any:
    """Puts a state of the host, the same in every process, on the devices."""
    if self.batch_norm == 'global':
      return replicate(state, self.mesh)
    state = spread(state, self.mesh.size)
    return jax.tree.map(
      lambda x, spec: jax.make_array_from_callback(
        x.shape, NamedSharding(self.mesh, spec), lambda index: x[index]
      ),
      jax.tree.map(np.asarray, state),
      state_specs(state),
    )

  def fetch(self, variables: Any) -> Any:
    """Brings variables to the host; statistics per device are averaged."""
    if self.batch_norm == 'per_device':
      mean = jax.jit(average, out_shardings=replicated(self.mesh))
      variables = mean(variables)
    return jax.device_get(variables)


def spread(tree: Any, devices: int) -> Any:
  """Gives the batch statistics of a state an entry for each device."""
  return _map_statistics(
    lambda x: jnp.broadcast_to(x, (devices, *np.shape(x))), tree
  )


def average(tree: Any) -> Any:
  """The means of batch statistics over their devices."""
  return _map_statistics(lambda x: x.mean(axis=0), tree)


def take_own(tree: Any) -> Any:
  """On a device, inside `shard_map`: its statistics, without the axis."""
  return _map_statistics(lambda x: x[0], tree)


def put_back(tree: Any) -> Any:
  """The reverse of `take_own`."""
  return _map_statistics(lambda x: x[None], tree)


def state_specs(state: Any) -> Any:
  """The partition of a state whose statistics are spread."""
  whole = jax.tree.map(lambda x: PartitionSpec(), state)
  return _map_statistics(lambda x: PartitionSpec(AXIS), whole)


def _map_statistics(function: Callable[[Any], Any], tree: Any) -> Any:
  """Applies a function to the leaves under 'batch_stats' and to no others."""
  return jax.tree_util.tree_map_with_path(
    lambda path, leaf: function(leaf) if is_statistic(path) else leaf,
    tree,
    is_leaf=lambda x: isinstance(x, PartitionSpec),
  )


def is_statistic(path: Sequence[Any]) -> bool:
  """Whether a path, of `jax.tree_util`, leads through 'batch_stats'."""
  names = {getattr(key, 'key', getattr(key, 'name', None)) for key in path}
  return 'batch_stats' in names
