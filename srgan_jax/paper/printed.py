"""The figures that the paper prints (tables 1 and 2), and its methods' names.

PSNR in dB and SSIM are the protocol `paper`'s; MOS is the mean opinion score,
1 to 5. Ledig et al. 2017, arXiv:1609.04802 v5.
"""

from collections.abc import Iterator
import itertools

# The columns of each table. HR has no PSNR and no SSIM.
TABLES = {
  # Content losses, on Set5 and Set14 alone.
  'Table 1': (
    'SRResNet-MSE',
    'SRResNet-VGG22',
    'SRGAN-MSE',
    'SRGAN-VGG22',
    'SRGAN-VGG54',
  ),
  # Methods.
  'Table 2': (
    'nearest',
    'bicubic',
    'SRCNN',
    'SelfExSR',
    'DRCN',
    'ESPCN',
    'SRResNet-MSE',
    'SRGAN-VGG54',
    'HR',
  ),
}
SETS = ('Set5', 'Set14', 'BSD100')
TABLE_1_SETS = ('Set5', 'Set14')

# Short names, as table 2 has them.
_ALIASES = {
  'srresnet': 'SRResNet-MSE',
  'srgan': 'SRGAN-VGG54',
  'original': 'HR',
}

_MEASURES = ('psnr', 'ssim', 'mos')
# Of each method PSNR, SSIM and MOS on Set5, Set14 and, in table 2, BSD100.
_PRINTED = """
  nearest        26.26 0.7552 1.28  24.64 0.7100 1.20  25.02 0.6606 1.11
  bicubic        28.43 0.8211 1.97  25.99 0.7486 1.80  25.94 0.6935 1.47
  SRCNN          30.07 0.8627 2.57  27.18 0.7861 2.26  26.68 0.7291 1.87
  SelfExSR       30.33 0.8720 2.65  27.45 0.7972 2.34  26.83 0.7387 1.89
  DRCN           31.52 0.8938 3.26  28.02 0.8074 2.84  27.21 0.7493 2.12
  ESPCN          30.76 0.8784 2.89  27.66 0.8004 2.52  27.02 0.7442 2.01
  SRResNet-MSE   32.05 0.9019 3.37  28.49 0.8184 2.98  27.58 0.7620 2.29
  SRResNet-VGG22 30.51 0.8803 3.46  27.19 0.7807 3.15
  SRGAN-MSE      30.64 0.8701 3.77  26.92 0.7611 3.43
  SRGAN-VGG22    29.84 0.8468 3.78  26.44 0.7518 3.57
  SRGAN-VGG54    29.40 0.8472 3.58  26.02 0.7397 3.72  25.16 0.6688 3.56
  HR             - - 4.32           - - 4.32           - - 4.46
"""


def _parse() -> Iterator[tuple[tuple[str, str, str], float]]:
  for line in _PRINTED.strip().splitlines():
    method, *values = line.split()
    columns = itertools.product(SETS, _MEASURES)
    for (name, measure), value in zip(columns, values, strict=False):
      if value != '-':
        yield (name, method, measure), float(value)


# (set, method, measure) -> figure.
PRINTED = dict(_parse())

# Mean opinion scores significantly above those of the category's other losses.
STARRED = {('Set14', 'SRResNet-VGG22'), ('Set14', 'SRGAN-VGG54')}

_BY_LOWER = {name.lower(): name for _, name, _ in PRINTED} | _ALIASES


def canonical(method: str) -> str:
  """The paper's spelling of a method's name; another name as it is."""
  return _BY_LOWER.get(method.lower(), method)
