"""Other runtimes that upscale by the same weights, for `speed.upscaling`.

Each function gives a call from uint8 RGB [H, W, 3] to uint8 [4H, 4W, 3], or
raises an ImportError where its package is not installed.
"""

from collections.abc import Callable
import pathlib
from typing import Any

import jax
import numpy as np

from srgan_jax.models.generator import Generator

Run = Callable[[np.ndarray], np.ndarray]


def in_torch(generator: Generator, variables: Any) -> Run:
  """PyTorch in eager mode: channels last, float32 without TF32.

  On the CPU, or where JAX has an NVIDIA GPU there. ValueError for a generator
  that is not the paper's (but for its size).
  """
  import torch

  from srgan_jax.speed import torch_networks

  if generator != Generator(generator.blocks, generator.channels):
    raise ValueError(f'{generator} is not as the paper has it')
  torch.backends.cudnn.allow_tf32 = False
  on_gpu = jax.default_backend() == 'gpu' and torch.cuda.is_available()
  device = torch.device('cuda' if on_gpu else 'cpu')
  network = torch_networks.Generator(generator.blocks, generator.channels)
  torch_networks.load(network, jax.device_get(variables))
  network.eval().to(device, memory_format=torch.channels_last)

  def run(lr: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
      x = torch.from_numpy(lr).to(device)[None].permute(0, 3, 1, 2)
      x = x.to(torch.float32, memory_format=torch.channels_last) / 255
      y = ((network(x) + 1) * 127.5).clamp(0, 255) + 0.5
      return y.to(torch.uint8)[0].permute(1, 2, 0).cpu().numpy()

  return run


def in_onnxruntime(file: pathlib.Path) -> Run:
  """ONNX Runtime on the CPU, by an `.onnx` file of `srgan_jax.export`."""
  import onnxruntime

  session = onnxruntime.InferenceSession(
    str(file), providers=['CPUExecutionProvider']
  )
  name = session.get_inputs()[0].name
  return lambda lr: _from_planes(session.run(None, {name: _planes(lr)})[0])


def in_openvino(file: pathlib.Path) -> Run:
  """OpenVINO on the CPU in float32, by the same file."""
  import openvino

  compiled = openvino.Core().compile_model(
    str(file),
    'CPU',
    {'INFERENCE_PRECISION_HINT': 'f32', 'PERFORMANCE_HINT': 'LATENCY'},
  )
  return lambda lr: _from_planes(compiled([_planes(lr)])[0])


def _planes(lr: np.ndarray) -> np.ndarray:
  """uint8 [H, W, 3] to float32 [1, 3, H, W] in [0, 1]."""
  planes = lr.transpose(2, 0, 1)[None].astype(np.float32)
  return planes / np.float32(255)


def _from_planes(sr: np.ndarray) -> np.ndarray:
  """float32 [1, 3, H, W] in [0, 1] to uint8 [H, W, 3]."""
  levels = sr[0].transpose(1, 2, 0) * np.float32(255) + np.float32(0.5)
  return levels.clip(0, 255).astype(np.uint8)
