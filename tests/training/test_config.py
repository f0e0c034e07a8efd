"""Configs: the paper's, found from any folder, and what is wrong with them."""

from ml_collections import ConfigDict
import pytest

from srgan_jax.training import config as config_lib
from srgan_jax.training import config_files
from tests.support import repository
from tests.support.tools import run_tool

_LEARNING_RATE = 'stages.pretrain.learning_rate'


@pytest.mark.parametrize('name', ['vgg54', 'vgg54.py', 'configs/vgg54.py'])
def test_a_config_is_found_from_any_folder(tmp_path, monkeypatch, name):
  monkeypatch.chdir(tmp_path)
  assert config_files.find(name) == repository.ROOT / 'configs' / 'vgg54.py'


def test_a_file_goes_before_a_name_and_takes_our_defaults(
  tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'vgg54.py').write_text(
    'from configs import default\n'
    'def get_config():\n'
    '  config = default.get_config()\n'
    '  config.seed = 17\n'
    '  return config\n'
  )
  assert config_files.load('vgg54.py').seed == 17
  assert config_files.load('vgg54').seed == 0


@pytest.mark.parametrize('name', ['vgg45', 'elsewhere/vgg54.py', 'configs'])
def test_an_unknown_config_names_those_there_are(tmp_path, monkeypatch, name):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match=r'quickstart, .*vgg54') as caught:
    config_files.find(name)
  if name == 'vgg45':
    assert 'did you mean vgg54?' in str(caught.value)


@pytest.mark.parametrize(
  'code',
  [
    *('import no_such_package', 'def get_config(): return 1 / 0', 'x ='),
    *('def get_config(): pass', 'def get_config(): return {"seed": 0}'),
  ],
)
def test_a_file_with_a_fault_is_one_line_that_names_it(tmp_path, code):
  path = tmp_path / 'mine.py'
  path.write_text(code)
  with pytest.raises(ValueError, match=r'mine\.py cannot be loaded: .') as e:
    config_files.load(path)
  assert '\n' not in str(e.value)


@pytest.mark.parametrize(
  'field', ['stages.pretrain.leaning_rate', 'stage.pretrain.learning_rate']
)
def test_an_unknown_field_names_the_nearest(field):
  config = config_files.load('vgg54')
  with pytest.raises(ValueError, match=rf'did you mean {_LEARNING_RATE}\?'):
    config_files.override(config, f'--config.{field}=1')


def test_other_fields_than_the_default_ones_are_refused():
  config = config_files.load('vgg54')
  config.stages.pretrain.step = 5
  with pytest.raises(ValueError, match=r'did you mean stages.pretrain.steps\?'):
    config_lib.check(config)
  config = config_files.load('vgg54')
  config.loss = ConfigDict({'pixel_weight': 1})
  with pytest.raises(ValueError, match=r'config\.loss\..* not None'):
    config_lib.check(config)


def test_a_field_is_set_as_its_type():
  config = config_files.load('vgg54')
  config_files.override(config, f'--config.{_LEARNING_RATE}=1e-3')
  config_files.override(config, '--config.data.source=folder:x=y')
  assert config.stages.pretrain.learning_rate == 1e-3
  assert config.data.source == 'folder:x=y'
  with pytest.raises(ValueError, match='type'):
    config_files.override(config, '--config.seed=x')


def test_training_without_its_packages_says_what_installs_them():
  program = """
import sys
sys.modules['absl'] = None
from srgan_jax import main
main.start()
"""
  # In a process of its own, which a command that fails ends at once.
  result = repository.run_python('-c', program)
  assert result.returncode == 1
  (line,) = result.stderr.splitlines()
  assert "pip install 'srgan_jax[train]'" in line


_OF_EXTRA = 'ml_collections tensorboard filelock'


@pytest.mark.parametrize('tool', ['benchmark', 'check_device', 'compile_gpu'])
def test_a_tool_without_the_extra_says_what_installs_it(tool):
  result = run_tool(tool, without=_OF_EXTRA)
  assert result.returncode == 1
  (line,) = result.stderr.splitlines()
  assert line.startswith(f'{tool}: ')
  assert "pip install 'srgan_jax[train]'" in line


@pytest.mark.parametrize(
  'tool', ['check_device', 'depth_sweep', 'train_recipe']
)
def test_a_tools_help_takes_no_extra(tool):
  result = run_tool(tool, '--help', without=_OF_EXTRA)
  assert not result.returncode, result.stderr


def test_a_run_that_finds_no_cluster_says_so(tmp_path):
  flags = '--config=quickstart', '--config.distributed.coordinator=auto'
  result = repository.run_python('-m', 'srgan_jax.main', *flags, cwd=tmp_path)
  assert result.returncode == 1
  (line,) = result.stderr.splitlines()
  assert line.startswith('srgan_jax: ') and 'finds no cluster' in line
  assert not list(tmp_path.iterdir())


CONFIGS = ('srresnet_mse', 'srresnet_vgg22', 'mse', 'vgg22', 'vgg54')


@pytest.mark.parametrize('name', CONFIGS)
def test_a_columns_config_is_the_papers(name):
  config = config_files.load(name)
  config_lib.check(config)
  assert config.batch_size == 16 and config.crop_size == 96
  assert config.stages.pretrain.steps == 1_000_000
  assert config.stages.pretrain.learning_rate == 1e-4
  assert config.stages.pretrain.schedule == 'constant'
  assert config.model.blocks == 16 and config.model.channels == 64
  is_gan = not name.startswith('srresnet')
  assert config.stages.gan.steps == (200_000 if is_gan else 0)
  if is_gan:
    assert config.stages.gan.learning_rate == 1e-4
    assert config.stages.gan.boundaries == (100_000,)
    assert config.stages.gan.content == name
    assert config.stages.pretrain.content == 'mse'
    assert config.loss.adversarial_weight == 1e-3
  else:
    assert config.stages.pretrain.content == name.removeprefix('srresnet_')
  assert config.loss.tv_weight == (2e-8 if name == 'srresnet_vgg22' else 0)


def test_every_default_field_has_a_comment():
  lines = (repository.ROOT / 'configs' / 'default.py').read_text().splitlines()
  fields = [i for i, line in enumerate(lines) if line.startswith('  config.')]
  assert len(fields) > 30
  for i in fields:
    above = lines[i - 1].strip()
    shares = above.startswith('config.') and 'ConfigDict()' not in lines[i]
    starts = 'ConfigDict()' in lines[i]
    assert above.startswith('#') or shares or starts, lines[i]
