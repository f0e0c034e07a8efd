"""Times upscaling, beside PyTorch where it is installed.

  python -m srgan_jax.speed.upscaling [--model=FILE] [--side=64,128,256]
    [--calls=5] [--tile=N] [--precision=float32] [--json=FILE]

Each picture is random, uint8 in and uint8 out, in turns within one run, so that
other work on the machine meets both. PyTorch runs the same network in eager
mode, channels last, in `inference_mode`, on the CPU or where JAX has an NVIDIA
GPU there, float32 without TF32. Without --model the network has random weights
in the paper's size.

  seconds           of one picture: the median of the calls, and the fastest
  megapixels_per_s  of the result, by the median
  first_s           of the first call, which compiles
  ratio             our throughput over PyTorch's, by the medians
  difference        between the two results at most, in levels of 255
"""

from collections.abc import Callable, Sequence
import json
import pathlib
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from srgan_jax import cli, files, pretrained, weights
from srgan_jax.models.generator import SCALE, Generator
from srgan_jax.upscaling import upscaler

Run = Callable[[np.ndarray], np.ndarray]


def measure(runs: dict[str, Run], side: int, calls: int) -> dict[str, Any]:
  """Times all of `runs` in turns on one picture of side x side pixels."""
  lr = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
  figures: dict[str, Any] = {'side': side}
  results, first = {}, {}
  for name, run in runs.items():
    start = time.perf_counter()
    results[name] = run(lr)
    first[name] = time.perf_counter() - start
  seconds: dict[str, list[float]] = {name: [] for name in runs}
  for _ in range(calls):
    for name, run in runs.items():
      start = time.perf_counter()
      run(lr)
      seconds[name].append(time.perf_counter() - start)
  for name, times in seconds.items():
    median = float(np.median(times))
    figures[name] = {
      'first_s': first[name],
      'seconds': median,
      'fastest_s': min(times),
      'megapixels_per_s': (SCALE * side) ** 2 / 1e6 / median,
    }
  if 'torch' in runs:
    ours, theirs = (results[name].astype(int) for name in ('jax', 'torch'))
    figures['difference'] = int(np.abs(ours - theirs).max())
    times = [figures[name]['seconds'] for name in ('torch', 'jax')]
    figures['ratio'] = times[0] / times[1]
  return figures


def in_torch(generator: Generator, variables: Any) -> Run | None:
  """The same network in PyTorch, or None where that is not installed."""
  try:
    import torch
    from torch import nn
  except ImportError:
    return None
  torch.backends.cudnn.allow_tf32 = False
  on_gpu = jax.default_backend() == 'gpu' and torch.cuda.is_available()
  device = torch.device('cuda' if on_gpu else 'cpu')
  params = jax.device_get(variables['params'])
  stats = jax.device_get(variables['batch_stats'])
  tensor = lambda x: torch.from_numpy(np.array(x))

  def conv(layer: Any) -> nn.Module:
    kernel = layer['kernel']
    size, _, inputs, outputs = kernel.shape
    module = nn.Conv2d(
      inputs, outputs, size, padding=size // 2, bias='bias' in layer
    )
    module.weight.data = tensor(kernel.transpose(3, 2, 0, 1))
    if module.bias is not None:
      module.bias.data = tensor(layer['bias'])
    return module

  def norm(layer: Any, running: Any) -> nn.Module:
    module = nn.BatchNorm2d(layer['scale'].size)
    module.weight.data, module.bias.data = map(
      tensor, (layer['scale'], layer['bias'])
    )
    module.running_mean, module.running_var = map(
      tensor, (running['mean'], running['var'])
    )
    return module

  def prelu(layer: Any) -> nn.Module:
    module = nn.PReLU(layer['slope'].size)
    module.weight.data = tensor(layer['slope'])
    return module

  class Sum(nn.Module):
    def __init__(self, *modules: nn.Module):
      super().__init__()
      self.body = nn.Sequential(*modules)

    def forward(self, x: Any) -> Any:
      return x + self.body(x)

  def block(name: str) -> nn.Module:
    layer, running = params[name], stats[name]
    return Sum(
      conv(layer['conv_0']),
      norm(layer['norm_0'], running['norm_0']),
      prelu(layer['prelu']),
      conv(layer['conv_1']),
      norm(layer['norm_1'], running['norm_1']),
    )

  network = nn.Sequential(
    conv(params['conv_in']),
    prelu(params['prelu_in']),
    Sum(
      *(block(f'block_{i}') for i in range(generator.blocks)),
      conv(params['conv_mid']),
      norm(params['norm_mid'], stats['norm_mid']),
    ),
    *(
      module
      for layer in (params['upsample_0'], params['upsample_1'])
      for module in (
        conv(layer['conv']), nn.PixelShuffle(2), prelu(layer['prelu'])
      )
    ),
    conv(params['conv_out']),
  )  # fmt: skip
  if generator.output == 'tanh':
    network.append(nn.Tanh())
  network = network.eval().to(device, memory_format=torch.channels_last)

  def run(lr: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
      x = torch.from_numpy(lr).to(device)[None].permute(0, 3, 1, 2)
      x = x.to(torch.float32, memory_format=torch.channels_last) / 255
      y = ((network(x) + 1) * 127.5).clamp(0, 255) + 0.5
      return y.to(torch.uint8)[0].permute(1, 2, 0).cpu().numpy()

  return run


def _random_network() -> tuple[Generator, Any]:
  generator = Generator()
  init = jax.jit(lambda key, x: generator.init(key, x, train=False))
  return generator, init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = cli.parser(__doc__)
  parser.add_argument('--model', help='a shipped name or a weights file')
  parser.add_argument('--side', default='64,128,256')
  parser.add_argument('--calls', type=int, default=5)
  parser.add_argument('--tile', default='auto')
  parser.add_argument('--precision', default='float32')
  parser.add_argument('--json', type=pathlib.Path)
  options = parser.parse_args(arguments)
  try:
    if options.model:
      path = pretrained.find(options.model)
      generator, variables, _ = weights.load_generator(path)
    else:
      generator, variables = _random_network()
    runs: dict[str, Run] = {
      'jax': upscaler.Upscaler(
        generator,
        variables,
        tile=options.tile if options.tile == 'auto' else int(options.tile),
        precision=options.precision,
      )
    }
    sides = [int(side) for side in options.side.split(',')]
  except ValueError as error:
    sys.exit(f'benchmark_upscale: {error}')
  if theirs := in_torch(generator, variables):
    runs['torch'] = theirs
  results = []
  for side in sides:
    figures = measure(runs, side, options.calls)
    results.append(figures)
    parts = [f'{side}x{side}:']
    for name in runs:
      entry = figures[name]
      parts.append(
        f'{name} {entry["seconds"]:.3f} s '
        f'({entry["megapixels_per_s"]:.2f} MP/s, '
        f'first {entry["first_s"]:.1f} s)'
      )
    if 'ratio' in figures:
      parts.append(f'ratio {figures["ratio"]:.2f}')
      parts.append(f'difference {figures["difference"]}')
    print(' '.join(parts), flush=True)
  if options.json:
    device = jax.devices()[0]
    report = {
      'device': device.device_kind,
      'jax': jax.__version__,
      'precision': options.precision,
      'results': results,
    }
    files.write_text(options.json, json.dumps(report, indent=2) + '\n')


if __name__ == '__main__':
  main()
