"""Weight files: ours alone, safetensors that say what they hold.

`container` is the format, `networks` and `perceptual` what it holds of G, D and
VGG, `mixing` what lies between two generators, and `architecture` what a
network's fields and tensors are.
"""

from srgan_jax.weights.container import (
  FORMAT,
  Dtype,
  find_placeholder,
  load,
  read_kind,
  reject_placeholder,
  save,
)
from srgan_jax.weights.mixing import mix
from srgan_jax.weights.networks import (
  load_discriminator,
  load_generator,
  rights,
  save_discriminator,
  save_generator,
)
from srgan_jax.weights.perceptual import find_vgg_fault, load_vgg, save_vgg

__all__ = [
  'FORMAT',
  'Dtype',
  'find_placeholder',
  'find_vgg_fault',
  'load',
  'load_discriminator',
  'load_generator',
  'load_vgg',
  'mix',
  'read_kind',
  'reject_placeholder',
  'rights',
  'save',
  'save_discriminator',
  'save_generator',
  'save_vgg',
]
