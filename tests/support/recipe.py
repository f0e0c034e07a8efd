"""A recipe of the smallest networks, and a clock that it goes by."""

from srgan_jax.paper import recipe as recipe_lib
from srgan_jax.speed import timed_calls
from srgan_jax.training import interruption
from tests.support import repository

TINY = [
  f'--data=folder:{repository.PHOTOS / "train"}',
  '--config.data.validation=hold-out:1',
  '--config.model.blocks=1',
  '--config.model.channels=4',
  '--config.model.discriminator_channels=4',
  '--config.batch_size=4',
  '--config.crop_size=32',
  '--config.save_every=3',
]


class Clock:
  """In place of the module `time`: goes on when it is told to."""

  def __init__(self, monkeypatch, *, update, compilation):
    self.now = 0.0

    def time_updates(*arguments, **settings):
      self.now += compilation
      return update

    monkeypatch.setattr(timed_calls, 'seconds_per_step', time_updates)
    monkeypatch.setattr(recipe_lib, 'time', self)
    monkeypatch.setattr(interruption, 'time', self)

  def monotonic(self):
    return self.now
