"""HDF5, by h5py: the arrays in a file, and its lists of names.

HDF5 can send a reader to other files (external and virtual datasets, links) or
claim numbers that are not there: only arrays that lie in the file in one piece
are read, as Keras writes them.
"""

import pathlib
from typing import Any

import numpy as np

# Keras's `layer_names` or `weight_names` by the path of the group that has
# them; '' is the file itself.
Names = dict[str, list[str]]


def read(path: pathlib.Path) -> tuple[dict[str, np.ndarray], Names]:
  """The arrays by their paths, mapped; and Keras's lists of names.

  Raises:
    ValueError: where an array does not lie in the file in one piece.
    Exception: of any kind, where it is cut off or damaged.
  """
  import h5py

  content = np.memmap(path, np.uint8, 'r')
  arrays: dict[str, np.ndarray] = {}
  names: Names = {}

  def visit(name: str, item: Any) -> None:
    for attribute in ('layer_names', 'weight_names'):
      if attribute in item.attrs:
        names[name] = [
          text.decode() if isinstance(text, bytes) else str(text)
          for text in item.attrs[attribute]
        ]
    if isinstance(item, h5py.Dataset):
      start = item.id.get_offset()
      if start is None:
        raise ValueError(f'its {name} does not lie in the file in one piece')
      arrays[name] = np.ndarray(item.shape, item.dtype, content, start)

  with h5py.File(path, 'r') as file:
    visit('', file)
    file.visititems(visit)  # links to elsewhere are passed over
  return arrays, names
