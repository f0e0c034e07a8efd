"""Colour that a file states outside an ICC profile: numbers, gamma, primaries.

PNG has its chunks cICP, sRGB, gAMA and cHRM, AVIF and HEIF their box nclx. What
they say is written again where the format has the same, else as an ICC profile
of the same colours (matrix and curve, ICC.1:2010). HDR (PQ, HLG) is beyond any
profile that 8-bit programs show.
"""

from collections.abc import Sequence
import dataclasses
import struct

import numpy as np

from srgan_jax.imaging import png

# x and y of white, red, green and blue, by ITU-T H.273's numbers.
_D65, _C = (0.3127, 0.3290), (0.310, 0.316)
_BT709 = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_NTSC = (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070)
_PRIMARIES = {
  1: _BT709,
  4: (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
  5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
  6: _NTSC,
  7: _NTSC,
  8: (*_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
  9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
  11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
  12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
  22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
# Parameters of ICC's curves: an exponent, or exponent, a, b, c, d of
# (a x + b)^exponent from d on and c x below.
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
# What the camera's curve BT.709 is shown by: BT.1886 says so, and browsers show
# a PNG so, but an AVIF as sRGB.
_SHOWN_BT709 = (2.4,)
_BT709_LIKE = (1, 6, 14, 15)
_CURVES: dict[int, tuple[float, ...]] = {
  **dict.fromkeys(_BT709_LIKE, _SHOWN_BT709),
  4: (2.2,),
  5: (2.8,),
  7: (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4.0, 0.0912),
  8: (1.0,),
  13: _SRGB_CURVE,
  17: (2.6,),
}
_SRGB_AS_GAMMA = 2.2  # as most PNGs say it
_UNSPECIFIED = 2
HDR = {16: 'PQ', 18: 'HLG'}  # transfers that 8 bits cannot hold
LEVELS = (b'mDCV', b'cLLI')  # a PNG's chunks: the display, and the picture
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
  [
    [0.8951, 0.2664, -0.1614],
    [-0.7502, 1.7135, 0.0367],
    [0.0389, -0.0685, 1.0296],
  ]
)


@dataclasses.dataclass(frozen=True)
class ColourTags:
  """What a file states of its colours.

  Attributes:
    cicp: primaries and transfer function, by ITU-T H.273's numbers.
    gamma: the exponent that makes light of levels.
    chromaticities: x and y of white, red, green and blue.
    chunks: a PNG's own, as they stood there.
    levels: a PNG's of the light that HDR is made for, beside its cICP.
  """

  cicp: tuple[int, int] | None = None
  gamma: float | None = None
  chromaticities: tuple[float, ...] | None = None
  chunks: tuple[png.Chunk, ...] = ()
  levels: tuple[png.Chunk, ...] = ()

  @property
  def hdr(self) -> str:
    """'PQ' or 'HLG'; '' for what a profile can say."""
    return HDR.get(self.cicp[1], '') if self.cicp else ''

  def icc_profile(self, is_gray: bool) -> bytes | None:
    """A profile of the same colours; None where they are sRGB's, or HDR."""
    primaries: tuple[float, ...] = _BT709
    curve: tuple[float, ...] = _SRGB_CURVE
    if self.cicp:
      if self.hdr:
        return None
      primaries = _PRIMARIES.get(self.cicp[0], _BT709)
      if self.chunks or self.cicp[1] not in _BT709_LIKE:
        curve = _CURVES.get(self.cicp[1], _SRGB_CURVE)
    elif self.gamma:  # primaries alone are taken for none by browsers
      primaries = self.chromaticities or _BT709
      is_srgb = np.allclose(primaries, _BT709, atol=1e-3)
      if not is_srgb or abs(self.gamma - _SRGB_AS_GAMMA) > 0.01:
        curve = (self.gamma,)
    if (primaries, curve) == (_BT709, _SRGB_CURVE):
      return None
    return _profile(primaries, curve, is_gray)


def of_png(metadata: png.Metadata) -> ColourTags | None:
  """What a PNG without a usable iCCP chunk states; cICP stands above all."""
  levels = tuple(c for c in metadata.chunks if c.kind in LEVELS)
  order = (b'cICP', b'sRGB', b'gAMA', b'cHRM')
  found = {kind: metadata.find(kind) for kind in order}
  own = tuple(
    png.Chunk(k, data) for k, data in found.items() if data is not None
  )
  cicp, srgb, raw_gamma, raw_primaries = found.values()
  if cicp and len(cicp) == 4:
    return ColourTags(cicp=(cicp[0], cicp[1]), chunks=own, levels=levels)
  if metadata.icc_profile or not own:
    return None
  if srgb is not None:
    return ColourTags(chunks=own)
  gamma = chromaticities = None
  if raw_gamma and len(raw_gamma) == 4 and any(raw_gamma):
    gamma = 100_000 / int.from_bytes(raw_gamma)
  if raw_primaries and len(raw_primaries) == 32:
    values = tuple(v / 100_000 for v in struct.unpack('>8I', raw_primaries))
    if _is_a_triangle(values):
      chromaticities = values
  return ColourTags(gamma=gamma, chromaticities=chromaticities, chunks=own)


def of_cicp(cicp: tuple[int, int] | None) -> ColourTags | None:
  """What nclx states; None where that is nothing."""
  if cicp in (None, (_UNSPECIFIED, _UNSPECIFIED)):
    return None
  return ColourTags(cicp=cicp)


def gray_profile(profile: bytes) -> bytes | None:
  """An RGB profile's for its grays; None where it has not one curve for all."""
  tags = {profile[at : at + 4]: at for at in range(132, len(profile) - 11, 12)}
  curves = set()
  for name in (b'rTRC', b'gTRC', b'bTRC'):
    if name not in tags or b'A2B0' in tags:
      return None
    start, size = struct.unpack_from('>II', profile, tags[name] + 4)
    curves.add(profile[start : start + size])
  at = tags[b'rTRC']
  head = profile[:16] + b'GRAY' + profile[20:84] + bytes(16)  # no checksum
  whole = head + profile[100:at] + b'kTRC' + profile[at + 4 :]
  return whole if len(curves) == 1 else None


def _is_a_triangle(values: Sequence[float]) -> bool:
  """Whether primaries and white can be told apart, and have light at all."""
  if min(values[1::2]) <= 0:
    return False
  return abs(np.linalg.det(_xyz_of(values[2:]))) > 1e-6


def _xyz_of(points: Sequence[float]) -> np.ndarray:
  """Columns of X, Y, Z at Y = 1 for x, y, x, y, ...."""
  x, y = np.array(points[::2]), np.array(points[1::2])
  return np.stack([x / y, np.ones_like(x), (1 - x - y) / y])


def _profile(
  primaries: Sequence[float], curve: Sequence[float], is_gray: bool
) -> bytes:
  """An ICC profile, version 4, of a display with these colours."""
  white = _xyz_of(primaries[:2])[:, 0]
  columns = _xyz_of(primaries[2:])
  rgb = columns * np.linalg.solve(columns, white)
  cones = _BRADFORD @ _D50 / (_BRADFORD @ white)
  adapted = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD
  kind = 3 if len(curve) > 1 else 0
  para = b'para' + struct.pack('>IHH', 0, kind, 0) + _fixed(curve)
  tags = [
    (b'desc', _text('colours as in the file')),
    (b'cprt', _text('CC0')),
    (b'wtpt', b'XYZ \0\0\0\0' + _fixed(_D50)),
    (b'chad', b'sf32\0\0\0\0' + _fixed(adapted.ravel())),
  ]
  if is_gray:
    tags.append((b'kTRC', para))
  else:
    for name, column in zip('rgb', (adapted @ rgb).T, strict=True):
      tags.append((f'{name}XYZ'.encode(), b'XYZ \0\0\0\0' + _fixed(column)))
      tags.append((f'{name}TRC'.encode(), para))
  table, body = b'', b''
  start = 128 + 4 + 12 * len(tags)
  for signature, data in tags:
    table += signature + struct.pack('>II', start + len(body), len(data))
    body += data + bytes(-len(data) % 4)
  space = b'GRAY' if is_gray else b'RGB '
  head = struct.pack(
    '>I4sI4s4s4s12s4sI4s8s8sI12s',
    start + len(body), b'', 0x04300000, b'mntr', space, b'XYZ ',
    struct.pack('>6H', 2020, 1, 1, 0, 0, 0), b'acsp', 0, b'', b'', b'', 0,
    _fixed(_D50),
  ).ljust(128, b'\0')  # fmt: skip
  # Rendering intent and attributes are 0: perceptual, reflective.
  return head + struct.pack('>I', len(tags)) + table + body


def _fixed(values: Sequence[float] | np.ndarray) -> bytes:
  return struct.pack(f'>{len(values)}i', *(round(v * 65536) for v in values))


def _text(text: str) -> bytes:
  data = text.encode('utf-16-be')
  head = struct.pack('>III2s2sII', 0, 1, 12, b'en', b'US', len(data), 28)
  return b'mluc' + head + data
