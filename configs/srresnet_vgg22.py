"""SRResNet-VGG22: the generator trained on VGG features and total variation.

Table 1, column 2: Set5 30.51 dB / 0.8803, Set14 27.19 dB / 0.7807 after 1e6
updates on ImageNet (protocol `paper`).

  python -m srgan_jax.main --config=configs/srresnet_vgg22.py
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  config = default.get_config()
  config.stages.pretrain.content = 'vgg22'
  config.loss.tv_weight = 2e-8
  config.stages.gan.steps = 0
  return config
