"""A generator that agrees with its LR: back-projection, learnt.

Not in the paper. Made smaller again, SR should be the LR. A trained generator
goes on towards its own SR after a step of back-projection, so that it needs
none; its texture stays:

  python -m srgan_jax.main --config=configs/consistent.py \
    --config.stages.pretrain.init_generator=runs/vgg54/generator.safetensors \
    --config.data.source='tar:photos/*.tar' --config.data.loader=resident
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  """A few updates at a low rate, from `srgan` unless told otherwise."""
  config = default.get_config()
  config.ema_decay = 0.99
  config.stages.gan.steps = 0
  config.stages.pretrain.init_generator = 'srgan'
  config.stages.pretrain.content = 'consistent'
  config.stages.pretrain.steps = 600
  config.stages.pretrain.learning_rate = 2e-5
  config.stages.pretrain.schedule = 'cosine'
  config.stages.pretrain.warmup = 50
  return config
