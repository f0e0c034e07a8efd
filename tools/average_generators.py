"""Averages the weights of generators: `srgan_jax.paper.averaging`."""

from srgan_jax import cli
from srgan_jax.paper.averaging import main

if __name__ == '__main__':
  cli.run(main)
