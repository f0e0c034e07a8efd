"""A small SRGAN on the photos that the package ships, in under 5 minutes.

Both stages on two CPU cores, offline: a generator of 4 blocks and 32 channels,
SRResNet-MSE and then SRGAN-MSE (no VGG file is needed). It ends with
`runs/quickstart/samples/comparison.png`: three photos that it was not trained
on, beside bicubic interpolation.

  python -m srgan_jax.main --config=configs/quickstart.py
"""

from ml_collections import ConfigDict

from configs import default
from srgan_jax import files


def get_config() -> ConfigDict:
  config = default.get_config()
  # Small crops make cheap steps, and it is the number of steps that counts.
  config.batch_size = 8
  config.crop_size = 48
  config.model.blocks = 4
  config.model.channels = 32
  config.model.discriminator_channels = 16
  config.stages.pretrain.steps = 2000
  config.stages.pretrain.learning_rate = 1e-3
  config.stages.pretrain.schedule = 'cosine'
  config.stages.pretrain.warmup = 100
  config.stages.gan.steps = 300
  config.stages.gan.boundaries = (200,)
  config.stages.gan.content = 'mse'
  config.data.source = f'folder:{files.PHOTOS / "train"}'
  config.data.validation = f'folder:{files.PHOTOS / "validation"}'
  config.save_every = 500
  config.log_every = 50
  config.validate_every = 500
  return config
