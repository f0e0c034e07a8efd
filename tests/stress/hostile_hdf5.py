"""Hostile HDF5 files, as Keras's VGG (`block1_conv1`) and generators."""

import base64
from collections.abc import Callable
import pathlib
from typing import Any
import zlib

import numpy as np

_NAME = 'block1_conv1/block1_conv1/kernel:0'
# Found by fuzzing: libhdf5 1.14 opens it and never comes back.
_ENDLESS = (
  'c-rlm%T59@6o%UwCJx9XLljUGBTF_WkhpS%5tM}yqAuJal8G1)3>q&hx8u&o@KJmWm%atI(^'
  'h6mFyJLI@&7i5({_5u^v~&O=doJeaS|&D!m(`<BQ6Oul=$mWU-h3zOQrRteKu6P8T2j5c2~~'
  'tr-gqf+m8+^6+U{Xq2jz+!rBD<N2-;rI=9EtS9*FeqT^1x{Z^;gX!UzH#jq|*UyM6Rza%r8e'
  '&6EIFZ4UEU*Gy&{T}Yu%9PEbbeA)u`MN6owuLqNJP*)F9!SYNP@fb2Wqi6kP)Z^XAP<b^fv0'
  '$MT*n*qyzXX!X!X@k<$?TMbY5M@U{W5i#5<$P7b{4qXo$&i%9^Y~;5`{ur#Q?ur;L-zt;soZ'
  'Bx{rG1K%68xhJu}0;*-S*oyP`hG9^Vcf|iSsqcsp8`{(PZ|SNq4~+l-0000?Rqv^LQR%Du)1'
  '*8pQ1)w))o$J9y*Fs|nit+x(7w#-PX46(QIgt`dX#GC2Y&qYS4V9su6_?Nit7Y%Z@u%g_Vp<'
  '6tZ~z!xCWLR00008*xjz}1$(7CzF%|n?*c|>Uk&>43IPBB000000DwQwJI+#n3I'
)
_LAYER, _WEIGHT = 'block1_conv1', 'block1_conv1/kernel:0'


def _writing(
  fill: Callable[[Any], None],
) -> Callable[[pathlib.Path], None]:
  def write(path: pathlib.Path) -> None:
    import h5py

    with h5py.File(path, 'w') as file:
      fill(file)
      # What Keras says of its layers.
      file.attrs['layer_names'] = [_LAYER]
      file.require_group(_LAYER).attrs['weight_names'] = [_WEIGHT]

  return write


def _many_layers(file: Any) -> None:
  """One group under 30,000 names."""
  group = file.create_group(_LAYER)
  for i in range(30_000):
    file[f'layer_{i}'] = group


def _cycle(file: Any) -> None:
  group = file.create_group(_LAYER)
  for i in range(8):
    group[f'again_{i}'] = group


def _fill(file: Any) -> None:
  """13 GB of a fill value, without a number in the file."""
  file.create_dataset(
    _NAME, (3, 3, 2**12, 2**16), 'f4', fillvalue=1.0, chunks=(3, 3, 16, 16)
  )


def _late(file: Any) -> None:
  file.create_dataset(_NAME, (3, 3, 2**12, 2**16), 'f4')


def _external(file: Any) -> None:
  file.create_dataset(_NAME, (4,), 'f4', external=[('/etc/hostname', 0, 16)])


def _virtual(file: Any) -> None:
  import h5py

  layout = h5py.VirtualLayout((3, 3, 3, 64), 'f4')
  layout[:] = h5py.VirtualSource('/tmp/other.h5', 'x', (3, 3, 3, 64))
  file.create_virtual_dataset(_NAME, layout)


def _external_link(file: Any) -> None:
  import h5py

  file[f'{_LAYER}/linked'] = h5py.ExternalLink('/tmp/other.h5', '/')


def _soft_link(file: Any) -> None:
  import h5py

  file[f'{_LAYER}/linked'] = h5py.SoftLink(f'/{_LAYER}/linked')


def _compound(file: Any) -> None:
  file.create_dataset(_NAME, data=np.zeros(4, [('a', 'f4'), ('b', 'S9')]))


def _deep(file: Any) -> None:
  file.create_group(_LAYER + '/a' * 5000)


def _endless(path: pathlib.Path) -> None:
  path.write_bytes(zlib.decompress(base64.b85decode(_ENDLESS)))


KINDS: dict[str, Callable[[pathlib.Path], None]] = {
  '30,000 layers that are one': _writing(_many_layers),
  'a group in itself': _writing(_cycle),
  '10 GB of a fill value': _writing(_fill),
  '10 GB that were never written': _writing(_late),
  'numbers in another file': _writing(_external),
  'a view of another file': _writing(_virtual),
  'a link to another file': _writing(_external_link),
  'a link to itself': _writing(_soft_link),
  'numbers with names': _writing(_compound),
}
# These end by the other process's limit.
SLOW: dict[str, Callable[[pathlib.Path], None]] = {
  'damage that libhdf5 hangs on': _endless,
  '5,000 nested groups': _writing(_deep),
}
