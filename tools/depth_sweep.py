"""The paper's figure 7: `srgan_jax.paper.depth_sweep`."""

from srgan_jax import cli
from srgan_jax.paper.depth_sweep import main

if __name__ == '__main__':
  cli.run(main)
