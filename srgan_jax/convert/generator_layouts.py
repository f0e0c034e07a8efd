"""How others lay out SRResNet: the names of their arrays and their conventions.

`folding` says what is done with these tables. Every layout was read in the code
of the repository that it is named by.
"""

from collections.abc import Sequence
import dataclasses
from typing import Literal

from srgan_jax.models import vgg

Range = Literal['unit', 'signed', 'imagenet']

Triple = tuple[float, float, float]

# What an input range takes off [0, 1], and what it then divides by.
INPUT_RANGES: dict[Range, tuple[Triple, Triple]] = {
  'unit': ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
  'signed': ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
  'imagenet': (vgg.TORCHVISION.mean, vgg.TORCHVISION.std),
}
OUTPUT_RANGES: tuple[Range, ...] = ('unit', 'signed')


@dataclasses.dataclass(frozen=True)
class Convention:
  """What a generator's arrays do not show.

  Attributes:
    input_range: of the LR image; None where the layout's author changed it.
    output_range: of the HR image; None likewise.
    tanh: whether it ends in one.
  """

  input_range: Range | None
  output_range: Range | None
  tanh: bool

  def override(
    self, input_range: Range | None, output_range: Range | None
  ) -> 'Convention':
    """The same with the ranges that are given."""
    return Convention(
      input_range or self.input_range,
      output_range or self.output_range,
      self.tanh,
    )


@dataclasses.dataclass(frozen=True)
class Layout:
  """A PyTorch SRResNet's names. Its BN epsilon is PyTorch's.

  Attributes:
    name: whose it is.
    convention: of its images.
    conv_in: the first convolution; then its PReLU.
    block: a residual block, `{}` its number.
    parts: of a block: convolution, BN, PReLU, convolution, BN.
    conv_mid: the convolution behind the blocks; then its BN (or PReLU).
    upsamples: convolution and PReLU of each, and a BN between or ''.
    conv_out: the last convolution.
    first_block: the number of the first block.
  """

  name: str
  convention: Convention
  conv_in: tuple[str, str]
  block: str
  parts: tuple[str, str, str, str, str]
  conv_mid: tuple[str, str]
  upsamples: Sequence[tuple[str, str, str]]
  conv_out: str
  first_block: int = 0

  def slots(self, blocks: int) -> dict[str, str]:
    """Their prefix for each of our layers."""
    ours = {'conv_in': self.conv_in[0], 'prelu_in': self.conv_in[1]}
    for i in range(blocks):
      block = self.block.format(i + self.first_block)
      for ours_name, part in zip(BLOCK, self.parts, strict=True):
        ours[f'block_{i}/{ours_name}'] = f'{block}.{part}'
    ours |= {'conv_mid': self.conv_mid[0], 'norm_mid': self.conv_mid[1]}
    for i, (conv, prelu, norm) in enumerate(self.upsamples):
      ours |= {f'upsample_{i}/conv': conv, f'upsample_{i}/prelu': prelu}
      if norm:
        ours[f'upsample_{i}/norm'] = norm
    return ours | {'conv_out': self.conv_out}


def _both(conv: str, prelu: str) -> list[tuple[str, str, str]]:
  """`Layout.upsamples` without a BN, by names with `{}` for 0 and 1."""
  return [(conv.format(i), prelu.format(i), '') for i in range(2)]


BLOCK = ('conv_0', 'norm_0', 'prelu', 'conv_1', 'norm_1')
_NAMED = ('conv1', 'bn1', 'prelu', 'conv2', 'bn2')
_UNIT = Convention('unit', 'unit', tanh=False)

# A PyTorch generator of ours is written in this one.
LORNATANG = Layout(
  name='Lornatang/SRGAN-PyTorch of 2022 and later',
  convention=_UNIT,
  conv_in=('conv1.0', 'conv1.1'),
  block='trunk.{}',
  parts=('rcb.0', 'rcb.1', 'rcb.2', 'rcb.3', 'rcb.4'),
  conv_mid=('conv2.0', 'conv2.1'),
  upsamples=_both(
    'upsampling.{}.upsample_block.0', 'upsampling.{}.upsample_block.2'
  ),
  conv_out='conv3',
)
_LORNATANG_2021 = dataclasses.replace(
  LORNATANG,
  name='Lornatang/SRGAN-PyTorch 0.2 of 2021',
  parts=_NAMED,
  upsamples=_both('subpixel_conv.{}.conv', 'subpixel_conv.{}.prelu'),
)
# Its pictures' ranges changed from version to version, its names did not.
_LORNATANG_TANH = dataclasses.replace(
  _LORNATANG_2021,
  name='Lornatang/SRGAN-PyTorch 0.3 of 2021, with a tanh',
  convention=Convention(None, None, tanh=True),
  conv_out='conv3.0',
)
_LORNATANG_2020 = dataclasses.replace(
  _LORNATANG_TANH,
  name='Lornatang/SRGAN-PyTorch 0.1 of 2020',
  block='residual_blocks.{}',
  upsamples=(
    ('upsampling.0', 'upsampling.3', 'upsampling.1'),
    ('upsampling.4', 'upsampling.7', 'upsampling.5'),
  ),
)

LAYOUTS = (
  Layout(
    name='sgrvinod/a-PyTorch-Tutorial-to-Super-Resolution',
    convention=Convention('imagenet', 'signed', tanh=True),
    conv_in=('conv_block1.conv_block.0', 'conv_block1.conv_block.1'),
    block='residual_blocks.{}',
    parts=(
      'conv_block1.conv_block.0',
      'conv_block1.conv_block.1',
      'conv_block1.conv_block.2',
      'conv_block2.conv_block.0',
      'conv_block2.conv_block.1',
    ),
    conv_mid=('conv_block2.conv_block.0', 'conv_block2.conv_block.1'),
    upsamples=_both(
      'subpixel_convolutional_blocks.{}.conv',
      'subpixel_convolutional_blocks.{}.prelu',
    ),
    conv_out='conv_block3.conv_block.0',
  ),
  Layout(
    # Its (tanh + 1) / 2 is [0, 1]: the tanh itself is ours.
    name='leftthomas/SRGAN',
    convention=Convention('unit', 'signed', tanh=True),
    conv_in=('block1.0', 'block1.1'),
    block='block{}',
    first_block=2,
    parts=_NAMED,
    conv_mid=('block7.0', 'block7.1'),
    upsamples=_both('block8.{}.conv', 'block8.{}.prelu'),
    conv_out='block8.2',
  ),
  LORNATANG,
  dataclasses.replace(
    LORNATANG,
    name='Lornatang/SRGAN-PyTorch of early 2022',
    conv_in=('conv_block1.0', 'conv_block1.1'),
    conv_mid=('conv_block2.0', 'conv_block2.1'),
    conv_out='conv_block3',
  ),
  _LORNATANG_2021,
  _LORNATANG_TANH,
  _LORNATANG_2020,
)
KRASSERM = 'krasserm/super-resolution (Keras)'
KRASSERM_CONVENTION = Convention('unit', 'signed', tanh=True)
KNOWN = (KRASSERM, *(layout.name for layout in LAYOUTS))

# Their names of a layer's arrays, and ours.
TORCH_PARTS = {
  'conv': {'weight': 'kernel', 'bias': 'bias'},
  'norm': {
    'weight': 'scale',
    'bias': 'bias',
    'running_mean': 'mean',
    'running_var': 'var',
  },
  'prelu': {'weight': 'slope'},
}
KERAS_PARTS = {
  'kernel': 'kernel',
  'bias': 'bias',
  'gamma': 'scale',
  'beta': 'bias',
  'moving_mean': 'mean',
  'moving_variance': 'var',
  'alpha': 'slope',
}
KERAS_KINDS = {
  frozenset({'kernel', 'bias'}): 'c',
  frozenset({'gamma', 'beta', 'moving_mean', 'moving_variance'}): 'n',
  frozenset({'alpha'}): 'p',
}


def kind_of(slot: str) -> str:
  """The kind of one of our layers, by its path: conv, norm, prelu, dense."""
  return slot.split('/')[-1].split('_')[0]
