"""Attacks readers and servers: the figures of docs/reliability.md.

python tools/stress.py           # minutes; exit status 1 where one held not
python tools/stress.py --short   # fewer raters' scores and kills
"""

from srgan_jax import cli
from srgan_jax.stress.command import main

if __name__ == '__main__':
  cli.run(main)
