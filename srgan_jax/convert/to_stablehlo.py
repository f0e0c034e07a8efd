"""A generator as a StableHLO file, for programs that have JAX alone.

A function serialized by `jax.export` for CPU, CUDA and TPU, all in one file.
Height, width and batch size are free; its metadata is JSON in its name.
"""

import dataclasses
import json
from typing import Any

import jax
import jax.export
import jax.numpy as jnp

from srgan_jax.imaging import color
from srgan_jax.models import folded
from srgan_jax.models.generator import Generator

PLATFORMS = ('cpu', 'cuda', 'tpu')


def serialize(
  generator: Generator, variables: Any, metadata: dict[str, Any]
) -> bytes:
  """The serialized function, uint8 [N, H, W, 3] to uint8 [N, 4H, 4W, 3].

  `json.loads(exported.fun_name)` gives the metadata back.

  Raises:
    ValueError: where the package `flatbuffers`, which JAX asks for, is missing.
  """
  params = folded.fold(generator, variables)

  @jax.jit
  def upscale(lr: jax.Array) -> jax.Array:
    x = color.uint8_to_unit(lr)
    return color.signed_to_uint8(folded.upscale(generator, params, x))

  n, h, w = jax.export.symbolic_shape('n, h, w')
  exported = jax.export.export(upscale, platforms=PLATFORMS)(
    jax.ShapeDtypeStruct((n, h, w, 3), jnp.uint8)
  )
  # The format has no place for metadata but the name, which is free and shows
  # in error messages.
  named = dataclasses.replace(exported, fun_name=json.dumps(metadata))
  try:
    return bytes(named.serialize())
  except ImportError:
    raise ValueError(
      'StableHLO files take the package flatbuffers to write and to read: '
      'pip install flatbuffers'
    ) from None
