"""SRGAN-VGG22: the adversarial loss beside VGG19's low-level features.

Table 1, column 4: Set5 29.84 dB / 0.8468, Set14 26.44 dB / 0.7518 after
1e6 + 2e5 updates on ImageNet (protocol `paper`). Without `init_generator` the
SRResNet-MSE stage runs first; the three GAN variants can share one:

  python -m srgan_jax.main --config=configs/vgg22.py \
    --config.init_generator=runs/srresnet_mse/generator_pretrain.safetensors
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  config = default.get_config()
  config.stages.gan.content = 'vgg22'
  return config
