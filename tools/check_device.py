"""Compares an accelerator with the CPU: `srgan_jax.speed.device_check`."""

from srgan_jax import cli
from srgan_jax.speed.device_check import main

if __name__ == '__main__':
  cli.run(main)
