"""What the tests of converters share."""

import pytest

from srgan_jax.models import vgg


@pytest.fixture
def narrow_vgg(monkeypatch):
  """VGG has an eighth of its channels meanwhile, so that files are small."""
  channels = tuple(count // 8 for count in vgg._CHANNELS)
  monkeypatch.setattr(vgg, '_CHANNELS', channels)
