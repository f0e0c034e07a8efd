"""Times upscaling: `srgan_jax.speed.upscaling`."""

from srgan_jax.speed.upscaling import main

if __name__ == '__main__':
  main()
