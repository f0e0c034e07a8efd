"""A stage's update in PyTorch, for `torch_comparison`."""

import gc
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from srgan_jax.data.batch import make_batch
from srgan_jax.speed import torch_networks
from srgan_jax.training import stages
from srgan_jax.training.setup import Setup

_WARM_UP = 3  # updates before a CUDA graph is captured


class Trainer:
  """One side: the stage's update in PyTorch, from our weights, on one batch.

  The batch is `rows`, as a loader gives them. `torch_comparison` has the
  variants; `exact` is whether D pads as ours does
  (`torch_networks.Discriminator`).
  """

  updates = 1  # in a call

  def __init__(
    self,
    setup: Setup,
    stage: stages.Stage,
    rows: Any,
    *,
    variant: str,
    device: str,
    exact: bool = False,
  ):
    self.objective, self.device = stage.objective, device
    self.autocast = torch.autocast(
      device, torch.bfloat16, enabled=setup.dtype.name == 'bfloat16'
    )
    batch = make_batch(**rows)
    self.lr, self.hr = (
      torch_networks.tensor(np.moveaxis(np.asarray(x), 3, 1)).to(device)
      for x in (batch.lr, batch.hr)
    )
    self.generator, self.discriminator, self.features = _make_networks(
      setup, stage, exact
    )
    networks = [
      network
      for network in (self.generator, self.discriminator, self.features)
      if network is not None
    ]
    for network in networks:
      network.to(device)
    if variant != 'eager':
      for network in networks:
        network.to(memory_format=torch.channels_last)
      self.lr, self.hr = (
        x.to(memory_format=torch.channels_last) for x in (self.lr, self.hr)
      )
    self.adams = [
      torch.optim.Adam(
        network.parameters(),
        float(stage.schedule(0)),
        fused=device == 'cuda',
        capturable=variant == 'graphs',
      )
      for network in (self.generator, self.discriminator)
      if network is not None
    ]
    if variant in ('compile', 'graphs'):
      for network in networks:
        network.compile()
    self._graph: Any = None
    self._losses: dict[str, torch.Tensor] = {}
    if variant == 'graphs':
      self._graph, self._losses = self._capture()

  def step(self) -> dict[str, torch.Tensor]:
    """An update; with a CUDA graph every one writes the same tensors."""
    if self._graph is None:
      return self._update()
    self._graph.replay()
    return self._losses

  def synchronize(self) -> None:
    """Waits for the device."""
    if self.device == 'cuda':
      torch.cuda.synchronize()

  def _update(self) -> dict[str, torch.Tensor]:
    if self.discriminator is None:
      return self._pretrain_step()
    return self._gan_step()

  def _capture(self) -> tuple[torch.cuda.CUDAGraph, dict[str, torch.Tensor]]:
    """The whole update as a CUDA graph, and the losses that it writes.

    As PyTorch's notes on CUDA graphs have it. The stream is one, since autograd
    and cuBLAS keep what they know of the warm-up's.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
      for _ in range(_WARM_UP):
        self._update()
    for adam in self.adams:  # the graph has gradients of its own
      adam.zero_grad(set_to_none=True)
    gc.collect()  # freeing an older graph during the capture would end it
    graph = torch.cuda.CUDAGraph()
    # The threads of JAX may use the device meanwhile.
    with torch.cuda.graph(
      graph, stream=stream, capture_error_mode='thread_local'
    ):
      losses = self._update()
    return graph, losses

  def _content(self, sr: torch.Tensor) -> torch.Tensor:
    if self.features is None:
      return F.mse_loss(sr, self.hr)
    with torch.no_grad():
      target = self.features(self.hr)
    squares = (self.features(sr) - target).square()
    if self.objective.content_reduction == 'mean':
      content = squares.mean()
    else:
      content = squares.sum(1).mean()
    if self.objective.pixel_weight:
      content = content + self.objective.pixel_weight * F.mse_loss(sr, self.hr)
    return content

  def _descend(self, index: int, loss: torch.Tensor) -> None:
    """An update of G (0) or D (1)."""
    self.adams[index].zero_grad(set_to_none=True)
    loss.backward()
    self.adams[index].step()

  def _pretrain_step(self) -> dict[str, torch.Tensor]:
    with self.autocast:
      sr = self.generator(self.lr).float()
      loss = content = self._content(sr)
    if self.objective.tv_weight:
      loss = content + self.objective.tv_weight * _total_variation(sr)
    self._descend(0, loss)
    return {'loss': loss.detach(), 'content': content.detach()}

  def _gan_step(self) -> dict[str, torch.Tensor]:
    with self.autocast:
      sr = self.generator(self.lr).float()
      self.discriminator.requires_grad_(True)
      real = self.discriminator(self.hr)
      fake = self.discriminator(sr.detach())
    d_loss = (F.softplus(-real) + F.softplus(fake)).mean()
    self._descend(1, d_loss)
    self.discriminator.requires_grad_(False)
    with self.autocast:
      logits = self.discriminator(sr)
      content = self._content(sr)
    adversarial = F.softplus(-logits).mean()
    loss = content + self.objective.adversarial_weight * adversarial
    self._descend(0, loss)
    return {
      'loss': loss.detach(),
      'content': content.detach(),
      'adversarial': adversarial.detach(),
      'discriminator_loss': d_loss.detach(),
    }


def _make_networks(
  setup: Setup, stage: stages.Stage, exact: bool
) -> tuple[Any, Any, Any]:
  """G, D or None, and VGG or None, with our weights."""
  state: Any = setup.create_state(stage, setup.initial)
  discriminator = features = None
  generator = torch_networks.Generator(
    setup.generator.blocks, setup.generator.channels
  )
  torch_networks.load(generator, state.generator.variables)
  if stage.name == stages.GAN:
    discriminator = torch_networks.Discriminator(
      setup.discriminator.channels, setup.config.crop_size, exact
    )
    torch_networks.load(discriminator, state.discriminator.variables)
    if stage.objective.freeze_batch_norm:
      generator.eval()
  if stage.content.perceptual is not None and stage.content.layer:
    features = torch_networks.Features(
      stage.content.perceptual, stage.content.layer
    )
  return generator, discriminator, features


def _total_variation(sr: torch.Tensor) -> torch.Tensor:
  rows = (sr[:, :, 1:] - sr[:, :, :-1]).abs().sum((1, 2, 3))
  columns = (sr[:, :, :, 1:] - sr[:, :, :, :-1]).abs().sum((1, 2, 3))
  return (rows + columns).mean()
