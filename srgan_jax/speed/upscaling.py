"""Times upscaling, with other runtimes in turns where they are installed.

  python -m srgan_jax.speed.upscaling [--model=FILE] [--side=64,128,256]
    [--calls=5] [--tile=N] [--precision=float32] [--json=FILE]

Each picture is random, uint8 in and uint8 out, in turns within one run, so that
other work on the machine meets all. PyTorch runs the same network in eager
mode, on the CPU or where JAX has an NVIDIA GPU there; ONNX Runtime and OpenVINO
run the file that `srgan_jax.export` writes, on CPUs alone. All compute in
float32, without TF32. Without --model the network has random weights in the
paper's size.

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
import jax.numpy as jnp
import numpy as np

from srgan_jax import SCALE, cli, files, pretrained, weights
from srgan_jax.models.generator import Generator
from srgan_jax.speed import runtimes
from srgan_jax.speed.runtimes import Run
from srgan_jax.upscaling import upscaler
from srgan_jax.weights import architecture


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
    if name != 'jax':
      difference = results[name].astype(int) - results['jax']
      figures[name]['difference'] = int(np.abs(difference).max())
      figures[name]['ratio'] = median / figures['jax']['seconds']
  return figures


def others(
  model: pathlib.Path, generator: Generator, variables: Any
) -> tuple[dict[str, Run], list[str]]:
  """The other runtimes that are installed, and lines on those left out.

  Args:
    model: the weights file.
    generator: what it holds.
    variables: likewise.
  """
  runs: dict[str, Run] = {}
  notes = []
  with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder) / 'generator.onnx'
    makers: dict[str, Callable[[], Run]] = {
      'torch': lambda: runtimes.in_torch(generator, variables),
      'onnxruntime': lambda: runtimes.in_onnxruntime(_onnx(model, file)),
      'openvino': lambda: runtimes.in_openvino(_onnx(model, file)),
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


def _save_random_network(path: pathlib.Path) -> None:
  generator = Generator()
  init = jax.jit(lambda key, x: generator.init(key, x, train=False))
  weights.save_generator(
    path,
    init(jax.random.key(0), jnp.zeros((1, 8, 8, 3))),
    architecture=architecture.of_generator(generator),
    training={},
  )


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
  with tempfile.TemporaryDirectory() as folder:
    model = pathlib.Path(folder) / 'random.safetensors'
    with cli.failing_in_a_line('benchmark_upscale'):
      if options.model:
        model = pretrained.find(options.model)
      else:
        _save_random_network(model)
      generator, variables, _ = weights.load_generator(model)
      tile = options.tile if options.tile == 'auto' else int(options.tile)
      ours = upscaler.Upscaler(
        generator, variables, tile=tile, precision=options.precision
      )
      sides = [int(side) for side in options.side.split(',')]
    theirs, notes = others(model, generator, variables)
  for note in notes:
    print(note)
  results = []
  for side in sides:
    figures = measure({'jax': ours, **theirs}, side, options.calls)
    results.append(figures)
    for name in ('jax', *theirs):
      print(f'{side}x{side} {_row(name, figures[name])}', flush=True)
  if options.json:
    report = {
      'device': jax.devices()[0].device_kind,
      'jax': jax.__version__,
      'precision': options.precision,
      'results': results,
    }
    files.write_json(options.json, report)


def _row(name: str, figures: dict[str, Any]) -> str:
  text = (
    f'{name}: {figures["seconds"]:.3f} s ({figures["megapixels_per_s"]:.2f} '
    f'MP/s, first {figures["first_s"]:.1f} s)'
  )
  if name != 'jax':
    text += f', ratio {figures["ratio"]:.2f}, difference '
    text += str(figures['difference'])
  return text


if __name__ == '__main__':
  cli.run(main)
