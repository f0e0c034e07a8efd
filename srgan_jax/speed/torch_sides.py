"""The two sides of `torch_comparison`: a stage's update, PyTorch's and ours."""

import gc
from typing import Any

import jax
import numpy as np
import torch
from torch.nn import functional as F

from srgan_jax import sharding
from srgan_jax.data.batch import Batch
from srgan_jax.speed import stand_ins, torch_networks
from srgan_jax.training import optimizers, stages
from srgan_jax.training.setup import Setup

# Of a loss, relative: sums run in another order.
_TOLERANCE = 2e-3
_WARM_UP = 3  # updates before a CUDA graph is captured


class Trainer:
  """One side: the stage's update in PyTorch, from our weights, on one batch.

  `torch_comparison` has the variants; `exact` is whether D pads as ours does
  (`torch_networks.Discriminator`).
  """

  updates = 1  # in a call

  def __init__(
    self,
    setup: Setup,
    stage: stages.Stage,
    state: Any,
    batch: Batch,
    *,
    variant: str,
    device: str,
    exact: bool = False,
  ):
    self.objective, self.device = stage.objective, device
    self.is_gan = stage.name == stages.GAN
    self.autocast = torch.autocast(
      device, torch.bfloat16, enabled=setup.dtype.name == 'bfloat16'
    )
    nchw = lambda x: torch_networks.tensor(np.moveaxis(np.asarray(x), 3, 1)).to(
      device
    )
    self.lr, self.hr = nchw(batch.lr), nchw(batch.hr)
    self.generator = torch_networks.Generator(
      setup.generator.blocks, setup.generator.channels
    )
    torch_networks.load(self.generator, state.generator.variables)
    if self.is_gan and self.objective.freeze_batch_norm:
      self.generator.eval()
    networks: list[Any] = [self.generator]
    self.discriminator: Any = None
    self.features: Any = None
    if self.is_gan:
      self.discriminator = torch_networks.Discriminator(
        setup.discriminator.channels, setup.config.crop_size, exact
      )
      torch_networks.load(self.discriminator, state.discriminator.variables)
      networks.append(self.discriminator)
    if stage.content.perceptual is not None and stage.content.layer:
      self.features = torch_networks.Features(
        stage.content.perceptual, stage.content.layer
      )
      networks.append(self.features)
    for network in networks:
      network.to(device)
      if variant != 'eager':
        network.to(memory_format=torch.channels_last)
    if variant != 'eager':
      self.lr, self.hr = (
        x.to(memory_format=torch.channels_last) for x in (self.lr, self.hr)
      )
    self.adams = self._make_adams(float(stage.schedule(0)), variant)
    if variant in ('compile', 'graphs'):
      for network in networks:
        network.compile()
    self._graph: Any = None
    self._losses: dict[str, torch.Tensor] = {}
    if variant == 'graphs':
      self._graph, self._losses = self._capture()

  def _make_adams(self, rate: float, variant: str) -> list[torch.optim.Adam]:
    trained = [self.generator, self.discriminator]
    return [
      torch.optim.Adam(
        network.parameters(),
        rate,
        fused=self.device == 'cuda',
        capturable=variant == 'graphs',
      )
      for network in trained
      if network is not None
    ]

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
    return self._gan_step() if self.is_gan else self._pretrain_step()

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
    gc.collect()  # an older graph that goes during the capture would end it
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

  def _tv(self, sr: torch.Tensor) -> torch.Tensor:
    rows = (sr[:, :, 1:] - sr[:, :, :-1]).abs().sum((1, 2, 3))
    columns = (sr[:, :, :, 1:] - sr[:, :, :, :-1]).abs().sum((1, 2, 3))
    return (rows + columns).mean()

  def _pretrain_step(self) -> dict[str, torch.Tensor]:
    with self.autocast:
      sr = self.generator(self.lr).float()
      loss = content = self._content(sr)
    if self.objective.tv_weight:
      loss = content + self.objective.tv_weight * self._tv(sr)
    self.adams[0].zero_grad(set_to_none=True)
    loss.backward()
    self.adams[0].step()
    return {'loss': loss.detach(), 'content': content.detach()}

  def _gan_step(self) -> dict[str, torch.Tensor]:
    with self.autocast:
      sr = self.generator(self.lr).float()
      self.discriminator.requires_grad_(True)
      real = self.discriminator(self.hr)
      fake = self.discriminator(sr.detach())
    d_loss = (F.softplus(-real) + F.softplus(fake)).mean()
    self.adams[1].zero_grad(set_to_none=True)
    d_loss.backward()
    self.adams[1].step()
    self.discriminator.requires_grad_(False)
    with self.autocast:
      logits = self.discriminator(sr)
      content = self._content(sr)
    adversarial = F.softplus(-logits).mean()
    loss = content + self.objective.adversarial_weight * adversarial
    self.adams[0].zero_grad(set_to_none=True)
    loss.backward()
    self.adams[0].step()
    return {
      'loss': loss.detach(),
      'content': content.detach(),
      'adversarial': adversarial.detach(),
      'discriminator_loss': d_loss.detach(),
    }


class Ours:
  """The other side: the compiled program of a training run.

  Its batch is `rows`, as a loader gives it; `updates` are in a call.
  """

  def __init__(self, setup: Setup, stage: stages.Stage, rows: Any):
    self._update = stand_ins.make_update(
      setup, stage, setup.mesh, setup.config.batch_norm
    )
    self._state = setup.place_state(stage, setup.initial)
    self.updates: int = setup.config.steps_per_call
    self._rows = sharding.shard_batches([rows] * self.updates, setup.mesh)
    self._rates = optimizers.rates(stage.schedule, self.updates)
    self._perceptual = setup.placed_perceptual(stage)
    self._metrics: dict[str, jax.Array] = {}

  def step(self) -> dict[str, jax.Array]:
    """A call; returns the metrics of its updates."""
    self._state, self._metrics = self._update(
      self._state, self._rows, self._rates, None, self._perceptual
    )
    return self._metrics

  def synchronize(self) -> None:
    """Waits for the device."""
    jax.block_until_ready(self._metrics)


def compare(ours: Ours, theirs: Trainer) -> list[dict[str, float]]:
  """The relative differences of the losses in each of two updates.

  The second update's have no bound: Adam's first one is the sign of every
  gradient, also of one that is nearly 0. On CPU, with the paper's networks and
  4 crops of 64x64, the first differ by 3e-5 at most, the second by 6e-3.

  Raises:
    ValueError: where the first update's are more than rounding.
  """
  differences = []
  for _ in range(2):
    metrics, losses = ours.step(), theirs.step()
    each = {}
    for name, value in losses.items():
      mine, other = float(metrics[name][0]), float(value)
      each[name] = abs(mine - other) / (abs(other) or 1.0)
    differences.append(each)
  if not all(value <= _TOLERANCE for value in differences[0].values()):
    raise ValueError(f'the two sides differ: {differences[0]}')
  return differences
