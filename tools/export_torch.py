"""Writes a generator as a PyTorch state dict: `srgan_jax.convert.to_torch`."""

from srgan_jax import cli
from srgan_jax.convert.to_torch import main

if __name__ == '__main__':
  cli.run(main)
