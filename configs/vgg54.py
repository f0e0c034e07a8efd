"""SRGAN-VGG54: the paper's SRGAN, on VGG19's high-level features.

Table 1, column 5: Set5 29.40 dB / 0.8472, Set14 26.02 dB / 0.7397 after
1e6 + 2e5 updates on ImageNet (protocol `paper`). Without `init_generator` the
SRResNet-MSE stage runs first; the three GAN variants can share one:

  python -m srgan_jax.main --config=configs/vgg54.py \
    --config.init_generator=runs/srresnet_mse/generator_pretrain.safetensors
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  config = default.get_config()
  config.stages.gan.content = 'vgg54'
  return config
