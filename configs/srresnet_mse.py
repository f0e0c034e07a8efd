"""SRResNet-MSE: the paper's generator trained on the mean squared error.

Table 1, column 1: Set5 32.05 dB / 0.9019, Set14 28.49 dB / 0.8184 after 1e6
updates on ImageNet (protocol `paper`). The three GAN variants start from the
`generator_pretrain.safetensors` of this run.

  python -m srgan_jax.main --config=configs/srresnet_mse.py
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
  config = default.get_config()
  config.stages.gan.steps = 0
  return config
