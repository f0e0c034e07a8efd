"""A network's many arrays as two: what a GPU updates in a kernel or two.

Adam, the moving average and a norm take a kernel or more an array, and a GPU's
step takes as long as its kernels are many. So the compiled program packs them
before its first update and unpacks them behind its last one; states outside it
(checkpoints, files) keep a network's own structure.

Kernels of convolutions lie as cuDNN reads them, [outputs, height, width,
inputs], so that neither they nor their gradients are turned.
"""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp

from srgan_jax import sharding

_TOGETHER = 32  # gradients that are vectors, put together by one kernel


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

  kernels: Any  # an array or None
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
    is_packed = packs_statistics or not sharding.is_statistic(path)
    return _pack(x, dtype) if is_packed and _is_network(x) else x

  return jax.tree_util.tree_map_with_path(apply, tree, is_leaf=_is_network)


def unpack(tree: Any, step: jax.Array) -> Any:
  """The reverse of `pack`; `step` is any number >= 0 unknown to XLA."""
  # XLA's GPU backend cuts arrays of one size out of one by a kernel for all
  # where it first computes something of the whole, else by one for each.
  one = jnp.where(step < 0, jnp.nan, 1.0)
  return jax.tree.map(
    lambda x: _unpack(x, one) if isinstance(x, Flat) else x,
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


def turned(tree: Any, dtype: jnp.dtype) -> Any:
  """Parameters that stay as they are, in a type, as cuDNN reads them."""
  return jax.tree.map(lambda x: _for_cudnn(x).astype(dtype), tree)


def turned_back(tree: Any) -> Any:
  """The reverse of `turned`, in its type."""
  return jax.tree.map(
    lambda x: jnp.moveaxis(x, 0, -1) if x.ndim > 3 else x, tree
  )


@jax.custom_vjp
def _layers(packed: Flat) -> Any:
  leaves = _vectors(packed.vectors, packed.shapes)
  parts: dict[int, jax.Array] = {}
  start, kernels = 0, packed.kernels
  for i in _kernel_order(packed.shapes):
    size = math.prod(packed.shapes[i])
    part = kernels[start : start + size]
    parts[i], start = part.astype(packed.dtype), start + size
  # XLA casts those of equal size in one kernel, for they end in one place.
  for i, part in jax.lax.optimization_barrier(parts).items():
    leaves[i] = _from_cudnn(part, packed.shapes[i])
  return jax.tree.unflatten(packed.structure, leaves)


def _layers_backward(packed: Flat, gradients: Any) -> tuple[Flat]:
  leaves = jax.tree.leaves(gradients)
  kernels = [
    _for_cudnn(leaves[i]).ravel() for i in _kernel_order(packed.shapes)
  ]
  vectors = [x for x in leaves if x.ndim == 1]
  # A kernel takes some hundred arguments, and each of these comes from a few.
  parts = jax.lax.optimization_barrier(
    [
      jnp.concatenate(vectors[i : i + _TOGETHER])
      for i in range(0, len(vectors), _TOGETHER)
    ]
  )
  joined = jax.lax.optimization_barrier(jnp.concatenate(parts))
  return (
    dataclasses.replace(packed, kernels=_joined(kernels), vectors=joined),
  )


_layers.defvjp(lambda packed: (_layers(packed), packed), _layers_backward)


def _is_network(x: Any) -> bool:
  """Whether it is one network's arrays by their names, and not scalars."""
  if not isinstance(x, Mapping) or 'params' in x:
    return False
  leaves = jax.tree.leaves(x)
  return bool(leaves) and all(jnp.ndim(leaf) > 0 for leaf in leaves)


def _pack(tree: Any, dtype: jnp.dtype) -> Flat:
  leaves, structure = jax.tree.flatten(tree)
  shapes = tuple(x.shape for x in leaves)
  kernels = [
    _for_cudnn(jnp.stack([leaves[i] for i in alike])).ravel()
    for alike in _kernels_by_shape(shapes)
  ]
  return Flat(
    kernels=_joined(kernels),
    vectors=jnp.concatenate([x for x in leaves if x.ndim == 1]),
    structure=structure,
    shapes=shapes,
    dtype=jnp.dtype(dtype),
  )


def _unpack(packed: Flat, one: jax.Array) -> Any:
  leaves, start = _vectors(one * packed.vectors, packed.shapes), 0
  for alike in _kernels_by_shape(packed.shapes):
    shape = packed.shapes[alike[0]]
    size = math.prod(shape)
    part = packed.kernels[start : start + len(alike) * size]
    turned = _from_cudnn(part.reshape(len(alike), -1), shape).ravel()
    turned = one * jax.lax.optimization_barrier(turned)
    for number, i in enumerate(alike):
      leaves[i] = turned[number * size : (number + 1) * size]
    start += len(alike) * size
  leaves = jax.lax.optimization_barrier(leaves)
  return jax.tree.unflatten(
    packed.structure,
    [x.reshape(shape) for x, shape in zip(leaves, packed.shapes, strict=True)],
  )


def _vectors(
  vectors: jax.Array, shapes: tuple[tuple[int, ...], ...]
) -> list[Any]:
  """The leaves with one axis; None stands for the others."""
  leaves: list[Any] = []
  start = 0
  for shape in shapes:
    size = shape[0] if len(shape) == 1 else 0
    part = jax.lax.slice(vectors, (start,), (start + size,))
    leaves.append(part if size else None)
    start += size
  return leaves


def _kernels_by_shape(shapes: tuple[tuple[int, ...], ...]) -> list[list[int]]:
  """Which leaves are kernels, those of one shape together, in their order."""
  groups: dict[tuple[int, ...], list[int]] = {}
  for i, shape in enumerate(shapes):
    if len(shape) > 1:
      groups.setdefault(shape, []).append(i)
  return list(groups.values())


def _kernel_order(shapes: tuple[tuple[int, ...], ...]) -> list[int]:
  return [i for alike in _kernels_by_shape(shapes) for i in alike]


def _joined(parts: list[jax.Array]) -> jax.Array | None:
  return jnp.concatenate(parts).astype(jnp.float32) if parts else None


def _for_cudnn(kernels: jax.Array) -> jax.Array:
  """[..., height, width, inputs, outputs] with the outputs in front."""
  return jnp.moveaxis(kernels, -1, -4) if kernels.ndim > 3 else kernels


def _from_cudnn(flat: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """The reverse, of [..., n] to [..., *shape]."""
  if len(shape) < 4:
    return flat.reshape(*flat.shape[:-1], *shape)
  turned = flat.reshape(*flat.shape[:-1], shape[-1], *shape[:-1])
  return jnp.moveaxis(turned, -4, -1)
