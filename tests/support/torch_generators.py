"""SRResNet as others build it in PyTorch, written after their layouts.

Small, with random parameters and statistics. Each comes with what its
repository does to LR images before it and to its output after it.
"""

import math

import torch
from torch import nn

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _conv(inputs, outputs, size=3, bias=True):
  return nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias)


class _Named(nn.Module):
  """A Sequential of this name; with a skip connection where asked for."""

  def __init__(self, name, *layers, skip=False):
    super().__init__()
    self.add_module(name, nn.Sequential(*layers))
    self.name, self.skip = name, skip

  def forward(self, x):
    y = getattr(self, self.name)(x)
    return x + y if self.skip else y


def _conv_block(*layers):
  """sgrvinod's."""
  return _Named('conv_block', *layers)


class _SgrvinodBlock(nn.Module):
  def __init__(self, c):
    super().__init__()
    self.conv_block1 = _conv_block(_conv(c, c), nn.BatchNorm2d(c), nn.PReLU())
    self.conv_block2 = _conv_block(_conv(c, c), nn.BatchNorm2d(c))

  def forward(self, x):
    return self.conv_block2(self.conv_block1(x)) + x


class _NamedBlock(nn.Module):
  def __init__(self, c, bias):
    super().__init__()
    self.conv1 = _conv(c, c, bias=bias)
    self.bn1 = nn.BatchNorm2d(c)
    self.prelu = nn.PReLU()
    self.conv2 = _conv(c, c, bias=bias)
    self.bn2 = nn.BatchNorm2d(c)

  def forward(self, x):
    y = self.prelu(self.bn1(self.conv1(x)))
    return x + self.bn2(self.conv2(y))


class _NamedUpsample(nn.Module):
  def __init__(self, c):
    super().__init__()
    self.conv = _conv(c, 4 * c)
    self.pixel_shuffle = nn.PixelShuffle(2)
    self.prelu = nn.PReLU()

  def forward(self, x):
    return self.prelu(self.pixel_shuffle(self.conv(x)))


class _Generator(nn.Module):
  """The common structure; the names of its five parts are the layout's."""

  def __init__(self, **parts):
    super().__init__()
    for name, part in parts.items():
      self.add_module(name, part)
    self.order = list(parts)

  def forward(self, x):
    conv_in, trunk, conv_mid, upsample, conv_out = (
      getattr(self, name) for name in self.order
    )
    first = conv_in(x)
    return conv_out(upsample(first + conv_mid(trunk(first))))


class Leftthomas(nn.Module):
  def __init__(self, c, middle):
    super().__init__()
    self.block1 = nn.Sequential(_conv(3, c, 9), nn.PReLU())
    for i in range(2, 7):
      self.add_module(f'block{i}', _NamedBlock(c, bias=True))
    self.block7 = nn.Sequential(_conv(c, c), middle)
    self.block8 = nn.Sequential(
      _NamedUpsample(c), _NamedUpsample(c), _conv(c, 3, 9)
    )

  def forward(self, x):
    y = first = self.block1(x)
    for i in range(2, 7):
      y = getattr(self, f'block{i}')(y)
    return (torch.tanh(self.block8(first + self.block7(y))) + 1) / 2


def sgrvinod(c, blocks, upsamples=2, large=9):
  return _Generator(
    conv_block1=_conv_block(_conv(3, c, large), nn.PReLU()),
    residual_blocks=nn.Sequential(*[_SgrvinodBlock(c) for _ in range(blocks)]),
    conv_block2=_conv_block(_conv(c, c), nn.BatchNorm2d(c)),
    subpixel_convolutional_blocks=nn.Sequential(
      *[_NamedUpsample(c) for _ in range(upsamples)]
    ),
    conv_block3=_conv_block(_conv(c, 3, large), nn.Tanh()),
  )


def lornatang_2022(c, blocks, slopes=1, conv='conv'):
  normalized = lambda: (_conv(c, c, bias=False), nn.BatchNorm2d(c))
  block = lambda: _Named(
    'rcb', *normalized(), nn.PReLU(slopes), *normalized(), skip=True
  )
  upsample = lambda: _Named(
    'upsample_block', _conv(c, 4 * c), nn.PixelShuffle(2), nn.PReLU(slopes)
  )
  return _Generator(
    **{
      f'{conv}1': nn.Sequential(_conv(3, c, 9), nn.PReLU(slopes)),
      'trunk': nn.Sequential(*[block() for _ in range(blocks)]),
      f'{conv}2': nn.Sequential(*normalized()),
      'upsampling': nn.Sequential(upsample(), upsample()),
      f'{conv}3': _conv(c, 3, 9),
    }
  )


def _lornatang_2021(c, blocks, conv_out):
  return _Generator(
    conv1=nn.Sequential(_conv(3, c, 9), nn.PReLU()),
    trunk=nn.Sequential(*[_NamedBlock(c, bias=False) for _ in range(blocks)]),
    conv2=nn.Sequential(_conv(c, c, bias=False), nn.BatchNorm2d(c)),
    subpixel_conv=nn.Sequential(_NamedUpsample(c), _NamedUpsample(c)),
    conv3=conv_out,
  )


def _lornatang_2020(c, blocks):
  upsampling = []
  for _ in range(2):
    upsampling += [
      _conv(c, 4 * c, bias=False),
      nn.BatchNorm2d(4 * c),
      nn.PixelShuffle(2),
      nn.PReLU(),
    ]
  return _Generator(
    conv1=nn.Sequential(_conv(3, c, 9, bias=False), nn.PReLU()),
    residual_blocks=nn.Sequential(
      *[_NamedBlock(c, bias=False) for _ in range(blocks)]
    ),
    conv2=nn.Sequential(_conv(c, c, bias=False), nn.BatchNorm2d(c)),
    upsampling=nn.Sequential(*upsampling),
    conv3=nn.Sequential(_conv(c, 3, 9, bias=False), nn.Tanh()),
  )


# By name: how it is made, what it takes, what it gives, what the command needs.
C = 6
LAYOUTS = {
  'sgrvinod': (lambda: sgrvinod(C, 1), 'imagenet', 'signed', []),
  'sgrvinod, smaller kernels': (
    lambda: sgrvinod(C, 1, large=5), 'imagenet', 'signed', [],
  ),
  'leftthomas': (
    lambda: Leftthomas(C, nn.BatchNorm2d(C)), 'unit', 'unit', [],
  ),
  'leftthomas, before its BN': (
    lambda: Leftthomas(C, nn.PReLU()), 'unit', 'unit', [],
  ),
  'Lornatang 2022': (lambda: lornatang_2022(C, 2), 'unit', 'unit', []),
  'Lornatang early 2022': (
    lambda: lornatang_2022(C, 2, conv='conv_block'), 'unit', 'unit', [],
  ),
  'Lornatang 0.2': (
    lambda: _lornatang_2021(C, 2, _conv(C, 3, 9)), 'unit', 'unit', [],
  ),
  'Lornatang 0.3': (
    lambda: _lornatang_2021(C, 1, nn.Sequential(_conv(C, 3, 9), nn.Tanh())),
    'imagenet', 'signed',
    ['--input-range', 'imagenet', '--output-range', 'signed'],
  ),
  'Lornatang 0.1': (
    lambda: _lornatang_2020(C, 1), 'signed', 'signed',
    ['--input-range', 'signed', '--output-range', 'signed'],
  ),
}  # fmt: skip


def randomize(module, seed=0):
  """Every parameter and statistic away from its initial value."""
  generator = torch.Generator().manual_seed(seed)
  uniform = lambda like, low, high: torch.empty_like(like).uniform_(
    low, high, generator=generator
  )
  with torch.no_grad():
    for name, value in module.state_dict().items():
      if name.endswith('num_batches_tracked'):
        value.fill_(7)
      elif value.ndim == 4:  # keeps the size of what goes through it
        bound = math.sqrt(3 / value[0].numel())
        value.copy_(uniform(value, -bound, bound))
      elif name.endswith('running_var'):
        value.copy_(uniform(value, 0.5, 2))
      else:
        value.copy_(uniform(value, -0.5, 0.5))
  return module.eval()


def upscale(module, lr, input_range, output_range):
  """What the module makes of LR [N, H, W, 3] in [0, 1], in [-1, 1]."""
  x = torch.from_numpy(lr).permute(0, 3, 1, 2)
  if input_range == 'signed':
    x = 2 * x - 1
  elif input_range == 'imagenet':
    mean, deviation = (torch.tensor(v).reshape(3, 1, 1) for v in IMAGENET)
    x = (x - mean) / deviation
  with torch.no_grad():
    y = module(x).permute(0, 2, 3, 1).numpy()
  return 2 * y - 1 if output_range == 'unit' else y
