"""Weights between generators (ESRGAN's network interpolation, section 3.4).

Wang et al. 2018, arXiv:1809.00219: between an SRResNet and the SRGAN that was
trained on from it lie generators with as much texture as one likes. Networks
that were trained apart have nothing of use between them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

# The cosine between all kernels of two generators: 0.96 and more where one was
# trained on from the other, 0.24 from one initialization, 0 from two.
_LEAST_COSINE = 0.5


def mix(
  generators: Sequence[tuple[str, Any, Mapping[str, Any]]],
  shares: Sequence[float],
) -> Any:
  """The weighted mean of generators, {'params', 'batch_stats'}, float32.

  Args:
    generators: of each a name for errors, and its variables and metadata as
      `load_generator` gives them.
    shares: of each, which sum to 1.

  Raises:
    ValueError: where architectures differ, or a generator and the first were
      trained apart.
  """
  (first, ours, metadata), *others = generators
  for name, theirs, their_metadata in others:
    if their_metadata['architecture'] != metadata['architecture']:
      raise ValueError(
        f'{name} has the architecture {their_metadata["architecture"]}, but '
        f'{first} has {metadata["architecture"]}'
      )
    cosine = _cosine(_kernels(ours), _kernels(theirs))
    if not cosine >= _LEAST_COSINE:
      raise ValueError(
        f'{name} and {first} were trained apart, so nothing of use lies '
        f'between them: the cosine of their kernels is {cosine:.2f}'
      )
  return jax.tree.map(
    lambda *leaves: sum(
      np.float32(share) * np.asarray(leaf)
      for share, leaf in zip(shares, leaves, strict=True)
    ),
    *(variables for _, variables, _ in generators),
  )


def _kernels(variables: Any) -> np.ndarray:
  leaves = jax.tree.leaves(variables['params'])
  return np.concatenate(
    [np.asarray(leaf, np.float64).ravel() for leaf in leaves if leaf.ndim > 1]
  )


def _cosine(x: np.ndarray, y: np.ndarray) -> float:
  return float(x @ y / np.sqrt((x @ x) * (y @ y)))
