"""Downloads the benchmarks: `srgan_jax.paper.benchmark_downloads`."""

from srgan_jax.paper.benchmark_downloads import main

if __name__ == '__main__':
  main()
