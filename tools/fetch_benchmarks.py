"""Downloads the benchmarks: `srgan_jax.paper.benchmark_downloads`."""

from srgan_jax import cli
from srgan_jax.paper.benchmark_downloads import main

if __name__ == '__main__':
  cli.run(main)
