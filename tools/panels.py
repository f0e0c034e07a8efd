"""Crops of methods side by side: `srgan_jax.evaluation.panels`."""

from srgan_jax import cli
from srgan_jax.evaluation.panels import main

if __name__ == '__main__':
  cli.run(main)
