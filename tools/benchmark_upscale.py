"""Times upscaling: `srgan_jax.speed.upscaling`."""

from srgan_jax import cli
from srgan_jax.speed.upscaling import main

if __name__ == '__main__':
  cli.run(main)
