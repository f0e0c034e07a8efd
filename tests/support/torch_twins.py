"""Our networks in PyTorch (`speed.torch_networks`), for arrays NHWC."""

import numpy as np
import pytest

from srgan_jax.models import vgg

torch = pytest.importorskip('torch', reason='PyTorch is not installed')

from srgan_jax.speed import torch_networks


def run(module, images):
  """What a module makes of images."""
  with torch.no_grad():
    y = module(torch_networks.tensor(images).permute(0, 3, 1, 2))
  return (y.permute(0, 2, 3, 1) if y.ndim == 4 else y).numpy()


def features(params, depth, layer, pixels):
  """A VGG's features, after the layer's ReLU, of preprocessed pixels."""
  as_they_are = vgg.Preprocessing('rgb', (-1, 1), (0, 0, 0), (1, 1, 1))
  network = vgg.PerceptualNetwork(
    params=params,
    depth=depth,
    preprocessing=as_they_are,
    feature_scale=((layer, 1.0),),
  )
  return run(torch_networks.Features(network, layer), pixels)


def torchvision_pixels(images):
  """What torchvision's documentation asks for, from RGB in [-1, 1]."""
  pixels = (images + 1) / 2 - np.array([0.485, 0.456, 0.406], np.float32)
  return pixels / np.array([0.229, 0.224, 0.225], np.float32)


def caffe_pixels(images):
  """What Caffe's VGG asks for, from RGB in [-1, 1]."""
  pixels = (127.5 * (images + 1))[..., ::-1]
  return pixels - np.array([103.939, 116.779, 123.68], np.float32)
