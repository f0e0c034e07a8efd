"""Converts the weights of LPIPS v0.1: `srgan_jax.convert.lpips`."""

from srgan_jax import cli
from srgan_jax.convert.lpips import main

if __name__ == '__main__':
  cli.run(main)
