"""Converts VGG weights of others to ours: `srgan_jax.convert.vgg`."""

from srgan_jax import cli
from srgan_jax.convert.vgg import main

if __name__ == '__main__':
  cli.run(main)
