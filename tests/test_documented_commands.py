"""Every command that README and docs show, run or checked from their text."""

import importlib
import re
import shutil
import subprocess
import sys
import tarfile

import numpy as np
from PIL import Image
import pytest

from srgan_jax import imaging, pretrained
from srgan_jax.evaluation import lpips
from srgan_jax.training import config as config_lib
from srgan_jax.training import config_files
from tests.support import documentation, repository, small

# These end in seconds with small files.
_RUN = {
  'srgan_jax.evaluate',
  'srgan_jax.export',
  'srgan_jax.upscale',
  'srgan_jax.video',
  'tools/export_torch.py',
  'tools/panels.py',
  'tools/table1.py',
}
_TRAIN = {
  'srgan_jax.main',
  'tools/benchmark.py',
  'tools/benchmark_torch.py',
  'tools/compile_tpu.py',
}
# These download, serve, or take minutes or a device: they run with other
# arguments in these tests.
_ELSEWHERE = {
  'srgan_jax.convert.metrics': 'evaluation/test_dists_niqe.py',
  'srgan_jax.demo': 'test_demo.py',
  'srgan_jax.hub': 'test_hub.py',
  'srgan_jax.mos': 'support/opinion.py',
  'tools/check_device.py': 'speed/test_device_check.py',
  'tools/compile_gpu.py': 'speed/test_gpu.py',
  'tools/convert_generator.py': 'convert/test_generator.py',
  'tools/convert_lpips.py': 'evaluation/test_lpips.py',
  'tools/convert_vgg.py': 'convert/test_vgg.py',
  'tools/depth_sweep.py': 'paper/test_depth_sweep.py',
  'tools/fetch_benchmarks.py': 'paper/test_benchmark_downloads.py',
  'tests.stress': 'convert/test_hostile.py',
  'tools/train_recipe.py': 'paper/test_recipe.py',
}
_COMMANDS = documentation.commands()
_UNRUN_FILES = ('hf:', 'krasserm-', 'niqe.')


def of(*targets):
  chosen = [c for c in _COMMANDS if c.target in targets]
  return pytest.mark.parametrize('command', chosen, ids=str)


@pytest.fixture(scope='module')
def desk(tmp_path_factory):
  """A folder with all files that the commands name, small."""
  desk = tmp_path_factory.mktemp('desk')
  rng = np.random.default_rng(0)
  image = lambda side: Image.fromarray(
    rng.integers(0, 256, (side, side, 3), np.uint8)
  )
  for name in ('photo.jpg', 'photo.png', 'small.png', 'scan.tif'):
    image(8).save(desk / name)
  (desk / 'holiday').mkdir()
  image(8).save(desk / 'holiday' / 'beach.png')
  for name, stem in (('Set5', 'img_001'), ('Set14', 'img_014')):
    (desk / 'data' / name / 'HR').mkdir(parents=True)
    (desk / 'data' / name / 'LRx4').mkdir()
    hr = np.asarray(image(16).resize((64, 64)))
    Image.fromarray(hr).save(desk / 'data' / name / 'HR' / f'{stem}.png')
    lr = Image.fromarray(imaging.imresize(hr, 1 / 4))
    lr.save(desk / 'data' / name / 'LRx4' / f'{stem}.png')
    shutil.copytree(desk / 'data' / name, desk / name)
  (desk / 'runs' / 'vgg54').mkdir(parents=True)
  for network in ('alex', 'vgg16'):
    lpips.save(
      desk / f'lpips_{network}.safetensors',
      small.lpips_metric(network),
      source_sha256='0' * 64,
      converter_version='1',
    )
  (desk / 'mos.csv').write_text(
    'set,method,mean,low,high,significant\nSet5,SRGAN,3.6,3.4,3.8,true\n'
  )
  generator = small.save_generator(desk / 'generator.safetensors')
  for name in ('FILE', 'runs/vgg54/generator.safetensors'):
    shutil.copy(generator, desk / name)
  (desk / 'photos').mkdir()
  with tarfile.open(desk / 'photos' / 'photos.tar', 'w') as archive:
    for path in sorted((repository.PHOTOS / 'train').iterdir())[:4]:
      archive.add(path, path.name)
  return desk


def test_every_command_runs_here_or_elsewhere():
  assert len(_COMMANDS) > 30
  targets = {command.target for command in _COMMANDS}
  assert targets == _RUN | _TRAIN | set(_ELSEWHERE)
  for file in _ELSEWHERE.values():
    assert (repository.ROOT / 'tests' / file).exists()


@of(*_RUN)
def test_a_command_runs(command, desk, monkeypatch, capsys):
  if any(text.startswith(_UNRUN_FILES) for text in command.arguments):
    pytest.skip('takes a download, or photos of 192 pixels')
  if command.target == 'srgan_jax.video':
    av = pytest.importorskip('av')
    with av.open(desk / 'holiday.mp4', 'w') as video:
      stream = video.add_stream('h264', rate=2)
      stream.width = stream.height = 16
      black = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))
      video.mux([*stream.encode(black), *stream.encode()])
  if command.target == 'tools/export_torch.py':
    pytest.importorskip('torch')
  monkeypatch.chdir(desk)
  if '-' in command.arguments:
    with open('small.png', 'rb') as stdin:
      said = subprocess.run(
        [sys.executable, '-m', command.target, *command.arguments],
        stdin=stdin,
        env=repository.environment(),
        capture_output=True,
        check=True,
      ).stdout
    assert said.startswith(b'\x89PNG')
    return
  module = command.target
  if module.startswith('tools/'):
    text = command.source.read_text()
    (module,) = re.findall(r'^from (srgan_jax\.\S+) import main$', text, re.M)
  main = importlib.import_module(module).main
  if '--list-models' in command.arguments:
    with pytest.raises(SystemExit, match=r'^0$'):
      main(command.arguments)
    return
  status = main(command.arguments)
  assert not status, capsys.readouterr().err
  for flag, value in zip(
    command.arguments, command.arguments[1:], strict=False
  ):
    if flag in ('-o', '--json'):
      assert (desk / value).exists() or list(desk.glob(f'{value}.*'))


@of(*_TRAIN)
def test_a_config_and_its_fields_are_there(command):
  (name,) = [
    text.removeprefix('--config=')
    for text in command.arguments
    if text.startswith('--config=')
  ]
  config = config_files.load(name)
  for text in command.arguments:
    if text.startswith('--config.'):
      config_files.override(config, text)
  config_lib.check(config)


@pytest.mark.parametrize('command', _COMMANDS, ids=str)
def test_options_are_there(command):
  """Each is a string of the command's file, or of the modules it takes."""
  texts = [command.source.read_text()]
  if command.target.startswith('tools/') or command.source.name == (
    '__main__.py'
  ):
    folders = re.findall(r'^from srgan_jax\.(\w+)', texts[0], re.M)
    for folder in [*folders, 'mos' if 'mos' in command.target else '']:
      if folder:
        room = repository.ROOT / 'srgan_jax' / folder
        texts += [path.read_text() for path in room.glob('*.py')]
  texts.append((repository.ROOT / 'srgan_jax' / 'cli.py').read_text())
  for text in command.arguments:
    if not re.match(r'--?[a-z]', text) or text.startswith('--config.'):
      continue
    flag = text.partition('=')[0]
    quoted = (f"'{flag}'", f"'{flag.lstrip('-')}'")
    assert any(q in t for q in quoted for t in texts), flag


def test_readmes_training_command_trains(desk):
  (command,) = [
    c
    for c in _COMMANDS
    if c.page == 'README.md'
    and c.target == 'srgan_jax.main'
    and any('data.source' in text for text in c.arguments)
  ]
  tiny = [text for text in repository.TINY if text.startswith('--config.')]
  result = subprocess.run(
    [sys.executable, '-m', command.target, *command.arguments]
    + [text for text in tiny if 'data.validation' not in text]
    # No VGG weights are at hand.
    + ['--config.stages.gan.content=mse']
    + [f'--config.stages.{s}.steps=1' for s in ('pretrain', 'gan')]
    + ['--config.stages.gan.boundaries=()', '--workdir=runs/new'],
    cwd=desk,
    env=repository.environment(),
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr
  assert (desk / 'runs' / 'new' / 'generator.safetensors').exists()


def test_installs_name_extras_that_there_are():
  project = (repository.ROOT / 'pyproject.toml').read_text()
  extras = set(re.findall(r'^(\w+) = \[', project, re.M))
  named = set()
  for page in documentation.PAGES:
    for group in re.findall(
      r"""(?:\.|srgan_jax)\[([\w,]+)\]""", page.read_text()
    ):
      named |= set(group.split(','))
  assert named and named <= extras


def test_readmes_python_runs(monkeypatch):
  hr = np.asarray(Image.open(repository.PHOTOS / 'validation' / 'cat.png'))
  names = {'hr': hr[:64, :64, :3]}
  names['lr'] = imaging.imresize(names['hr'], 1 / 4)
  blocks = documentation.code(repository.ROOT / 'README.md', 'python')
  assert blocks
  for block in blocks:
    exec(block, names)
  assert names['sr'].shape == names['hr'].shape


def test_readme_names_the_models_and_the_default():
  rows = re.findall(
    r'^\| (`[a-z].*?) \|',
    (repository.ROOT / 'README.md').read_text().partition('## Train')[0],
    re.M,
  )
  named = [name for row in rows for name in re.findall(r'`([\w-]+)`', row)]
  assert {pretrained.FILES[name] for name in named} == set(
    pretrained.FILES.values()
  )
  (default,) = [row for row in rows if 'the default' in row]
  assert default.startswith(f'`{pretrained.DEFAULT}`')
