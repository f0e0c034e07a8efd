"""The depth sweep: a network without skip connections, runs that go on."""

import csv
import json
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from srgan_jax import upscaling, weights
from srgan_jax.evaluation import benchmarks, metrics
from srgan_jax.models import layers
from srgan_jax.models.generator import Generator, ResidualBlock
from srgan_jax.paper import depth_sweep
from srgan_jax.training import run as run_lib
from srgan_jax.weights import architecture
from tests.support import networks, repository

TINY = [
  '--steps=2',
  '--config.model.channels=4',
  '--config.batch_size=4',
  '--config.crop_size=32',
  '--config.log_every=1',
  f'--config.data.source=folder:{repository.PHOTOS / "train"}',
]


def test_without_skips_the_same_tensors_make_a_plain_chain():
  x = jax.random.normal(jax.random.key(0), (1, 5, 5, 4))
  block = ResidualBlock(4, layers.kernel_init)
  variables = networks.init(block, 1, x)
  plain = block.clone(skip=False)
  chain = networks.infer(plain, variables, x)
  np.testing.assert_allclose(
    networks.infer(block, variables, x), x + chain, atol=1e-6
  )

  lr = jax.random.uniform(jax.random.key(2), (1, 6, 6, 3))
  shape = lambda network: jax.eval_shape(
    lambda key: network.init(key, lr, train=False), jax.random.key(0)
  )
  with_skips, without = Generator(2, 4), Generator(2, 4, skip_connections=False)
  assert shape(with_skips) == shape(without)
  variables = networks.init(without, 3, lr)
  # It starts alive, and has no way around the trunk's last BN.
  scale = variables['params']['norm_mid']['scale']
  np.testing.assert_array_equal(scale, np.ones(4))
  variables['params']['norm_mid']['scale'] = 0 * scale
  change = lambda network: float(
    jnp.ptp(
      networks.infer(network, variables, lr)
      - networks.infer(network, variables, 1 - lr)
    )
  )
  assert change(without) == 0 < change(with_skips)


def test_a_file_records_that_there_are_no_skips():
  assert 'skip_connections' not in architecture.of_generator(Generator())
  plain = Generator(2, 4, skip_connections=False)
  described = architecture.of_generator(plain)
  assert described == {'blocks': 2, 'channels': 4, 'skip_connections': False}
  assert architecture.make_generator(described) == plain
  with pytest.raises(ValueError, match='skip_connections'):
    architecture.make_generator(described | {'skip_connections': 'no'})


@pytest.fixture(scope='module')
def swept(tmp_path_factory):
  """A sweep over two depths, and the command line that made it."""
  folder = tmp_path_factory.mktemp('sweep')
  hr = folder / 'Noise' / 'HR'
  hr.mkdir(parents=True)
  # Of the size that is timed, so that a network is compiled once.
  pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
  Image.fromarray(pixels).save(hr / 'noise.png')
  output = folder / 'sweep'
  command = ['-o', str(output), '--hr', str(hr), '--blocks=2,1', *TINY]
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(depth_sweep, '_CALLS', 2)
    patch.setattr(depth_sweep, 'draw', lambda results, path: None)
    depth_sweep.main(command)
  return output, command


def test_every_network_is_trained_scored_and_timed(swept):
  output, _ = swept
  results = json.loads((output / 'results.json').read_text())
  points = results['points']
  assert [(p['blocks'], p['skip_connections']) for p in points] == [
    (1, True), (1, False), (2, True), (2, False),
  ]  # fmt: skip
  assert results['protocol'] == 'y' and results['images'] == 1
  pair = benchmarks.Benchmark(output.parent / 'Noise' / 'HR')[0]
  for point in points:
    name = f'blocks_{point["blocks"]:02d}'
    folder = output / (name + ('' if point['skip_connections'] else '_plain'))
    path = folder / 'generator.safetensors'
    generator, variables, metadata = weights.load_generator(path)
    assert generator.blocks == point['blocks']
    assert generator.skip_connections == point['skip_connections']
    assert metadata['training']['steps'] == point['steps'] == 2
    assert point['parameters'] == layers.parameter_count(variables['params'])
    assert 0 < point['seconds'] < 10 and 0 < point['seconds_median'] < 10
    sr = upscaling.load(path)(pair.lr)
    assert point['psnr'] == metrics.score(sr, pair.hr, 'y')['psnr']
    assert point['ssim'] == metrics.score(sr, pair.hr, 'y')['ssim']
  assert len({point['psnr'] for point in points}) == 4
  with (output / 'results.csv').open() as file:
    rows = list(csv.DictReader(file))
  assert [float(row['psnr_y']) for row in rows] == [p['psnr'] for p in points]


def test_only_what_is_not_finished_is_trained(swept, monkeypatch, capsys):
  output, command = swept
  trained, drawn = [], []
  run = run_lib.Run

  class Spy:
    def __init__(self, setup, folder):
      trained.append(folder.name)
      self.train = run(setup, folder).train

  monkeypatch.setattr(run_lib, 'Run', Spy)
  monkeypatch.setattr(depth_sweep, '_CALLS', 2)
  monkeypatch.setattr(depth_sweep, 'draw', lambda *a: drawn.append(a))
  before = json.loads((output / 'results.json').read_text())
  # As after a stop behind the last checkpoint of the last run.
  (output / 'blocks_02_plain' / 'generator.safetensors').unlink()

  depth_sweep.main(command)

  assert trained == ['blocks_02_plain']
  after = json.loads((output / 'results.json').read_text())
  psnr = lambda results: [point['psnr'] for point in results['points']]
  assert psnr(after) == psnr(before)
  assert '2 blocks without skip connections, 2 steps' in capsys.readouterr().out
  assert drawn[0][0]['points'] and drawn[0][1] == output / 'figure7.png'


def _sweep(monkeypatch, command):
  """Runs it; what would be drawn."""
  drawn = []
  monkeypatch.setattr(depth_sweep, '_CALLS', 2)
  monkeypatch.setattr(
    depth_sweep, 'draw', lambda found, path: drawn.append(found)
  )
  depth_sweep.main(command)
  return drawn[0]


def _read(output):
  return json.loads((output / 'results.json').read_text())


def test_another_depth_joins_the_results(swept, tmp_path, monkeypatch, capsys):
  output = shutil.copytree(swept[0], tmp_path / 'sweep')
  command = [*swept[1], f'-o{output}']
  before = _read(output)['points']
  results = _sweep(monkeypatch, [*command, '--blocks=3'])
  points = results['points']
  assert points[:4] == before and results == _read(output)
  assert [point['blocks'] for point in points] == [1, 1, 2, 2, 3, 3]
  with (output / 'results.csv').open() as file:
    rows = list(csv.DictReader(file))
  assert [float(row['psnr_y']) for row in rows] == [p['psnr'] for p in points]
  assert not capsys.readouterr().err
  # A depth anew takes the place of its own points.
  results = _sweep(monkeypatch, [*command, '--blocks=1'])
  assert results['points'][2:] == points[2:] and len(results['points']) == 6
  assert results['points'][0]['psnr'] == points[0]['psnr']


def test_points_of_other_settings_are_named_and_not_kept(
  swept, tmp_path, monkeypatch, capsys
):
  output = shutil.copytree(swept[0], tmp_path / 'sweep')
  command = [*swept[1], f'-o{output}', '--blocks=1']
  results = _sweep(monkeypatch, [*command, '--protocol=paper'])
  assert [point['blocks'] for point in results['points']] == [1, 1]
  line = (
    f'depth_sweep: {output}/results.json does not keep the networks of 2 '
    'blocks: they were trained or measured with other settings\n'
  )
  assert capsys.readouterr().err == line
  # Trained otherwise: other networks in these folders.
  output = shutil.copytree(swept[0], tmp_path / 'again')
  for name in ('blocks_01', 'blocks_01_plain'):
    shutil.rmtree(output / name)
  command = [*swept[1], f'-o{output}', '--blocks=1']
  results = _sweep(monkeypatch, [*command, '--config.seed=1'])
  assert [point['blocks'] for point in results['points']] == [1, 1]
  assert 'does not keep the networks of 2 blocks' in capsys.readouterr().err


@pytest.mark.parametrize('value', [[], {}, {'points': [{'blocks': 1}]}])
def test_damaged_results_are_refused_before_training(swept, tmp_path, value):
  (tmp_path / 'results.json').write_text(json.dumps(value))
  with pytest.raises(SystemExit, match='results.json is damaged: '):
    depth_sweep.main([*swept[1], f'-o{tmp_path}'])
  assert [path.name for path in tmp_path.iterdir()] == ['results.json']


@pytest.mark.parametrize(
  ('argument', 'expected'),
  [
    ('--steps=1', 'is at step 2 already'),
    ('--config.seed=1', 'another config: seed (0 before, 1 now)'),
    ('--config.model.depth=1', 'no field config.model.depth'),
    ('--config.model.blocks=3', '--config.model.blocks=3: give --blocks'),
    ('--config.model.skip_connections=False', 'False: both are trained'),
    ('--config.stages.pretrain.steps=3', 'steps=3: give --steps'),
    ('--config.seed=x', '--config.seed=x: not of the type of the field'),
    ('--config.seed', "unknown argument '--config.seed'"),
    ('--hr=/nowhere', '/nowhere: no such file or folder'),
  ],
)
def test_bad_arguments_are_one_line(swept, argument, expected):
  with pytest.raises(SystemExit) as info:
    depth_sweep.main([*swept[1], argument])
  message = info.value.code
  assert message.startswith('depth_sweep: ') and '\n' not in message
  assert expected in message


def test_a_protocol_without_ssim_is_refused(swept, capsys):
  with pytest.raises(SystemExit):
    depth_sweep.main([*swept[1], '--protocol=rgb'])
  assert "invalid choice: 'rgb'" in capsys.readouterr().err


def test_draws_the_figure(swept, tmp_path):
  pytest.importorskip('matplotlib', reason='needs the extra figures')
  results = json.loads((swept[0] / 'results.json').read_text())
  depth_sweep.draw(results, tmp_path / 'figure7.png')
  with Image.open(tmp_path / 'figure7.png') as image:
    assert image.format == 'PNG' and image.width > 1000


def test_says_what_the_figure_needs(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'matplotlib', None)
  with pytest.raises(ValueError, match=r"pip install 'srgan_jax\[figures\]'"):
    depth_sweep.draw({'points': []}, tmp_path / 'figure7.png')


@pytest.mark.parametrize('blocks', ['0', '1,129', 'nan'])
def test_blocks_that_no_generator_has_are_refused(blocks, capsys):
  with pytest.raises(SystemExit):
    depth_sweep.main(['--hr=x', '-o=y', f'--blocks={blocks}'])
  assert 'argument --blocks: ' in capsys.readouterr().err
