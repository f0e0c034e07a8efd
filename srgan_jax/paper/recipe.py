"""Trains the paper's five variants from one SRResNet-MSE, within a budget.

  python -m srgan_jax.paper.recipe -o runs/recipe --data 'tar:photos/*.tar' \
    --vgg vgg19.safetensors --lpips lpips_alex.safetensors [--benchmarks DIR]
    [--train srresnet-mse=10m,srgan=8m,srgan-vgg22=2m,srgan-mse=1m,
     srresnet-vgg22=2m] [--start DIR] [--config.FIELD=VALUE ...]

A variant's budget is a number of updates (20000), rounded up to whole calls, or
of minutes (8m). The minutes are all that it takes: one compilation, 20
validations (fewer where they are slow) and the updates, whose number follows
from the times of the first ones here. Where the minutes are over sooner all the
same, training stops and the best so far is taken; with no validation yet, the
other variants go on and the command fails at its end. All but srresnet-mse
start from the folder's srresnet-mse. The data lie on the device (no
TensorFlow), 24 of them are held out, and of each variant the generator is
kept that does best on those: by PSNR for srresnet-mse, by LPIPS for the rest.
It can be stopped at any time and run again: the result is the same.

DIR gets LABEL.safetensors of each variant (with VGG16, srgan-vgg16-conv5_3, for
instance), LABEL-discriminator.N-of-M.part, which are pieces of one file below
16 MB, recipe.json (updates, seconds, figures), curves.csv, curves.png where
matplotlib is installed, and with --benchmarks (a folder of Set5/HR, ...)
table1.{md,csv} and panels-SET.png of each set's first six images. These files
are all that has to be copied elsewhere: --start takes such a folder and trains
its networks further, with fresh optimizers.
"""

import argparse
from collections.abc import Iterable, Sequence
import pathlib
import sys
import time
from typing import Any

import jax

from srgan_jax import cli, files, runtime, weights
from srgan_jax.evaluation import benchmarks, panels, report
from srgan_jax.paper import curves as curves_lib
from srgan_jax.paper import own_fields, pieces, table1
from srgan_jax.paper import records as records_lib
from srgan_jax.paper.plan import PLAN, RESNET, VARIANTS, Budget, parse_plan
from srgan_jax.speed import timed_calls
from srgan_jax.training import config_files, interruption, stages
from srgan_jax.training.config_files import ConfigDict
from srgan_jax.training.inputs import Inputs
from srgan_jax.training.setup import Setup

_OWN_FIELDS = {
  f'stages.{stage}.steps': 'give --train'
  for stage in (stages.PRETRAIN, stages.GAN)
}
_SAFETY = 0.85  # of the time for updates; the rest is not measured
_CALLS = 5  # timed to plan by
_UNPLANNED = 1_000_000  # updates of a variant that has no plan yet
_VALIDATIONS = 20  # of a variant, at most
_BEST_BY = 'lpips_alex'  # of all variants but the first
_SHOWN = 6  # images of a set in its panels: no picture grows over 16 MB


class Recipe:
  """The variants in one folder; `recipe.json` in it says how far they are."""

  def __init__(self, options: argparse.Namespace, overrides: Sequence[str]):
    self.output: pathlib.Path = options.output
    self.options, self.overrides = options, overrides
    self._resnet = self.output / f'{RESNET}.safetensors'
    self.records: records_lib.Records = {}
    self._refresh()

  def check_starts(self, names: Iterable[str]) -> None:
    """Refuses variants that have nothing to start from when it is their turn.

    Raises:
      ValueError: one line naming the file.
    """
    made: set[pathlib.Path] = set()  # before it is their turn
    for name in names:
      first = self._first(name)
      if first and first not in made and not first.exists():
        hint = f'train {RESNET} first' if first == self._resnet else 'not there'
        raise ValueError(f'{name} starts from {first}: {hint}')
      if name == RESNET:
        made.add(self._resnet)

  def train(self, name: str, budget: Budget) -> None:
    """Trains a variant to its end, unless it has ended.

    A line on stderr says where it has nothing to start from, or has no
    generator when its minutes end.

    Raises:
      interruption.Interrupted: after SIGTERM or Ctrl-C, once that is saved.
      ValueError: one line, as `run.Run`.
    """
    self._refresh()
    record = self.records.setdefault(name, {'seconds': 0.0, 'ended': False})
    if record['ended']:
      best, steps = record['best_step'], record['steps']
      _say(
        f'{name}: ended before, best after {best:,} of {steps:,} updates; a '
        'new budget does not count (--start trains it further)'
      )
      return
    first = self._first(name)
    if first and not first.exists():
      _warn(f'{name} starts from {first}, which there is not')
      return
    began, spent = time.monotonic(), record['seconds']
    deadline = began + 60 * budget.minutes - spent
    # Until there is a plan, which `Setup.reschedule` then follows.
    setup = Setup(self._config(name, record.get('steps', _UNPLANNED)))
    inputs = Inputs(setup.config, setup.mesh)
    if 'steps' not in record:
      plan = self._plan(setup, inputs, budget, deadline)
      self._refresh()  # of two commands the first one's plan counts
      record = self.records[name] = plan | self.records[name]
      self._save(name)
    asked = _whole_calls(budget.steps, setup.config.steps_per_call)
    if asked not in (0, record['steps']):
      _say(f'{name}: planned before, {asked:,} updates do not count')
    setup = setup.reschedule(
      self._config(name, record['steps'], record.get('validations'))
    )
    _say(f'{name}: {record["steps"]:,} updates')
    from srgan_jax.training.run import Run  # takes the extra, unlike --help

    run = Run(setup, self.output / name, inputs)
    try:
      run.train(deadline)
    except interruption.Interrupted:
      if time.monotonic() < deadline:
        raise
      _say(f'{name}: its {budget.minutes:g} minutes are over')
    finally:
      record['seconds'] = spent + time.monotonic() - began
      self._save(name)
    self._collect(name, setup.stages[-1])

  def _plan(
    self, setup: Setup, inputs: Inputs, budget: Budget, deadline: float
  ) -> dict[str, int]:
    """How many updates and validations fit in before the deadline.

    Returns:
      'steps', whole calls and at least one, and 'validations'.
    """
    unit = setup.config.steps_per_call
    if budget.steps:
      steps = _whole_calls(budget.steps, unit)
      return {'steps': steps, 'validations': _VALIDATIONS}
    stage = setup.stages[-1]
    update = timed_calls.seconds_per_step(
      setup, stage, inputs.loader, calls=_CALLS
    )
    validating = _time_validation(setup, inputs, stage)
    left = deadline - time.monotonic()
    # Slow ones are fewer, so that half of the time goes into updates.
    validations = max(1, min(_VALIDATIONS, int(left / 2 / validating)))
    updating = _SAFETY * (left - validations * validating)
    steps = int(updating / update)
    return {
      'steps': max(unit, steps // unit * unit),
      'validations': validations,
    }

  def _config(
    self, name: str, steps: int, validations: int | None = None
  ) -> ConfigDict:
    options, variant = self.options, VARIANTS[name]
    config = config_files.load(variant.config)
    config.data.source = options.data
    config.data.loader = 'resident'
    config.data.validation = 'hold-out:24'
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
    # Also before the intervals: they are in whole calls.
    config_files.override(config, *self.overrides)
    unit = config.steps_per_call

    def interval(parts: int) -> int:
      return _whole_calls(-(-steps // parts), unit)

    config.log_every, config.save_every = interval(200), interval(10)
    config.validate_every = interval(validations or _VALIDATIONS)
    config_files.override(config, *self.overrides)
    return config

  def _first(self, name: str) -> pathlib.Path | None:
    """The generator that a variant starts from, if any."""
    if before := self._before(name):
      return self.options.start / f'{before["label"]}.safetensors'
    return self._resnet if name != RESNET else None

  def _before(self, name: str) -> dict[str, Any]:
    """The record of a variant that --start has; {} where it has not ended."""
    if self.options.start is None:
      return {}
    record = records_lib.read(self.options.start).get(name, {})
    return record if record.get('ended') else {}

  def _start(self, name: str, config: ConfigDict) -> None:
    """Says which networks a variant starts from."""
    before, first = self._before(name), self._first(name)
    if VARIANTS[name].stage == stages.PRETRAIN:
      config.stages.pretrain.init_generator = str(first or '')
    else:
      config.init_generator = str(first)
    config.keep_best_by = 'psnr_y' if name == RESNET else _BEST_BY
    if before and VARIANTS[name].stage == stages.GAN:
      path = self.output / name / 'start-discriminator.safetensors'
      if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        pieces.join(self.options.start, before['label'], path)
      config.init_discriminator = str(path)

  def _collect(self, name: str, stage: stages.Stage) -> None:
    """Copies a finished run's networks into the recipe's folder, if any."""
    record, workdir = self.records[name], self.output / name
    best = workdir / stage.best_file_name
    if not best.exists():
      _warn(
        f'{name}: its minutes ended before the first validation; with more it '
        'goes on'
      )
      return
    _, metadata = weights.load(best, 'generator')
    chosen = self.output / f'{stage.label}.safetensors'
    files.write_bytes(chosen, best.read_bytes())
    if stage.name == stages.GAN:
      pieces.split(
        workdir / 'discriminator.safetensors', self.output, stage.label
      )
    record |= {
      'ended': True,
      'label': stage.label,
      'best_step': metadata['training']['steps'],
      'validation': metadata['training']['figures'],
      'device': jax.devices()[0].device_kind,
    }
    self._save(name)

  def _save(self, name: str) -> None:
    """Saves a variant's record, and reads those of the others."""
    self.records |= records_lib.replace(self.output, name, self.records[name])

  def _refresh(self) -> None:
    """Reads what this and other commands have saved."""
    if (self.output / records_lib.NAME).exists():
      self.records |= records_lib.read(self.output)

  def save_curves(self) -> None:
    """Writes the curves of what has been trained so far, if anything."""
    self._refresh()
    curves = [
      line | {'variant': name}
      for name in self.records
      for line in curves_lib.read_metrics(self.output / name / 'metrics.jsonl')
    ]
    if curves:
      curves_lib.write(curves, self.output / 'curves.csv')
      curves_lib.draw(curves, self.output / 'curves.png')

  def report(self) -> None:
    """Writes table and panels of what has ended."""
    if not self.options.benchmarks:
      return
    self._refresh()
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
      lr = benchmarks.beside(path / 'HR')
      panels.main(
        [
          f'--hr={path / "HR"}',
          *([f'--lr={lr}'] if lr else []),
          *(f'--crop={image}' for image in images.names[:_SHOWN]),
          f'-o{self.output}/panels-{path.name}.png',
          *shown,
        ]
      )


def _whole_calls(steps: int, unit: int) -> int:
  """Rounded up: a part of a call would compile anew."""
  return -(-steps // unit) * unit


def _time_validation(
  setup: Setup, inputs: Inputs, stage: stages.Stage
) -> float:
  """Seconds that a validation takes once its programs are compiled."""
  variables = setup.create_state(stage, setup.initial).exported
  for _ in range(2):
    began = time.monotonic()
    inputs.validation.score(stage.method, setup.upscaler(variables))
    seconds = time.monotonic() - began
  return seconds


def _say(text: str) -> None:
  print(text, flush=True)


def _warn(text: str) -> None:
  print(f'train_recipe: {text}', file=sys.stderr, flush=True)


def check(options: argparse.Namespace, recipe: Recipe) -> None:
  """Refuses what would only be missed after the first variant.

  Raises:
    ValueError: one line naming the option or the file.
  """
  files.nearest_folder(options.output)
  recipe.check_starts(options.train)
  others = [name for name in options.train if name != RESNET]
  if others and not options.lpips:
    raise ValueError(f'{others[0]} is chosen by LPIPS: give --lpips')
  if any('mse' not in name for name in others) and not options.vgg:
    raise ValueError('the VGG losses need --vgg')
  if options.vgg:
    weights.load_vgg(options.vgg)
  if options.lpips:
    (distance,) = report.load_distances([options.lpips])
    if others and distance.name != _BEST_BY:
      raise ValueError(
        f'{options.lpips} is {distance.name}, and {others[0]} is chosen by '
        f'{_BEST_BY}'
      )
  if options.benchmarks:
    table1.open_benchmarks(options.benchmarks)


def main(arguments: Sequence[str] | None = None) -> None:
  """The command."""
  parser = cli.parser(__doc__)
  add = parser.add_argument
  add('-o', '--output', type=pathlib.Path, required=True, metavar='DIR')
  add('--data', required=True, help='as config.data.source')
  add('--vgg', metavar='FILE', help='of srgan_jax.convert.vgg')
  add('--lpips', metavar='FILE', help='AlexNet, of srgan_jax.convert.lpips')
  add('--benchmarks', type=pathlib.Path, metavar='DIR')
  add('--train', type=parse_plan, default=PLAN, metavar='NAME=BUDGET,...')
  add('--start', type=pathlib.Path, metavar='DIR', help='an earlier output')
  options, overrides = parser.parse_known_args(arguments)
  runtime.enable_compilation_cache()
  with interruption.command('train_recipe'):
    own_fields.refuse(overrides, _OWN_FIELDS)
    recipe = Recipe(options, overrides)
    check(options, recipe)
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
  cli.run(main)
