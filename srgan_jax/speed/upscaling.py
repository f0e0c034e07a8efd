"""Times upscaling, with other runtimes in turns where they are installed.

  python -m srgan_jax.speed.upscaling [--model=srresnet] [--side=64,128,256]
    [--calls=5] [--json=FILE]

Each picture is random, uint8 in and uint8 out, in turns within one run, so that
other work on the machine meets all. PyTorch runs the same network in eager
mode, on the CPU or where JAX has an NVIDIA GPU there; ONNX Runtime and OpenVINO
run the file that `srgan_jax.export` writes, on CPUs alone. All compute in
float32, without TF32.

  seconds           of one picture: the median of the calls, and the fastest
  megapixels_per_s  of the result, by the median
  first_s           of the first call, which compiles
  ratio             our throughput over the other's, by the medians
  difference        between the two results at most, in levels of 255
"""

from collections.abc import Callable, Sequence
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax
import numpy as np

from srgan_jax import SCALE, cli, files, pretrained, upscaling, weights
from srgan_jax.models.generator import Generator

# From uint8 RGB [H, W, 3] to uint8 [4H, 4W, 3].
Run = Callable[[np.ndarray], np.ndarray]


def measure(runs: dict[str, Run], side: int, calls: int) -> dict[str, Any]:
  """Times all of `runs` in turns on one picture of side x side pixels."""
  lr = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
  results: dict[str, np.ndarray] = {}
  seconds: dict[str, list[float]] = {name: [] for name in runs}
  for _ in range(1 + calls):
    for name, run in runs.items():
      start = time.perf_counter()
      results[name] = run(lr)
      seconds[name].append(time.perf_counter() - start)
  figures: dict[str, Any] = {'side': side}
  for name, (first, *times) in seconds.items():
    median = float(np.median(times))
    figures[name] = {
      'first_s': first,
      'seconds': median,
      'fastest_s': min(times),
      'megapixels_per_s': (SCALE * side) ** 2 / 1e6 / median,
    }
    if name != 'jax':
      difference = results[name].astype(int) - results['jax']
      figures[name]['difference'] = int(np.abs(difference).max())
      figures[name]['ratio'] = median / figures['jax']['seconds']
  return figures


def open_runs(model: pathlib.Path) -> tuple[dict[str, Run], list[str]]:
  """Ours and the runtimes that are installed, and lines on those left out.

  Raises:
    ValueError: one line: the file is no generator.
  """
  generator, variables, _ = weights.load_generator(model)
  runs: dict[str, Run] = {'jax': upscaling.Upscaler(generator, variables)}
  notes = []
  with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder) / 'generator.onnx'
    makers: dict[str, Callable[[], Run]] = {
      'torch': lambda: _in_torch(generator, variables),
      'onnxruntime': lambda: _in_onnxruntime(_onnx(model, file)),
      'openvino': lambda: _in_openvino(_onnx(model, file)),
    }
    for name, make in makers.items():
      if name != 'torch' and jax.default_backend() != 'cpu':
        notes.append(f'{name}: left out, it is timed on CPUs alone')
        continue
      try:
        runs[name] = make()
      except ImportError as error:
        notes.append(f'{name}: left out, {error.name} is not installed')
      except ValueError as error:
        notes.append(f'{name}: left out, {error}')
  return runs, notes


def _in_torch(generator: Generator, variables: Any) -> Run:
  """PyTorch in eager mode: channels last, float32 without TF32.

  Raises:
    ValueError: for a generator that differs from the paper's in more than its
      size.
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


def _in_onnxruntime(file: pathlib.Path) -> Run:
  import onnxruntime

  session = onnxruntime.InferenceSession(
    str(file), providers=['CPUExecutionProvider']
  )
  name = session.get_inputs()[0].name
  return lambda lr: _from_planes(session.run(None, {name: _planes(lr)})[0])


def _in_openvino(file: pathlib.Path) -> Run:
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


def _onnx(model: pathlib.Path, file: pathlib.Path) -> pathlib.Path:
  """The model as ONNX, written by the command."""
  if not file.exists():
    command = [sys.executable, '-m', 'srgan_jax.export', str(model)]
    result = subprocess.run(
      [*command, '-o', str(file)], capture_output=True, text=True
    )
    if result.returncode:
      raise ValueError(result.stderr.strip())
  return file


def _row(name: str, figures: dict[str, Any]) -> str:
  text = (
    f'{name}: {figures["seconds"]:.3f} s ({figures["megapixels_per_s"]:.2f} '
    f'MP/s, first {figures["first_s"]:.1f} s)'
  )
  if name != 'jax':
    text += f', ratio {figures["ratio"]:.2f}, difference '
    text += str(figures['difference'])
  return text


def _sides(text: str) -> list[int]:
  return list(map(cli.number(1, 2**14), text.split(',')))


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = cli.parser(__doc__)
  parser.add_argument(
    '--model', default='srresnet', help='a shipped name or a weights file'
  )
  parser.add_argument('--side', type=_sides, default='64,128,256')
  parser.add_argument('--calls', type=cli.number(1, 10**6), default=5)
  parser.add_argument('--json', type=pathlib.Path)
  options = parser.parse_args(arguments)
  with cli.failing_in_a_line('benchmark_upscale'):
    model = pretrained.find(options.model)
    if options.json:
      files.require_place(options.json, model)
    runs, notes = open_runs(model)
  for note in notes:
    print(note)
  results = []
  for side in options.side:
    figures = measure(runs, side, options.calls)
    results.append(figures)
    for name in runs:
      print(f'{side}x{side} {_row(name, figures[name])}', flush=True)
  if options.json:
    report = {
      'device': jax.devices()[0].device_kind,
      'jax': jax.__version__,
      'results': results,
    }
    files.write_json(options.json, report)


if __name__ == '__main__':
  cli.run(main)
