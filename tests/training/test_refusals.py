"""What is refused in one line, before anything is written."""

import json
import re

import pytest

from srgan_jax.training.run import Run
from srgan_jax.training.setup import Setup
from tests.support import repository


@pytest.mark.parametrize(
  ('overrides', 'message'),
  [
    ({'batch_size': 0}, 'config.batch_size must be at least 1, not 0'),
    ({'crop_size': 40}, 'config.crop_size must be a multiple of 16, not 40'),
    ({'precision': 'float16'}, "not 'float16'"),
    ({'stages.gan.content': 'vgg'}, "mse, vgg22, vgg54, not 'vgg'"),
    ({'stages.pretrain.steps': 0}, '--config.init_generator=FILE'),
    (
      {'stages.pretrain.steps': 0, 'stages.gan.steps': 0},
      'nothing to train',
    ),
    ({'stages.pretrain.warmup': 2}, 'warmup must be in 0..1, not 2'),
    ({'stages.gan.warmup': -1}, 'stages.gan.warmup must be in 0..'),
    ({'stages.gan.steps': 10**9}, 'stages.gan.steps must be in 0..10**8'),
    (
      {'stages.pretrain.learning_rate': float('inf')},
      'stages.pretrain.learning_rate must be > 0, finite, not inf',
    ),
    *(
      ({'stages.gan.boundaries': steps}, 'boundaries must be different steps')
      for steps in ((None,), ('a',), (1.5,), (-1,), (3, 3), (2**31,))
    ),
    ({'batch_size': None}, 'config.batch_size must be of type int, not None'),
    ({'loss.pixel_weight': -1.0}, 'loss.pixel_weight must be at least 0'),
    ({'loss.tv_weight': float('nan')}, 'loss.tv_weight must be at least 0'),
    (
      {'loss.adversarial_weight': float('inf')},
      'loss.adversarial_weight must be at least 0, finite, not inf',
    ),
    ({'data.cache_gib': float('nan')}, 'data.cache_gib must be at least 0'),
    ({'model.blocks': 129}, 'config.model.blocks must be in 1..128, not 129'),
    ({'model.channels': 4097}, 'model.channels must be in 1..4096'),
    ({'crop_size': 4112}, 'config.crop_size must be in 1..4096, not 4112'),
    *(
      ({'distributed.coordinator': name}, "'', 'auto' or HOST:PORT, not ")
      for name in ('autoo', 'host', 'host:x', 'host:0', ':1234', 'h:99999')
    ),
    ({'distributed.process': 1}, 'process must be below processes, not 1'),
    ({'distributed.processes': 0}, 'processes must be at least 1, not 0'),
    *(
      (
        {'distributed.processes': 2, 'distributed.coordinator': name},
        'processes and process need config.distributed.coordinator=HOST:PORT',
      )
      for name in ('', 'auto')
    ),
    ({'data.lpips': 'x'}, 'config.data.lpips is for validation: it needs'),
    (
      {
        'stages.gan.steps': 9,
        'stages.gan.warmup': 5,
        'stages.gan.boundaries': (3, 5),
      },
      'config.stages.gan.boundaries has [3], in the warm-up of 5 updates',
    ),
    ({'keep_best_by': 'psnr_y'}, 'needs config.data.validation'),
    (
      {'keep_best_by': 'lpips_alex', 'data.validation': 'hold-out:1'},
      "ssim_paper, not 'lpips_alex'",
    ),
    (
      {'init_discriminator': 'd.safetensors', 'stages.gan.steps': 0},
      'init_discriminator is for the GAN stage',
    ),
    (
      {'stages.gan.freeze_batch_norm': True, 'allow_random_generator': True},
      'not of one from random weights',
    ),
    ({'loss.content_reduction': 'sum'}, "not 'sum'"),
    (
      {'data.validation': 'hold-out:99'},
      'at most 9 can be held out, none smaller than 48x48',
    ),
    ({'data.source': 'folder:/nowhere'}, 'folder:/nowhere'),
    ({'data.source': 'photos'}, 'photos'),
    ({'crop_size': 1024}, 'folder:'),
    ({'stages.gan.content': 'vgg54'}, 'srgan_jax.convert.vgg'),
    (
      {'stages.gan.content': 'vgg54', 'perceptual.weights': ''},
      "config.perceptual.weights is ''",
    ),
    ({'init_generator': '/nowhere.safetensors'}, '/nowhere.safetensors'),
    ({'batch_size': 5}, 'batch_size=5'),
    (
      {'init_generator': 'x.safetensors', 'stages.gan.steps': 0},
      'nothing to train',
    ),
    (
      {'init_generator': 'a', 'stages.pretrain.init_generator': 'b'},
      'config.stages.pretrain.init_generator starts the SRResNet stage',
    ),
  ],
)
@pytest.mark.filterwarnings('ignore::UserWarning')
def test_bad_values_are_refused_in_one_line_and_nothing_is_written(
  tmp_path, overrides, message
):
  workdir = tmp_path / 'run'
  with pytest.raises(ValueError) as caught:
    Run(Setup(repository.tiny_config(**overrides)), workdir)
  assert message in str(caught.value)
  assert '\n' not in str(caught.value)
  assert not workdir.exists()


COMMANDS = {
  '--config=configs/nope.py': 'configs/nope.py',
  '--config=configs/vgg54.py --config.stages.gan.step=1': (
    'no field config.stages.gan.step (did you mean stages.gan.steps?)'
  ),
  '--config=configs/vgg54.py --config.seed=x': '--config.seed=x',
  '': '--config',
  '--config=configs/vgg54.py more': "'more'",
  '--config=configs/vgg54.py --config.distributed.coordinator=host:x': (
    "coordinator must be '', 'auto' or HOST:PORT, not 'host:x'"
  ),
  '--config=configs/quickstart.py --workdir=setup.cfg': (
    'setup.cfg is a file, not a folder'
  ),
  '--config=configs/vgg54.py --config.perceptual.weights=no.file': (
    'python -m srgan_jax.convert.vgg SOURCE -o no.file'
  ),
  '--config=configs/quickstart.py --workdir=too_large': (
    'out of memory with config.batch_size='
  ),
}

# A process each, forked from one that has imported what they take.
_EACH = """
import json, os, sys
import jax
from srgan_jax import main
from srgan_jax.training.run import Run

def fail(self):
  raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory\\nof all')

Run.train = fail
for number, flags in enumerate(json.loads(sys.argv[1])):
  if not os.fork():
    sys.argv[1:] = flags.split()
    main.start()
    os._exit(0)
  status = os.waitstatus_to_exitcode(os.wait()[1])
  print(f'status {status}', file=sys.stderr, flush=True)
"""


@pytest.fixture(scope='module')
def refusals():
  """What each command says, and its exit status as a last line."""
  said = repository.run_python(
    '-c', _EACH, json.dumps(list(COMMANDS)), check=True
  ).stderr
  return dict(
    zip(COMMANDS, re.findall(r'(?s)(.*?)status (\d+)\n', said), strict=True)
  )


@pytest.mark.parametrize('command', COMMANDS)
def test_the_command_says_in_one_line_what_is_wrong(refusals, command):
  said, status = refusals[command]
  *described, line = said.splitlines()
  assert status == '1'
  assert line.startswith('srgan_jax: ') and COMMANDS[command] in line
  # What the run is about to do comes before it is out of memory.
  assert bool(described) == ('out of memory' in line)
  assert 'Traceback' not in said
