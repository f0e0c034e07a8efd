"""Figure 7: PSNR and reconstruction time against depth, with and without skips.

  python -m srgan_jax.paper.depth_sweep -o runs/depth --hr data/BSD100/HR \
    --blocks 1,2,4,8,16 --steps 100000 --config.data.source=tar:photos/*.tar

For every number of residual blocks an SRResNet-MSE is trained as
configs/srresnet_mse.py says, once with its skip connections (the residual
blocks' sums and the long one) and once without: the same convolutions as a
plain chain. Any other field of that config can be overridden. Each run has a
folder of its own, so a sweep that was stopped can be run again: it scores and
times the finished networks without training them. Sweeps over other depths can
share a folder, one after the other or on a GPU each. Then the folder holds

  results.json, results.csv   depth, PSNR and SSIM, seconds, parameters
  figure7.png                 both against depth (needs matplotlib: the extra
                              `figures`)

PSNR is the mean over the benchmark, in the protocol named (docs/protocols.md).
The time is of one call of the upscaler on a random 64x64 LR image, uint8 in
and out: the mean of 100 calls, float32, after one that compiles. The paper
prints its curves, on BSD100, as a figure alone.
"""

import argparse
from collections.abc import Collection, Mapping, Sequence
import itertools
import json
import pathlib
import sys
import time
from typing import Any

import jax
import numpy as np

import srgan_jax
from srgan_jax import cli, files, tables, upscaling, weights
from srgan_jax.evaluation import benchmarks, methods, report
from srgan_jax.models import layers
from srgan_jax.paper import own_fields
from srgan_jax.training import config_files, interruption
from srgan_jax.training.config_files import ConfigDict
from srgan_jax.training.setup import Setup
from srgan_jax.weights import architecture

_SIDE = 64  # of the LR image that is timed, in pixels
_CALLS = 100
_PROTOCOLS = ('paper', 'y')  # those with an SSIM
_WEIGHTS = 'generator.safetensors'
_RESULTS = 'results.json'
_FIELDS = (
  *('blocks', 'skip_connections', 'steps', 'parameters'),
  *('psnr', 'ssim', 'seconds', 'seconds_median'),
)
_OWN_FIELDS = {
  'model.blocks': 'give --blocks',
  'model.skip_connections': 'both are trained',
  'stages.pretrain.steps': 'give --steps',
}

Point = dict[str, Any]  # a network's figures, by _FIELDS


def sweep(
  config: ConfigDict,
  blocks: Sequence[int],
  output: pathlib.Path,
  benchmark: benchmarks.Benchmark,
  *,
  protocol: str,
) -> dict[str, Any]:
  """Trains every network that is not finished yet; scores and times all.

  The config's depth and connections are replaced. Returns what `results.json`
  in the folder `output` holds, which is rewritten after every network; other
  networks that it has stay, where they were trained and measured as these.

  Raises:
    ValueError: as `run.Run`, or where that file is damaged.
    interruption.Interrupted: after SIGTERM or Ctrl-C, once the run is saved.
  """
  from srgan_jax.training import lock  # takes the extra, unlike --help

  _read(output)  # refused before anything is trained
  facts: dict[str, Any] = {
    'version': srgan_jax.__version__,
    'hr': str(benchmark.files[0].parent),
    'images': len(benchmark),
    'protocol': protocol,
    'device': jax.devices()[0].device_kind,
    'bicubic': _score(methods.BASELINES['bicubic'], benchmark, protocol)[0],
  }
  networks = list(itertools.product(blocks, (True, False)))
  points: list[Point] = []
  results = facts | {'points': points}
  for network in networks:
    path = _train(_configure(config, *network), _folder(output, *network))
    points.append(_measure(path, benchmark, protocol))
    with lock.held(output):
      others = _others(output, facts, config, networks)
      results = facts | {'points': sorted(others + points, key=_order)}
      _write(output, results)
    print(_describe(points[-1], protocol), flush=True)
  return results


def draw(results: Mapping[str, Any], path: pathlib.Path) -> None:
  """Draws figure 7 from what `sweep` returns.

  Raises:
    ValueError: one line, where matplotlib is not installed.
  """
  try:
    from matplotlib import figure as figure_lib
  except ImportError as error:
    raise ValueError(
      'the results are written; the figure needs matplotlib: '
      f'{cli.install("figures")} and run this again'
    ) from error
  points = results['points']
  steps = ' and '.join(f'{n:,}' for n in sorted({p['steps'] for p in points}))
  # Without pyplot: nothing global, and no display is looked for.
  figure = figure_lib.Figure(figsize=(9, 3.6), layout='constrained')
  left, right = figure.subplots(1, 2)
  for skip, label, style in (
    (True, 'with skip connections', {'color': 'tab:blue', 'marker': 'o'}),
    (False, 'without', {'color': 'tab:orange', 'marker': 's'}),
  ):
    chosen = [p for p in points if p['skip_connections'] == skip]
    depths = [p['blocks'] for p in chosen]
    left.plot(depths, [p['psnr'] for p in chosen], label=label, **style)
    times = [1000 * p['seconds'] for p in chosen]
    right.plot(depths, times, label=label, **style)
  left.axhline(results['bicubic'], color='0.5', linestyle='--', label='bicubic')
  left.set_ylabel(f'PSNR in dB (protocol {results["protocol"]})')
  left.set_title(f'{benchmarks.set_name(results["hr"])}, {steps} steps')
  right.set_ylabel('time in ms')
  right.set_title(
    f'{_SIDE}x{_SIDE} to {4 * _SIDE}x{4 * _SIDE}, {results["device"]}, '
    f'mean of {_CALLS}'
  )
  right.set_ylim(0, 1100 * max(p['seconds'] for p in points))
  for axes in (left, right):
    axes.set_xlabel('residual blocks')
    axes.set_xticks(sorted({p['blocks'] for p in points}))
    axes.grid(alpha=0.3)
    axes.legend()
  with files.replacing(path) as beside:
    figure.savefig(beside, format='png', dpi=150)


def _configure(config: ConfigDict, depth: int, skip: bool) -> ConfigDict:
  config = config.copy_and_resolve_references()
  config.model.blocks = depth
  config.model.skip_connections = skip
  return config


def _folder(output: pathlib.Path, depth: int, skip: bool) -> pathlib.Path:
  return output / f'blocks_{depth:02d}{"" if skip else "_plain"}'


def _train(config: ConfigDict, folder: pathlib.Path) -> pathlib.Path:
  """Trains a run to its end, if it has not ended; returns its weights."""
  if not _has_ended(config, folder):
    from srgan_jax.training.run import Run  # takes the extra, unlike --help

    Run(Setup(config), folder).train()  # which refuses another run's folder
  return folder / _WEIGHTS


def _has_ended(config: ConfigDict, folder: pathlib.Path) -> bool:
  """Whether a folder has the weights of a run with this config."""
  path = folder / _WEIGHTS
  if not path.exists():
    return False
  _, metadata = weights.load(path, 'generator')
  as_read = json.loads(json.dumps(config.to_dict()))  # tuples are lists
  return bool(metadata['training']['config'] == as_read)


def _measure(
  path: pathlib.Path, benchmark: benchmarks.Benchmark, protocol: str
) -> Point:
  """A point of the figure: one network.

  PSNR (dB) and SSIM are means over the benchmark; seconds are of one
  reconstruction: the mean, and the median, in which other work shows less.
  """
  generator, variables, metadata = weights.load_generator(path)
  upscaler = upscaling.Upscaler(generator, variables)
  psnr, ssim = _score(methods.of_upscaler('', upscaler), benchmark, protocol)
  seconds = _time(upscaler)
  return {
    'blocks': generator.blocks,
    'skip_connections': generator.skip_connections,
    'steps': metadata['training']['steps'],
    'parameters': layers.parameter_count(variables['params']),
    'psnr': psnr,
    'ssim': ssim,
    'seconds': float(np.mean(seconds)),
    'seconds_median': float(np.median(seconds)),
  }


def _time(upscaler: upscaling.Upscaler) -> list[float]:
  """Seconds of each of the reconstructions of a random LR image."""
  rng = np.random.default_rng(0)
  lr = rng.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
  upscaler(lr)  # compiles
  seconds = []
  for _ in range(_CALLS):
    start = time.perf_counter()
    upscaler(lr)  # a NumPy array: it waits for the device
    seconds.append(time.perf_counter() - start)
  return seconds


def _score(
  method: methods.Method, benchmark: benchmarks.Benchmark, protocol: str
) -> tuple[float, float]:
  mean = report.evaluate(method, benchmark, [protocol]).mean
  return mean[protocol, 'psnr'], mean[protocol, 'ssim']


def _read(output: pathlib.Path) -> dict[str, Any]:
  """The results that a folder has; without points where it has none.

  Raises:
    ValueError: one line naming the file that is damaged.
  """
  path = output / _RESULTS
  if not path.exists():
    return {'points': []}
  results = files.read_json(path)
  points = results.get('points') if isinstance(results, dict) else None
  if not isinstance(points, list) or not all(map(_is_point, points)):
    raise ValueError(f'{path} is damaged: it has no points of networks')
  return results


def _is_point(point: Any) -> bool:
  return isinstance(point, dict) and all(
    isinstance(point.get(field), int | float) for field in _FIELDS
  )


def _order(point: Point) -> tuple[int, bool]:
  return point['blocks'], not point['skip_connections']


def _others(
  output: pathlib.Path,
  facts: Mapping[str, Any],
  config: ConfigDict,
  networks: Collection[tuple[int, bool]],
) -> list[Point]:
  """The points of other networks in a folder, if they are comparable.

  A line on stderr names those that were trained or measured in another way.
  """
  before = _read(output)
  # Of one folder with another spelling, bicubic gives the same.
  measured = all(before.get(k) == facts[k] for k in facts if k != 'hr')
  kept, lost = [], set()
  for point in before['points']:
    network = point['blocks'], point['skip_connections']
    if network in networks:
      continue
    if measured and _has_ended(
      _configure(config, *network), _folder(output, *network)
    ):
      kept.append(point)
    else:
      lost.add(point['blocks'])
  if lost:
    print(
      f'depth_sweep: {output / _RESULTS} does not keep the networks of '
      f'{", ".join(map(str, sorted(lost)))} blocks: they were trained or '
      'measured with other settings',
      file=sys.stderr,
      flush=True,
    )
  return kept


def _write(output: pathlib.Path, results: Mapping[str, Any]) -> None:
  files.write_json(output / _RESULTS, results)
  # The protocol's name stands with every figure.
  head = [
    f'{name}_{results["protocol"]}' if name in ('psnr', 'ssim') else name
    for name in _FIELDS
  ]
  rows = [[point[name] for name in _FIELDS] for point in results['points']]
  files.write_text(output / 'results.csv', tables.as_csv([head, *rows]))


def _describe(point: Mapping[str, Any], protocol: str) -> str:
  return (
    f'{point["blocks"]} blocks '
    f'{"with" if point["skip_connections"] else "without"} skip connections, '
    f'{point["steps"]} steps: PSNR {point["psnr"]:.3f} dB ({protocol}), '
    f'{1000 * point["seconds"]:.2f} ms'
  )


def parse_blocks(text: str) -> list[int]:
  """'1,2,4' as sorted numbers.

  Raises:
    argparse.ArgumentTypeError: for another form.
  """
  try:
    blocks = sorted({int(part) for part in text.split(',')})
  except ValueError:
    blocks = [0]
  most = architecture.LIMITS['blocks']
  if blocks[0] < 1 or blocks[-1] > most:
    raise argparse.ArgumentTypeError(
      f'{text!r} is not like 1,2,4, each from 1 to {most}'
    )
  return blocks


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = cli.parser(__doc__)
  add = parser.add_argument
  add('-o', '--output', type=pathlib.Path, required=True, metavar='DIR')
  add('--hr', required=True, metavar='DIR', help='the benchmark originals')
  add('--blocks', type=parse_blocks, default=[1, 2, 4, 8, 16], metavar='N,...')
  add('--steps', type=int, default=100_000, help='of every run')
  add('--protocol', choices=_PROTOCOLS, default='y')
  options, overrides = parser.parse_known_args(arguments)
  with interruption.command('depth_sweep'):
    own_fields.refuse(overrides, _OWN_FIELDS)
    config = config_files.load('srresnet_mse')
    config.stages.pretrain.steps = options.steps
    config_files.override(config, *overrides)
    results = sweep(
      config,
      options.blocks,
      options.output,
      benchmarks.Benchmark(options.hr, protocols=[options.protocol]),
      protocol=options.protocol,
    )
    draw(results, options.output / 'figure7.png')


if __name__ == '__main__':
  cli.run(main)
