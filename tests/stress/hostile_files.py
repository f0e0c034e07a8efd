"""Weight files that are meant to cost the machine, by kind.

Each writer puts a small file at a path. None of them runs code; what they do
to a careless reader is said beside them.
"""

from collections.abc import Callable, Mapping
import dataclasses
import json
import pathlib
import pickle
import struct

from tests.stress import hostile_archives, hostile_hdf5

Write = Callable[[pathlib.Path], None]


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of hostile file.

  Attributes:
    reader: which reader it is meant for, a key of `readers._readers`.
    suffix: of the file.
    write: makes it.
  """

  reader: str
  suffix: str
  write: Write


def _laughs(levels: int = 60) -> bytes:
  """A tuple of 2^levels ones: 8 bytes a level."""
  body = b'K\x01\x85q\x000'
  for i in range(levels):
    body += b'h%ch%c\x86q%c0' % (i, i, i + 1)
  return body + b'h%c' % levels


_PAIRS = (
  b'ccollections\nOrderedDict\nq\0X\1\0\0\0aK\1\x86q\1]('
  + b'h\1' * 80_000
  + b'e\x85q\2'
  + b'h\0h\2R' * 50_000
)
_REFERENCES = (
  b'(Nctorch\nFloatStorage\nX\1\0\0\x000NK\1'
  + b'K\0' * 80_000
  + b'tq\0'
  + b'h\0Q' * 50_000
)
_ONE = b'(Nctorch\nFloatStorage\nX\1\0\0\x000NK\1tQ'
# Of no numbers from -1 on: the refusal would repeat all of the shape.
_LONG = (
  b'ctorch._utils\n_rebuild_tensor\n('
  + _ONE
  + b'J\xff\xff\xff\xff(K\0\x8b\x90\1\0\0'
  + b'\x7f' * 400
  + b'q\1'
  + b'h\1' * 80_000
  + b't)tR'
)
# By name the body of a pickle, without its head and its end.
_PICKLES = {
  'a tuple of 2^60 elements': _laughs(),
  'such a tuple as a key': b'}' + _laughs() + b'K\x01s',
  'a key of 110,000 nested tuples': b'})' + b'\x85' * 110_000 + b'K\1s0}',
  'a shape of 80,000 numbers of 963 digits': b'}X\1\0\0\0a' + _LONG + b's',
  'a list that holds itself': b']q\x00h\x00a',
  'a dict that holds itself': b'}q\x00X\x0a\0\0\0state_dicth\x00s',
  '100,000 nested lists': b']' * 100_000 + b'a' * 99_999,
  'a memo of 4,294,967,295 entries': b'Nr\xff\xff\xff\xff',
  '5 million dicts': b'}' * 5_000_000,
  'a claim of 2^62 bytes': b'\x8e' + struct.pack('<Q', 2**62),
  'a call of os.system': b'cos\nsystem\nX\4\0\0\0true\x85R',
  '80,000 pairs, 50,000 times': _PAIRS,
  '80,000 references, 50,000 times': _REFERENCES,
  'a name of control characters': b'X\2\0\0\0o\nX\2\0\0\0\x1bx\x93',
  'a key of control characters': b'}X\2\0\0\0\n\x1bNs',
  'bytearray(10^10)': b'cbuiltins\nbytearray\n\x8a\5\0\xe4\x0bT\2\x85R',
}


def _pickled(body: bytes) -> bytes:
  return b'\x80\x04' + body + b'.'


def _raw(data: bytes) -> Write:
  return lambda path: _write(path, data)


def _write(path: pathlib.Path, data: bytes) -> None:
  path.write_bytes(data)


def _old_torch(body: bytes) -> bytes:
  """As PyTorch before 1.6: a row of pickles."""
  heads = (0x1950A86A20F9469CFC6C, 1001, {'little_endian': True})
  head = b''.join(pickle.dumps(head, 2) for head in heads)
  return head + _pickled(body) + pickle.dumps([], 2)


def safetensors(header: object, data: bytes = b'') -> bytes:
  """A safetensors file of a header, JSON or raw bytes, and tensors."""
  encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
  return struct.pack('<Q', len(encoded)) + encoded + data


def _ours(
  kind: str, tensors: Mapping[str, object], **metadata: object
) -> bytes:
  """A file that says it is this package's."""
  stated = {
    'format': 'srgan_jax',
    'format_version': '1',
    'kind': kind,
    'training': '{}',
    **{k: v if type(v) is str else json.dumps(v) for k, v in metadata.items()},
  }
  return safetensors({'__metadata__': stated, **tensors}, bytes(16))


_FOUR = {'dtype': 'F32', 'shape': [4], 'data_offsets': [0, 16]}
_PLAIN = {'params/conv_in/bias': _FOUR}
_G = {'blocks': 16, 'channels': 64}

_SAFETENSORS: dict[str, bytes] = {
  'a header of 2^63 bytes': struct.pack('<Q', 2**63) + b'{}',
  'nested JSON': safetensors(b'[' * 1_000_000),
  'a name of 100,000 slashes': _ours(
    'generator', {'a/' * 100_000: _FOUR}, architecture=_G
  ),
  '1,500 names that grow by a slash': safetensors(
    {'__metadata__': {'format': 'srgan_jax'}}
    | {
      'a/' * i: {'dtype': 'F32', 'shape': [0], 'data_offsets': [0, 0]}
      for i in range(1, 1500)
    }
  ),
  'overlapping tensors': _ours(
    'generator', {**_PLAIN, 'params/conv_in/kernel': _FOUR}, architecture=_G
  ),
  'a shape of 2^63': _ours(
    'generator', {'a': {**_FOUR, 'shape': [2**63]}}, architecture=_G
  ),
  'a shape of 1e400': safetensors(
    b'{"a":{"dtype":"F32","shape":[1e400],"data_offsets":[0,16]}}', bytes(16)
  ),
  'a shape whose product overflows': _ours(
    'generator', {'a': {**_FOUR, 'shape': [2**32, 2**32, 4]}}, architecture=_G
  ),
  'float8': _ours(
    'generator',
    {'a': {'dtype': 'F8_E4M3', 'shape': [16], 'data_offsets': [0, 16]}},
    architecture=_G,
  ),
  'metadata that is no text': safetensors(
    {'__metadata__': {'format': 1, 'x': [[]]}, 'a': _FOUR}, bytes(16)
  ),
  'a name of control characters': safetensors({'\n\x1b[2J': _FOUR}, bytes(16)),
  'a name of control characters, of ours': _ours(
    'generator', {'\n\x1b[2Jparams': _FOUR}, architecture=_G
  ),
}
_OURS: dict[str, bytes] = {
  'a million blocks': _ours(
    'generator', _PLAIN, architecture={'blocks': 10**6, 'channels': 64}
  ),
  '128 blocks of 4096 channels': _ours(
    'generator', _PLAIN, architecture={'blocks': 128, 'channels': 4096}
  ),
  'a number of 5,000 digits': _ours(
    'generator', _PLAIN, architecture='{"blocks": ' + '9' * 5000 + '}'
  ),
  'an architecture of a megabyte': _ours(
    'generator', _PLAIN, architecture={'blocks': 'x' * 10**6}
  ),
  'metadata of nested lists': _ours(
    'generator', _PLAIN, architecture='[' * 100_000
  ),
}


def kinds() -> dict[str, Kind]:
  """All kinds by their names."""
  found = {}
  for name, body in _PICKLES.items():
    found[f'old PyTorch: {name}'] = Kind(
      'generator', '.pth', _raw(_old_torch(body))
    )
  for name, write in hostile_archives.ZIPS.items():
    found[f'PyTorch: {name}'] = Kind('vgg', '.pth', write)
  for name, write in hostile_hdf5.KINDS.items():
    found[f'HDF5, a VGG: {name}'] = Kind('vgg', '.h5', write)
    found[f'HDF5, a generator: {name}'] = Kind('generator', '.h5', write)
  for name, write in hostile_hdf5.SLOW.items():
    found[f'HDF5: {name}'] = Kind('vgg', '.h5', write)
  for name, data in _SAFETENSORS.items():
    for reader in ('vgg', 'our generator'):
      found[f'safetensors, {reader}: {name}'] = Kind(
        reader, '.safetensors', _raw(data)
      )
  for name, data in _OURS.items():
    found[f'safetensors, our generator: {name}'] = Kind(
      'our generator', '.safetensors', _raw(data)
    )
  return found
