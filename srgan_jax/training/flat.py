"""A network's many arrays as two: what a GPU updates in a kernel or two.

Adam, the moving average and a norm take a kernel or more an array, and a GPU's
step takes as long as its kernels are many. So the compiled program packs them
before its first update and unpacks them behind its last one; states outside it
(checkpoints, files) keep a network's own structure.

Kernels of convolutions lie as cuDNN reads them, [outputs, height, width,
inputs], so that neither they nor their gradients are turned.
"""

from collections.abc import Mapping
import math
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp


@struct.dataclass
class Flat:
  """The arrays of a tree, one after the other.

  Attributes:
    kernels: float32 [n], those with several axes; None where there are none.
    vectors: float32 [m], those with one.
    structure: of the tree.
    shapes: of its leaves.
    dtype: what a network computes in.
  """

  kernels: jax.Array | None
  vectors: jax.Array
  structure: Any = struct.field(pytree_node=False)
  shapes: tuple[tuple[int, ...], ...] = struct.field(pytree_node=False)
  dtype: jnp.dtype = struct.field(pytree_node=False)


def pack(tree: Any, dtype: jnp.dtype, packs_statistics: bool = True) -> Any:
  """A state with a `Flat` for each mapping of parameters, moments, statistics.

  Args:
    tree: a state, or a mapping of float32 arrays by layers and names.
    dtype: what the networks compute in.
    packs_statistics: False leaves batch statistics as they are: those of
      several devices have an axis more.
  """

  def apply(path: Any, x: Any) -> Any:
    names = {getattr(key, 'key', getattr(key, 'name', None)) for key in path}
    if not _is_network(x) or ('batch_stats' in names and not packs_statistics):
      return x
    return _pack(x, dtype)

  return jax.tree_util.tree_map_with_path(apply, tree, is_leaf=_is_network)


def unpack(tree: Any) -> Any:
  """The reverse of `pack`."""
  return jax.tree.map(
    lambda x: _tree(x, x.kernels) if isinstance(x, Flat) else x,
    tree,
    is_leaf=lambda x: isinstance(x, Flat),
  )


def like(packed: Any, tree: Any) -> Any:
  """`tree` as `packed` is: packed or not."""
  return _pack(tree, packed.dtype) if isinstance(packed, Flat) else tree


def layers(packed: Any) -> Any:
  """What a network's `apply` takes; kernels are in the type it computes in.

  Args:
    packed: a `Flat`, or a tree, which is given back.
  """
  return _layers(packed) if isinstance(packed, Flat) else packed


@jax.custom_vjp
def _layers(packed: Flat) -> Any:
  if packed.kernels is None:
    return _tree(packed, None)
  # XLA casts those of equal shape in one kernel, for they end in one place.
  return _tree(packed, packed.kernels, packed.dtype, together=True)


def _layers_backward(packed: Flat, gradients: Any) -> tuple[Flat]:
  return (_pack(gradients, packed.dtype),)


_layers.defvjp(lambda packed: (_layers(packed), packed), _layers_backward)


def _is_network(x: Any) -> bool:
  """Whether it is one network's arrays by their names, and not scalars."""
  if not isinstance(x, Mapping) or 'params' in x:
    return False
  leaves = jax.tree.leaves(x)
  return bool(leaves) and all(jnp.ndim(leaf) > 0 for leaf in leaves)


def _pack(tree: Any, dtype: jnp.dtype) -> Flat:
  leaves, structure = jax.tree.flatten(tree)
  kernels = [_for_cudnn(x).ravel() for x in leaves if x.ndim > 1]
  vectors = [x for x in leaves if x.ndim == 1]
  return Flat(
    kernels=jnp.concatenate(kernels).astype(jnp.float32) if kernels else None,
    vectors=jnp.concatenate(vectors),
    structure=structure,
    shapes=tuple(x.shape for x in leaves),
    dtype=jnp.dtype(dtype),
  )


def _tree(
  packed: Flat,
  kernels: jax.Array | None,
  dtype: jnp.dtype = jnp.dtype('float32'),
  together: bool = False,
) -> Any:
  parts: list[jax.Array] = []
  start = {True: 0, False: 0}
  for shape in packed.shapes:
    is_kernel = len(shape) > 1
    source = kernels if is_kernel else packed.vectors
    size = math.prod(shape)
    first = start[is_kernel]
    start[is_kernel] += size
    part = jax.lax.slice(source, (first,), (first + size,))
    parts.append(part.astype(dtype) if is_kernel else part)
  if together:
    where = [i for i, shape in enumerate(packed.shapes) if len(shape) > 1]
    cast = jax.lax.optimization_barrier([parts[i] for i in where])
    for i, part in zip(where, cast, strict=True):
      parts[i] = part
  leaves = [
    _from_cudnn(part, shape)
    for part, shape in zip(parts, packed.shapes, strict=True)
  ]
  return jax.tree.unflatten(packed.structure, leaves)


def _for_cudnn(kernel: jax.Array) -> jax.Array:
  return kernel.transpose(3, 0, 1, 2) if kernel.ndim == 4 else kernel


def _from_cudnn(part: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  if len(shape) != 4:
    return part.reshape(shape)
  return part.reshape(shape[3], *shape[:3]).transpose(1, 2, 3, 0)
