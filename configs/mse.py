"""SRGAN-MSE: the adversarial loss beside the mean squared error.

Table 1, column 3: Set5 30.64 dB / 0.8701, Set14 26.92 dB / 0.7611 after
1e6 + 2e5 updates on ImageNet (protocol `paper`). Without `init_generator` the
SRResNet-MSE stage runs first; the three GAN variants can share one:

  python -m srgan_jax.main --config=configs/mse.py \
    --config.init_generator=runs/srresnet_mse/generator_pretrain.safetensors
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  config = default.get_config()
  config.stages.gan.content = 'mse'
  return config
