"""Hostile zips as PyTorch would write them."""

import base64
from collections.abc import Callable
import pathlib
import struct
import zipfile
import zlib

_MIB = 2**20


def torch_zip(
  pickled: bytes, storages: dict[str, bytes] | None = None
) -> Callable[[pathlib.Path], None]:
  """Writes a zip of PyTorch's with a given `data.pkl`."""

  def write(path: pathlib.Path) -> None:
    with zipfile.ZipFile(path, 'w') as archive:
      archive.writestr('x/data.pkl', pickled)
      for key, data in (storages or {}).items():
        archive.writestr(f'x/data/{key}', data)

  return write


def _text(value: str) -> bytes:
  return b'X' + struct.pack('<I', len(value)) + value.encode()


def _integer(value: int) -> bytes:
  data = value.to_bytes(value.bit_length() // 8 + 1, 'little', signed=True)
  return b'\x8a' + bytes([len(data)]) + data


def _integers(values: tuple[int, ...]) -> bytes:
  return b'(' + b''.join(map(_integer, values)) + b't'


def state_pickle(
  name: str,
  shape: tuple[int, ...],
  strides: tuple[int, ...],
  *,
  count: int = 4,
  offset: int = 0,
  call: str = '_rebuild_tensor_v2',
) -> bytes:
  """A state dict of one tensor, a view of the storage '0'."""
  storage = (
    b'('
    + _text('storage')
    + b'ctorch\nFloatStorage\n'
    + _text('0')
    + _text('cpu')
    + _integer(count)
    + b'tQ'
  )
  tensor = (
    f'ctorch._utils\n{call}\n('.encode()
    + storage
    + _integer(offset)
    + _integers(shape)
    + _integers(strides)
    + b'\x89Nt'  # no gradient, no hooks
    + b'R'
  )
  return b'\x80\x02}' + _text(name) + tensor + b's.'


def _tensor(
  shape: tuple[int, ...], strides: tuple[int, ...], **options: int | str
) -> Callable[[pathlib.Path], None]:
  pickled = state_pickle('features.0.weight', shape, strides, **options)  # type: ignore[arg-type]
  return torch_zip(pickled, {'0': bytes(16)})


def _compressed(path: pathlib.Path) -> None:
  """A member of 3.9 GiB in 4 MB."""
  torch_zip(state_pickle('features.0.weight', (4,), (1,)))(path)
  data = zeros_deflated(4000)
  with zipfile.ZipFile(path, 'a') as archive:
    archive.writestr('x/data/0', data)
  whole = bytearray(path.read_bytes())
  # Says of the stored bytes that they are deflated ones.
  for mark, place in ((b'PK\x03\x04', 8), (b'PK\x01\x02', 10)):
    at = whole.rindex(mark)
    struct.pack_into('<H', whole, at + place, zipfile.ZIP_DEFLATED)
    struct.pack_into('<I', whole, at + place + 14, 4000 * _MIB)
  path.write_bytes(whole)


def _many_members(path: pathlib.Path) -> None:
  """A directory of 16 MB, each of whose entries costs half a kilobyte."""
  torch_zip(state_pickle('features.0.weight', (4,), (1,)))(path)
  with zipfile.ZipFile(path, 'a') as archive:
    archive.writestr('x/data/0', bytes(16))
    archive.filelist *= 60_000
  assert path.stat().st_size > 2**22


def zeros_deflated(count: int) -> bytes:
  """Raw deflate data that unpack to `count` MiB of zeros; quickly made."""
  engine = zlib.compressobj(9, zlib.DEFLATED, -15)
  one = engine.compress(bytes(_MIB)) + engine.flush(zlib.Z_FULL_FLUSH)
  return one * count + zlib.compressobj(9, zlib.DEFLATED, -15).flush()


# Found by fuzzing: a directory that says it lies before the file.
_BEFORE = (
  'c-jl_W@Zs#V9+bb&S_w&Eo6w`Vqjn>E=ep&jZeu;F3Dgh)(h}vWD;QpDgpvYq3YN@&kPbIfN'
  'T)vVnBcfMi5z{pORRT2r@6go0SbD!U%*GK-vMU3IO%V61)'
)


def _before(path: pathlib.Path) -> None:
  path.write_bytes(zlib.decompress(base64.b85decode(_BEFORE)))


ZIPS: dict[str, Callable[[pathlib.Path], None]] = {
  'one number seen 40,000 x 40,000 times': _tensor((40_000, 40_000), (0, 0)),
  'rows that overlap': _tensor((3, 3), (1, 1)),
  'a shape of 2^39 x 2^39': _tensor((2**39, 2**39), (2**39, 1)),
  'a shape of 2^60': _tensor((2**60,), (1,)),
  'a negative shape': _tensor((-4, 1), (1, 1)),
  'an offset of 2^50': _tensor((4,), (1,), offset=2**50),
  'a storage larger than the file': _tensor((2**30,), (1,), count=2**30),
  'meta tensors': _tensor((4,), (1,), call='_rebuild_meta_tensor_no_storage'),
  'a member of 3.9 GiB in 4 MB': _compressed,
  'a directory before its beginning': _before,
  '60,000 members': _many_members,
}
