"""The configs are the paper's, and the fields are explained."""

import pytest

from srgan_jax.training import config as config_lib
from srgan_jax.training import config_files
from tests.support import repository

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
    assert above.startswith('#') or shares or 'ConfigDict()' in lines[i], lines[
      i
    ]
