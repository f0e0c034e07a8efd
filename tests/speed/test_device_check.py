"""The comparison of a device with the CPU: it passes here, and can fail."""

import math

import pytest

from srgan_jax.data import resident
from srgan_jax.speed import device_check
from tests.support import small

TINY = [
  '--config.batch_size=4',
  '--config.crop_size=32',
  '--config.model.blocks=1',
  '--config.model.channels=4',
  '--config.model.discriminator_channels=4',
  '--config.stages.gan.content=mse',
]


def test_what_a_device_gets_wrong_is_named(tmp_path, monkeypatch, capsys):
  """Two devices against one; their crops are made to be other ones."""
  cut = resident.Cutter.__call__

  def brighter(*arguments):
    crops = cut(*arguments)
    return crops | {'crop': crops['crop'] ^ 1}

  monkeypatch.setattr(resident.Cutter, '__call__', brighter)
  model = small.save_generator(tmp_path / 'small.safetensors')
  monkeypatch.setattr(device_check, '_GENERATORS', (model,))
  with pytest.raises(SystemExit, match='does not compute what the CPU does'):
    device_check.main(TINY)
  said = capsys.readouterr().out.splitlines()
  assert [line.split()[0] for line in said[1:]] == ['ok', 'FAIL', *5 * ['ok']]
  assert said[2].split()[1:3] == ['resident', 'crops']
  assert said[-1].split()[1] == 'upscaling'


def test_no_number_is_no_pass():
  assert not device_check.Check('x', math.nan, 1).is_passed
  assert device_check.Check('x', 1, 1).is_passed


def test_an_unknown_field_is_said_in_one_line():
  with pytest.raises(SystemExit) as caught:
    device_check.main(['--config.sead=1'])
  assert str(caught.value).startswith(
    'check_device: there is no field config.sead (did you mean seed?)'
  )
