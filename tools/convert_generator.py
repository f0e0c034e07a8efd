"""Converts a generator of others to ours: `srgan_jax.convert.generator`."""

from srgan_jax import cli
from srgan_jax.convert.generator import main

if __name__ == '__main__':
  cli.run(main)
