"""The paper's networks in PyTorch, with our weights; NCHW.

The other side of `torch_comparison`, and what tests compare ours with.
"""

from typing import Any

from flax import traverse_util
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from srgan_jax.models import vgg

# PyTorch's names of our parameters and statistics.
_NAMES = {
  'kernel': 'weight',
  'scale': 'weight',
  'slope': 'weight',
  'bias': 'bias',
  'mean': 'running_mean',
  'var': 'running_var',
}


class Generator(nn.Module):
  """SRResNet, its modules named as ours."""

  def __init__(self, blocks: int, channels: int):
    super().__init__()
    conv = lambda out, size, bias=False: nn.Conv2d(
      channels, out, size, padding=size // 2, bias=bias
    )
    self.conv_in = nn.Conv2d(3, channels, 9, padding=4)
    self.prelu_in = nn.PReLU(channels)
    self.blocks = [f'block_{i}' for i in range(blocks)]
    for name in self.blocks:
      parts = {
        'conv_0': conv(channels, 3),
        'norm_0': nn.BatchNorm2d(channels),
        'prelu': nn.PReLU(channels),
        'conv_1': conv(channels, 3),
        'norm_1': nn.BatchNorm2d(channels),
      }
      self.add_module(name, nn.ModuleDict(parts))
    self.conv_mid = conv(channels, 3)
    self.norm_mid = nn.BatchNorm2d(channels)
    for name in ('upsample_0', 'upsample_1'):
      sub_pixel = conv(4 * channels, 3, True)
      parts = {'conv': sub_pixel, 'prelu': nn.PReLU(channels)}
      self.add_module(name, nn.ModuleDict(parts))
    self.conv_out = conv(3, 9, True)

  def forward(self, lr: torch.Tensor) -> torch.Tensor:
    x = first = self.prelu_in(self.conv_in(lr))
    for b in map(self.get_submodule, self.blocks):
      y = b['prelu'](b['norm_0'](b['conv_0'](x)))
      x = x + b['norm_1'](b['conv_1'](y))
    x = first + self.norm_mid(self.conv_mid(x))
    for b in (self.upsample_0, self.upsample_1):
      x = b['prelu'](F.pixel_shuffle(b['conv'](x), 2))
    return self.conv_out(x)


class Discriminator(nn.Module):
  """The discriminator, its modules named as ours.

  With `exact` the strided convolutions pad as XLA's SAME does, below and to the
  right; else as PyTorch's own padding, which is the same work.
  """

  _LAYERS = ((1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2))

  def __init__(self, channels: int, side: int, exact: bool):
    super().__init__()
    self.exact = exact
    self.conv_0 = nn.Conv2d(3, channels, 3, padding=1)
    before = channels
    for i, (multiple, stride) in enumerate(self._LAYERS, start=1):
      padding = 0 if exact and stride == 2 else 1
      after = multiple * channels
      conv = nn.Conv2d(before, after, 3, stride, padding, bias=False)
      self.add_module(f'conv_{i}', conv)
      self.add_module(f'norm_{i}', nn.BatchNorm2d(after))
      before = after
    self.dense_0 = nn.Linear(before * (side // 16) ** 2, 16 * channels)
    self.dense_1 = nn.Linear(16 * channels, 1)

  def forward(self, images: torch.Tensor) -> torch.Tensor:
    x = F.leaky_relu(self.conv_0(images), 0.2)
    for i, (_, stride) in enumerate(self._LAYERS, start=1):
      if self.exact and stride == 2:
        x = F.pad(x, (0, 1, 0, 1))
      conv, norm = map(self.get_submodule, (f'conv_{i}', f'norm_{i}'))
      x = F.leaky_relu(norm(conv(x)), 0.2)
    x = x.permute(0, 2, 3, 1).flatten(1)
    return self.dense_1(F.leaky_relu(self.dense_0(x), 0.2))[:, 0].float()


class Features(nn.Module):
  """The VGG's features of a layer, scaled; images [N, 3, H, W] in [-1, 1]."""

  def __init__(self, network: vgg.PerceptualNetwork, layer: str):
    super().__init__()
    preprocessing = network.preprocessing
    self.is_bgr = preprocessing.channel_order == 'bgr'
    self.low, self.high = preprocessing.value_range
    column = lambda values: torch.tensor(values).float().reshape(1, 3, 1, 1)
    self.register_buffer('mean', column(preprocessing.mean))
    self.register_buffer('std', column(preprocessing.std))
    self.scale = dict(network.feature_scale)[layer]
    self.names = vgg.layers_up_to(network.depth, layer)
    self.convs = nn.ModuleList()
    for name in self.names:
      params = network.params[name]
      conv = nn.Conv2d(*params['kernel'].shape[2:], 3, padding=1)
      load(conv, params)
      self.convs.append(conv)
    self.requires_grad_(False)

  def forward(self, images: torch.Tensor) -> torch.Tensor:
    x = (images + 1) / 2 * (self.high - self.low) + self.low
    x = ((x.flip(1) if self.is_bgr else x) - self.mean) / self.std
    block = '1'
    for name, conv in zip(self.names, self.convs, strict=True):
      if name[4] != block:
        x, block = F.max_pool2d(x, 2), name[4]
      x = F.relu(conv(x))
    return x.float() * self.scale


def tensor(values: Any) -> torch.Tensor:
  """An array as a float32 tensor."""
  return torch.tensor(np.asarray(values, np.float32))


def load(module: nn.Module, variables: Any) -> None:
  """Copies the variables of our network of that kind into PyTorch's.

  `variables` are {'params', 'batch_stats'}, or the params of one layer alone.
  """
  state = {}
  for path, value in traverse_util.flatten_dict(variables, sep='.').items():
    path = path.removeprefix('params.').removeprefix('batch_stats.')
    *layer, name = path.split('.')
    axes = (3, 2, 0, 1) if np.ndim(value) == 4 else None  # None: reversed
    state['.'.join([*layer, _NAMES[name]])] = tensor(np.transpose(value, axes))
  module.load_state_dict(state)
