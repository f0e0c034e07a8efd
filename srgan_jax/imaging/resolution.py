"""The resolution of pixels in dots an inch, and their aspect without a unit."""

import fractions
import math

from srgan_jax.imaging import ifd

X, Y, UNIT = 0x11A, 0x11B, 0x128  # tags of TIFF and EXIF
_INCH, _CENTIMETRE = 2, 3

Dpi = tuple[float, float]  # horizontally and vertically
Aspect = tuple[int, int]  # pixels along equal sides


def plausible(x: float, y: float) -> Dpi | None:
  """Dots an inch, if they are plausible."""
  return (x, y) if 1 < min(x, y) and max(x, y) < 1e6 else None


def aspect(x: float, y: float) -> Aspect | None:
  """Pixels along equal sides, if they are plausible and not square."""
  if min(x, y) <= 0 or max(x, y) > 100 * min(x, y):
    return None
  ratio = fractions.Fraction(x / y).limit_denominator(600)
  return None if ratio == 1 else ratio.as_integer_ratio()


def of_fields(fields: ifd.Fields) -> tuple[Dpi | None, Aspect | None]:
  """What the fields of a TIFF or an EXIF block state, one of both or none."""
  x, y = fields.fraction(X), fields.fraction(Y)
  unit = fields.number(UNIT, _INCH)
  scale = {_INCH: 1.0, _CENTIMETRE: 2.54}.get(unit, 0.0)
  return plausible(scale * x, scale * y), None if scale else aspect(x, y)


def is_same(one: Dpi | None, other: Dpi | None) -> bool:
  """Whether two resolutions are, but for the rounding of a format."""
  if one is None or other is None:
    return False
  pairs = zip(one, other, strict=True)
  return all(math.isclose(a, b, rel_tol=1e-2) for a, b in pairs)
