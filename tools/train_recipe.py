"""Trains the paper's five variants: `srgan_jax.paper.recipe`."""

from srgan_jax import cli
from srgan_jax.paper.recipe import main

if __name__ == '__main__':
  cli.run(main)
