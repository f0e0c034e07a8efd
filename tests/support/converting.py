"""What the tests of `srgan_jax.convert.generator` share."""

import numpy as np
import pytest

from srgan_jax import weights
from srgan_jax.convert import generator as generator_command
from tests.support import networks


def run(capsys, *arguments):
  """What the command says."""
  generator_command.main([str(argument) for argument in arguments])
  return capsys.readouterr().out


def refusal(capsys, source, output, *options):
  """The one line with which the command ends; what was there stays."""
  output.write_bytes(b'old')
  with pytest.raises(SystemExit) as info:
    generator_command.main([str(source), '-o', str(output), *options])
  message = info.value.code
  assert isinstance(message, str) and '\n' not in message
  assert message.startswith(f'convert_generator: {source}')
  assert output.read_bytes() == b'old'
  assert not list(output.parent.glob('.*.tmp'))
  return message


def upscale(path, lr):
  """What a file of ours makes of LR [N, H, W, 3] in [0, 1]."""
  generator, variables, _ = weights.load_generator(path)
  return np.asarray(networks.infer(generator, variables, lr))
