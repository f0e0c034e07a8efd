"""Trains the paper's five variants from one SRResNet-MSE, within a budget.

  python tools/train_recipe.py -o runs/recipe --data 'tar:photos/*.tar' \
    --vgg vgg19.safetensors --lpips lpips_alex.safetensors [--benchmarks DIR]
    [--train srresnet-mse=10m,srgan=8m,srgan-vgg22=2m,srgan-mse=1m,
     srresnet-vgg22=2m] [--hold-out 24] [--start DIR] [--config.FIELD=VALUE ...]

A variant's budget is a number of updates (20000), rounded up to whole calls, or
of minutes (8m). The minutes are all that it takes: planning, compilation, 20
validations (fewer where they are slow) and the updates, whose number follows
from the times of these here. Where the minutes are over sooner all the same,
training stops and the best so far is taken; with no validation yet, the other
variants go on and the command fails at its end. All but srresnet-mse start from
the folder's srresnet-mse. The data lie on the device (no TensorFlow), some of
them are held out, and of each variant the generator is kept that does best on
those: by PSNR for srresnet-mse, by LPIPS for the rest. It can be stopped at any
time: run again, it goes on, exactly.

DIR gets LABEL.safetensors of each variant (with VGG16, srgan-vgg16-conv5_3, for
instance), LABEL-discriminator.N-of-M.part, which are pieces of one file below
16 MB, recipe.json (updates, seconds, figures), curves.csv, curves.png where
matplotlib is installed, and with --benchmarks (a folder of Set5/HR, ...)
table1.{md,csv,png} and panels-SET.png of each set's first six images. What
travels is these files: --start takes such a folder and goes on from its
networks with fresh optimizers.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
import csv
import dataclasses
import io
import json
import pathlib
import re
import sys
import tempfile
import time
from typing import Any

import benchmark
import jax
from ml_collections import ConfigDict
import panels
import run_configs
import table1

from srgan_jax import (
  compilation_cache,
  files,
  interruption,
  stages,
  train,
  upscale,
  weights,
)

_RESNET = 'srresnet-mse'
_PLAN = (
  'srresnet-mse=10m,srgan=8m,srgan-vgg22=2m,srgan-mse=1m,srresnet-vgg22=2m'
)
_PART = 15 * 2**20  # bytes of a piece of a discriminator
_SAFETY = 0.85  # of the updates' time, for what is not measured
_CALLS = 5  # timed to plan by
_VALIDATIONS = 20  # of a variant, at most
_SHOWN = 6  # images of a set in its panels: no picture grows over 16 MB
_CURVES = ('psnr_y', 'lpips_alex', 'content', 'd_real', 'd_fake')


@dataclasses.dataclass(frozen=True)
class Variant:
  """A column of table 1: its config file, its stage and its name there."""

  config: str
  stage: str
  column: str


VARIANTS = {
  _RESNET: Variant('srresnet_mse', stages.PRETRAIN, 'SRResNet-MSE'),
  'srgan': Variant('vgg54', stages.GAN, 'SRGAN-VGG54'),
  'srgan-vgg22': Variant('vgg22', stages.GAN, 'SRGAN-VGG22'),
  'srgan-mse': Variant('mse', stages.GAN, 'SRGAN-MSE'),
  'srresnet-vgg22': Variant(
    'srresnet_vgg22', stages.PRETRAIN, 'SRResNet-VGG22'
  ),
}


@dataclasses.dataclass(frozen=True)
class Budget:
  """Updates, or minutes to find them by."""

  steps: int | None = None
  minutes: float | None = None

  @property
  def seconds(self) -> float:
    return float('inf') if self.minutes is None else 60 * self.minutes


class Recipe:
  """The variants in one folder; `recipe.json` in it says how far they are."""

  def __init__(self, options: argparse.Namespace, overrides: Sequence[str]):
    self.output: pathlib.Path = options.output
    self.options, self.overrides = options, overrides
    self.path = self.output / 'recipe.json'
    self.records: dict[str, Any] = {}
    if self.path.exists():
      self.records = json.loads(self.path.read_text(encoding='utf-8'))

  def train(self, name: str, budget: Budget) -> None:
    """Trains a variant to its end, unless it has ended.

    Where there is nothing to take at its minutes' end, or to start from, a line
    on stderr says so.

    Raises:
      interruption.Interrupted: after SIGTERM or Ctrl-C, once that is saved.
      ValueError: one line, as `train.Run`.
    """
    record = self.records.setdefault(name, {'seconds': 0.0, 'ended': False})
    if record['ended']:
      return
    first = self._first(name)
    if first and not first.exists():
      _warn(f'{name} starts from {first}, which there is not')
      return
    began, spent = time.monotonic(), record['seconds']
    deadline = began + budget.seconds - spent
    if 'steps' not in record:
      record |= self._plan(name, budget, deadline)
      self._save()
    config = self._config(name, record['steps'], record.get('validations'))
    print(f'{name}: {record["steps"]:,} updates', flush=True)
    run = train.Run(config, self.output / name)
    stage = run.stages[-1]
    try:
      run.train(deadline)
    except interruption.Interrupted:
      if time.monotonic() < deadline:
        raise
      print(f'{name}: its {budget.minutes:g} minutes are over', flush=True)
    finally:
      record['seconds'] = spent + time.monotonic() - began
      self._save()
    self._collect(name, stage)

  def _plan(self, name: str, budget: Budget, deadline: float) -> dict[str, int]:
    """How many updates and validations fit in before the deadline.

    Returns:
      'steps', whole calls and at least one, and 'validations'.
    """
    config = self._config(name, budget.steps or 1_000_000)
    unit = config.steps_per_call
    if budget.steps:
      steps = -(-budget.steps // unit) * unit  # a part of one compiles anew
      return {'steps': steps, 'validations': _VALIDATIONS}
    with tempfile.TemporaryDirectory() as scratch:
      began = time.monotonic()
      run = train.Run(config, pathlib.Path(scratch), opens_loader=False)
      preparing = time.monotonic() - began  # which training does again
      stage = run.stages[-1]
      figures = benchmark.measure(
        run, stage, benchmark.Synthetic(config), calls=_CALLS
      )
      validating = _time_validation(run, stage)
    # Again, as the program with the resident pictures is another one.
    preparing += figures['compile_s']
    left = deadline - time.monotonic() - preparing
    # Slow ones are fewer, so that half of the time goes into updates.
    validations = max(1, min(_VALIDATIONS, int(left / 2 / validating)))
    updating = _SAFETY * (left - validations * validating)
    steps = int(updating / (figures['step_ms']['median'] / 1000))
    return {
      'steps': max(unit, steps // unit * unit),
      'validations': validations,
    }

  def _config(
    self, name: str, steps: int, validations: int | None = None
  ) -> ConfigDict:
    options, variant = self.options, VARIANTS[name]
    config = run_configs.load(variant.config)
    config.data.source = options.data
    config.data.loader = 'resident'
    config.data.validation = f'hold-out:{options.hold_out}'
    config.data.lpips = options.lpips or ''
    config.perceptual.weights = options.vgg or ''
    config.ema_decay = 0.999
    if jax.default_backend() != 'cpu':
      config.steps_per_call = 20
    stage = config.stages[variant.stage]
    stage.steps = steps
    stage.warmup = min(500, steps // 10)
    if variant.stage == stages.PRETRAIN:
      stage.schedule, stage.learning_rate = 'cosine', 4e-4
    else:
      stage.boundaries = (steps // 2,)
    self._start(name, config)
    self._override(config)  # before the intervals: they are in whole calls
    unit = config.steps_per_call

    def interval(parts: int) -> int:
      return -(-steps // (parts * unit)) * unit

    config.log_every, config.save_every = interval(200), interval(10)
    config.validate_every = interval(validations or _VALIDATIONS)
    self._override(config)
    return config

  def _override(self, config: ConfigDict) -> None:
    for text in self.overrides:
      run_configs.override(config, text)

  def _first(self, name: str) -> pathlib.Path | None:
    """The generator that a variant starts from, if any."""
    if before := self._before(name):
      return self.options.start / f'{before["label"]}.safetensors'
    return self.output / f'{_RESNET}.safetensors' if name != _RESNET else None

  def _before(self, name: str) -> dict[str, Any] | None:
    """What the folder that is gone on from says of a variant."""
    return self.options.start and _record(self.options.start, name)

  def _start(self, name: str, config: ConfigDict) -> None:
    """Says which networks a variant starts from."""
    before, first = self._before(name), self._first(name)
    if VARIANTS[name].stage == stages.PRETRAIN:
      config.stages.pretrain.init_generator = str(first or '')
    else:
      config.init_generator = str(first)
    config.keep_best_by = 'psnr_y' if name == _RESNET else 'lpips_alex'
    if before and VARIANTS[name].stage == stages.GAN:
      path = self.output / name / 'start-discriminator.safetensors'
      if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        join(self.options.start, before['label'], path)
      config.init_discriminator = str(path)

  def _collect(self, name: str, stage: stages.Stage) -> None:
    """Takes out of a run that is over what is to travel, if there is any."""
    record, workdir = self.records[name], self.output / name
    best = workdir / stage.best_file_name
    if not best.exists():
      _warn(
        f'{name}: its minutes ended before the first validation; with more it '
        'goes on'
      )
      return
    _, metadata = weights.load(best, 'generator')
    with files.replacing(self.output / f'{stage.label}.safetensors') as beside:
      pathlib.Path(beside).write_bytes(best.read_bytes())
    if stage.name == stages.GAN:
      split(workdir / 'discriminator.safetensors', self.output, stage.label)
    record |= {
      'ended': True,
      'label': stage.label,
      'best_step': metadata['training']['steps'],
      'validation': metadata['training']['figures'],
      'device': jax.devices()[0].device_kind,
    }
    self._save()

  def _save(self) -> None:
    self.output.mkdir(parents=True, exist_ok=True)
    files.write_text(self.path, json.dumps(self.records, indent=2) + '\n')

  def save_curves(self) -> None:
    """Writes the curves of what has been trained so far, if anything."""
    curves = [
      line | {'variant': name}
      for name in self.records
      for line in _metrics(self.output / name / 'metrics.jsonl')
    ]
    if curves:
      write_curves(curves, self.output / 'curves.csv')
      draw_curves(curves, self.output / 'curves.png')

  def report(self) -> None:
    """Writes table and panels of what has ended."""
    if not self.options.benchmarks:
      return
    shown = [
      f'--method={VARIANTS[name].column}={self.output}/{record["label"]}'
      '.safetensors'
      for name, record in self.records.items()
      if record['ended']
    ]
    folder: pathlib.Path = self.options.benchmarks
    lpips = [f'--lpips={self.options.lpips}'] if self.options.lpips else []
    output = self.output / 'table1'
    table1.main([f'--benchmarks={folder}', f'-o{output}', *lpips, *shown])
    for path, images in table1.open_benchmarks(folder).items():
      lr = path / 'LRx4'
      panels.main(
        [
          f'--hr={path / "HR"}',
          *([f'--lr={lr}'] if lr.is_dir() else []),
          *(f'--crop={image}' for image in images.names[:_SHOWN]),
          f'-o{self.output}/panels-{path.name}.png',
          *shown,
        ]
      )


def _time_validation(run: train.Run, stage: stages.Stage) -> float:
  """Seconds that a validation takes once its programs are compiled."""
  variables = run.create_state(stage, run.initial).exported
  for _ in range(2):
    began = time.monotonic()
    upscaler = upscale.Upscaler(run.generator, variables)
    run.validation.score(stage.method, upscaler)
    seconds = time.monotonic() - began
  return seconds


def _warn(text: str) -> None:
  print(f'train_recipe: {text}', file=sys.stderr, flush=True)


def split(path: pathlib.Path, folder: pathlib.Path, label: str) -> None:
  """Writes a file in pieces: LABEL-discriminator.1-of-4.part, ..."""
  data = path.read_bytes()
  pieces = [data[i : i + _PART] for i in range(0, len(data), _PART)]
  for old in folder.glob(f'{label}-discriminator.*.part'):
    old.unlink()
  for number, piece in enumerate(pieces, 1):
    name = f'{label}-discriminator.{number}-of-{len(pieces)}.part'
    with files.replacing(folder / name) as beside:
      pathlib.Path(beside).write_bytes(piece)


def join(folder: pathlib.Path, label: str, path: pathlib.Path) -> None:
  """Puts the pieces of `split` together.

  Raises:
    ValueError: where one is missing.
  """
  found = {}
  for part in folder.glob(f'{label}-discriminator.*.part'):
    number, _, count = part.name.split('.')[-2].partition('-of-')
    found[int(number)] = (int(count), part)
  count = max((count for count, _ in found.values()), default=0)
  if not count or sorted(found) != list(range(1, count + 1)):
    raise ValueError(f'{folder} lacks a piece of {label}-discriminator')
  with files.replacing(path) as beside, open(beside, 'wb') as file:
    for number in sorted(found):
      file.write(found[number][1].read_bytes())


def _record(folder: pathlib.Path, name: str) -> dict[str, Any] | None:
  """What a finished recipe says of a variant, if it has it."""
  path = folder / 'recipe.json'
  try:
    record = json.loads(path.read_text(encoding='utf-8')).get(name)
  except (OSError, ValueError) as error:
    raise ValueError(f'{path} cannot be read: {error}') from error
  return record if record and record['ended'] else None


def _metrics(path: pathlib.Path) -> Iterator[dict[str, Any]]:
  """The lines of a run's metrics; none before it has begun."""
  if not path.exists():
    return
  for line in path.read_text(encoding='utf-8').splitlines():
    try:
      yield json.loads(line)
    except json.JSONDecodeError:
      continue  # cut off in a run that was killed


def write_curves(
  lines: Sequence[Mapping[str, Any]], path: pathlib.Path
) -> None:
  """The metrics of all runs: a line a variant, step and name."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(['variant', 'step', 'name', 'value'])
  for line in lines:
    for name, value in line.items():
      if name not in ('variant', 'step', 'stage'):
        writer.writerow([line['variant'], line['step'], name, f'{value:.6g}'])
  files.write_text(path, text.getvalue())


def draw_curves(lines: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
  """The curves that tell how the runs went; not without matplotlib."""
  try:
    from matplotlib import figure as figure_lib
  except ImportError:
    print('curves.png needs matplotlib: run this again with it', flush=True)
    return
  names = [name for name in _CURVES if any(name in line for line in lines)]
  variants = list(dict.fromkeys(line['variant'] for line in lines))
  figure = figure_lib.Figure(
    figsize=(4 * len(names), 2.6 * len(variants)), layout='constrained'
  )
  axes = figure.subplots(len(variants), len(names), squeeze=False)
  for row, variant in zip(axes, variants, strict=True):
    for axis, name in zip(row, names, strict=True):
      points = [
        (line['step'], line[name])
        for line in lines
        if line['variant'] == variant and name in line
      ]
      axis.set_title(f'{variant}: {name}', fontsize=9)
      axis.plot(*zip(*points, strict=True)) if points else axis.axis('off')
      axis.grid(alpha=0.3)
  with files.replacing(path) as beside:
    figure.savefig(beside, format='png', dpi=100)


def parse_plan(text: str) -> dict[str, Budget]:
  """'srresnet-mse=20000,srgan=8m' as budgets by variant, in this order.

  Raises:
    argparse.ArgumentTypeError: for another form, or no such variant.
  """
  plan = {}
  for part in ''.join(text.split()).split(','):
    name, _, budget = part.partition('=')
    match = re.fullmatch(r'(\d+)|(\d+(?:\.\d+)?)m', budget)
    if name not in VARIANTS or name in plan or not match:
      raise argparse.ArgumentTypeError(
        f'{part!r} is not like srgan=20000 or srgan=8m; the variants are '
        f'{", ".join(VARIANTS)}, each once'
      )
    steps, minutes = match.groups()
    plan[name] = Budget(
      int(steps) if steps else None, float(minutes) if minutes else None
    )
    if not (plan[name].steps or plan[name].minutes):
      raise argparse.ArgumentTypeError(f'{part!r} is no time at all')
  return plan


def check(options: argparse.Namespace) -> None:
  """Refuses what would only be missed after the first variant.

  Raises:
    ValueError: one line naming the option or the file.
  """
  resnet = options.output / f'{_RESNET}.safetensors'
  others = [name for name in options.train if name != _RESNET]
  if others and next(iter(options.train)) != _RESNET and not resnet.exists():
    raise ValueError(f'{others[0]} starts from {resnet}: train {_RESNET} first')
  if others and not options.lpips:
    raise ValueError(f'{others[0]} is chosen by LPIPS: give --lpips')
  if any('mse' not in name for name in others) and not options.vgg:
    raise ValueError('the VGG losses need --vgg')
  if options.vgg:
    weights.load_vgg(options.vgg)
  if options.benchmarks:
    table1.open_benchmarks(options.benchmarks)


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add('-o', '--output', type=pathlib.Path, required=True, metavar='DIR')
  add('--data', required=True, help='as config.data.source')
  add('--vgg', metavar='FILE', help='of tools/convert_vgg.py')
  add('--lpips', metavar='FILE', help='AlexNet, of tools/convert_lpips.py')
  add('--benchmarks', type=pathlib.Path, metavar='DIR')
  add('--train', type=parse_plan, default=_PLAN, metavar='NAME=BUDGET,...')
  add('--hold-out', type=int, default=24, help='photos to validate on')
  add('--start', type=pathlib.Path, metavar='DIR', help='an earlier output')
  options, overrides = parser.parse_known_args(arguments)
  compilation_cache.enable()
  with run_configs.command('train_recipe'):
    check(options)
    recipe = Recipe(options, overrides)
    for name, budget in options.train.items():
      try:
        recipe.train(name, budget)
      finally:
        recipe.save_curves()
    recipe.report()
    lacking = [n for n in options.train if not recipe.records[n]['ended']]
    if lacking:
      raise ValueError(f'no generator of {", ".join(lacking)}: see above')


if __name__ == '__main__':
  main()
