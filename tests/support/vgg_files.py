"""VGG files of others, as tests write them."""

import h5py
import numpy as np
import safetensors.numpy

from srgan_jax.models import vgg

# Where torchvision's models have their convolutions.
NUMBERS = {
  16: (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
  19: (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
}
_CLASSIFIERS = {
  'torchvision': ('classifier.0.weight', 'classifier.6.bias'),
  'timm': ('pre_logits.fc1.weight', 'head.fc.bias'),
}


def make_params(depth, layer=None, seed=0):
  """He-normal kernels and small biases up to a layer, in our layout."""
  rng = np.random.default_rng(seed)
  params, inputs = {}, 3
  for name in vgg.layers_up_to(depth, layer or vgg.LAYERS[depth][-1]):
    outputs = vgg._CHANNELS[int(name[4]) - 1]
    kernel = rng.standard_normal((3, 3, inputs, outputs), np.float32)
    params[name] = {
      'kernel': kernel * np.float32((2 / (9 * inputs)) ** 0.5),
      'bias': rng.standard_normal(outputs, np.float32) * np.float32(0.1),
    }
    inputs = outputs
  return params


def state_dict(params, family='torchvision'):
  """The same in PyTorch's layout, with a bit of a classifier."""
  state = {
    name: np.ones((2, 2) if name.endswith('weight') else 2, np.float32)
    for name in _CLASSIFIERS[family]
  }
  numbers = NUMBERS[19 if 'conv5_4' in params else 16]
  for number, layer in zip(numbers, params.values(), strict=True):
    kernel = np.ascontiguousarray(layer['kernel'].transpose(3, 2, 0, 1))
    state[f'features.{number}.weight'] = kernel
    state[f'features.{number}.bias'] = layer['bias']
  return state


def write_timm(path, params):
  safetensors.numpy.save_file(state_dict(params, 'timm'), path)
  return path


def write_h5(path, arrays):
  with h5py.File(path, 'w') as file:
    for name, array in arrays.items():
      file[name] = array
