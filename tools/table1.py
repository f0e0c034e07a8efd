"""The paper's tables 1 and 2 for any weights: `srgan_jax.paper.table1`."""

from srgan_jax import cli
from srgan_jax.paper.table1 import main

if __name__ == '__main__':
  cli.run(main)
