"""SRResNet for photos as they are: blurred, noisy, compressed.

Not in the paper. A trained SRResNet-MSE goes on with LR crops that suffered
what photos do (`data/degradation.py`, after Real-ESRGAN):

  python -m srgan_jax.main --config=configs/photo.py \
    --config.data.source='tar:photos/*.tar' --config.data.loader=resident
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  """SRResNet-MSE's recipe, from its weights, on degraded LR."""
  config = default.get_config()
  config.ema_decay = 0.999
  config.data.degradation = 'photo'
  config.stages.gan.steps = 0
  config.stages.pretrain.init_generator = 'srresnet'
  config.stages.pretrain.steps = 20_000
  config.stages.pretrain.learning_rate = 2e-4
  config.stages.pretrain.schedule = 'cosine'
  config.stages.pretrain.warmup = 200
  return config
