"""Tiles: the same picture as the plain network's at the picture's own size."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from srgan_jax import runtime
from srgan_jax.models import folded
from srgan_jax.models.generator import Generator
from srgan_jax.upscaling import tiling, upscaler
from tests.support import networks
from tests.support.upscaling import network, noise

HALO = 12  # of two blocks


def plain(image, **fields):
  """The oracle: uint8 [H, W, 3] through the network as it was trained."""
  lr = np.asarray(image, np.float32)[None] / 255
  sr = np.asarray(networks.infer(*network(**fields), lr))[0]
  assert sr.std() > 0.02 and (np.abs(sr) < 1).mean() > 0.7  # not all clipped
  return np.clip((sr + 1) * 127.5, 0, 255)


FIELDS = [
  {},
  {'middle': 'prelu', 'output': 'tanh', 'input_mean': (0.4, 0.5, 0.3)},
  {'skip_connections': False},
]


# As many channels as the paper's, which take faster convolutions.
@pytest.mark.parametrize(
  'fields', [*FIELDS, {'channels': 64}], ids=lambda f: '-'.join(f) or 'paper'
)
def test_the_folded_network_is_the_same_in_any_buffer_and_strips(fields):
  generator, variables = network(**fields)
  params = folded.fold(generator, variables)
  lr = noise(13, 10, 3)[None] / np.float32(255)
  expected = networks.infer(generator, variables, lr)
  run = jax.jit(functools.partial(folded.upscale, generator), static_argnums=3)
  np.testing.assert_allclose(run(params, lr), expected, atol=2e-6)
  buffers = noise(2, 24, 16, 3) / np.float32(255)  # what is outside is not read
  buffers[0, :13, :10] = lr[0]
  sizes = np.array([[13, 10], [24, 16]])
  for strips in (1, 3) if not fields else (3,):
    sr = run(params, buffers, sizes, strips)
    np.testing.assert_allclose(sr[0, :52, :40], expected[0], atol=2e-6)
  np.testing.assert_allclose(
    sr[1:], networks.infer(generator, variables, buffers[1:]), atol=2e-6
  )


def test_the_halo_is_as_far_as_the_network_sees():
  generator, variables = network()
  assert folded.halo(generator) == HALO
  assert folded.halo(Generator()) == 40
  column = 2 * HALO

  def total(lr):
    sr = networks.infer(generator, variables, lr)
    return sr[:, :, 4 * column : 4 * column + 4].sum()

  lr = jnp.full((1, 1, 4 * HALO, 3), 0.5)
  seen = np.flatnonzero(np.any(jax.grad(total)(lr)[0, 0], axis=-1))
  assert (seen[0], seen[-1]) == (column - HALO, column + HALO)


def test_tiles_lie_inside_and_each_result_is_far_from_their_edges():
  for length in range(1, 200):
    for side, halo in ((25, 12), (40, 12), (64, 3), (81, 40)):
      spans = tiling.spans(length, side, halo)
      kept = [pixel for s in spans for pixel in range(s.first, s.last)]
      assert kept == list(range(length))
      for span in spans[: 1 if length <= side else None]:
        end = min(span.start + side, length)
        assert 0 <= span.start and (length <= side or end == span.start + side)
        assert span.first == 0 or span.first - span.start >= halo
        assert span.last == length or end - span.last >= halo
  with pytest.raises(ValueError, match='larger than 24'):
    tiling.spans(100, 24, 12)


# Smaller than a tile, as large, a pixel more, several, one pixel wide.
SIZES = [
  (1, 1), (1, 32), (3, 77), (100, 1), (31, 33), (32, 32), (33, 40), (65, 95),
  (73, 32), (17, 131),
]  # fmt: skip


@pytest.mark.parametrize(
  ('fields', 'sizes'), [({}, SIZES), (FIELDS[1], [(9, 20), (50, 33)])]
)
def test_tiled_is_the_plain_network_at_every_size(fields, sizes):
  tiled = upscaler.Upscaler(*network(**fields), tile=32)
  for size in sizes:
    image = noise(*size, 3)
    assert np.abs(tiled(image) - plain(image, **fields)).max() <= 0.51, size


def test_pictures_of_a_tile_or_more_share_one_program():
  tiled = upscaler.Upscaler(*network(), tile=100)
  upscaler._network.cache_clear()
  for size in ((100, 100), (101, 120), (300, 105)):
    tiled(noise(*size, 3))
    tiled(noise(*size, 3).astype(np.uint16))
    tiled(noise(*size))
  programs = upscaler._network.cache_info()
  assert programs.currsize == 1 and programs.maxsize is not None


def test_small_pictures_of_many_sizes_share_few_programs(monkeypatch):
  shapes = buffers(monkeypatch)
  automatic = upscaler.Upscaler(*network())
  sizes = np.random.default_rng(0).integers(33, 90, (40, 2))
  for i, size in enumerate(sizes):
    image = noise(*size, 3)
    sr = automatic(image)
    assert i % 10 or np.abs(sr - plain(image)).max() <= 0.51
  assert len(set(map(tuple, sizes))) == 40 and len(set(shapes)) <= 8


def test_small_tiles_and_batches_go_through_together(monkeypatch):
  shapes = buffers(monkeypatch)
  images = noise(5, 11, 14, 3)
  sr = upscaler.Upscaler(*network())(images)
  assert shapes == [(4, 32, 32, 3)] * 2
  for image, one in zip(images, sr, strict=True):
    assert np.abs(one - plain(image)).max() <= 0.51


def buffers(monkeypatch):
  """The shapes of the buffers that the network gets, as they come."""
  shapes = []
  run = upscaler._network
  monkeypatch.setattr(
    upscaler, '_network', lambda *a: shapes.append(a[-1]) or run(*a)
  )
  return shapes


def limit(pixels):
  return tiling.Limit(None, pixels, tiling.Grid(8, 8), 0, 0)


def computed(size, shape):
  """Pixels of all tiles to one of the picture."""
  return tiling.computed(*size, 40, shape) / np.prod(size)


def test_automatic_tiles_fit_the_memory_and_do_little_twice():
  for size in ((2500, 2500), (3, 4000), (600, 400), (100, 101), (1, 1)):
    shape = tiling.shape(*size, 40, limit(720**2))
    assert np.prod(shape) <= 720**2
    waste = computed(size, shape)
    assert waste < 1.35 or max(size) < 9 or min(size) < 9, (size, waste)
  # Not even a pixel between the halos: the smallest tiles all the same.
  assert min(tiling.shape(2500, 2500, 40, limit(1))) > 80
  cpu = tiling.automatic(jax.devices()[0], channels=64, halo=40)
  assert cpu.side is None and 0 < cpu.pixels <= 720**2


class Device:
  platform = 'gpu'

  def __init__(self, free):
    self._free = free

  def memory_stats(self):
    return {'bytes_limit': self._free + 2**30, 'bytes_in_use': 2**30}


def test_on_an_accelerator_tiles_are_of_one_side_by_its_free_memory():
  side = lambda free: tiling.automatic(Device(free), 64, 40).side
  assert side(100 * 2**30) == 1024
  assert 256 <= side(6 * 2**30) <= 640
  assert side(6 * 2**30) < side(12 * 2**30)
  assert side(2**20) == 88 and tiling.spans(200, 88, halo=40)
  gpu = tiling.automatic(Device(100 * 2**30), 64, 40)
  assert tiling.shape(5000, 3000, 40, gpu) == (1024, 1024)
  smaller = gpu.halved((1024, 1024))
  assert tiling.shape(5000, 3000, 40, smaller) == (720, 720)
  assert tiling.shape(100, 3000, 40, gpu) == (128, 1024)
  assert tiling.Shapes(gpu, 40).choose(1, 360, 640) == (512, 1024)
  assert [tiling.batch_size((256, 256), n, 1, gpu) for n in (15, 16)] == [1, 16]


@pytest.mark.parametrize(
  'device', [Device(100 * 2**30), jax.devices()[0]], ids=['gpu', 'cpu']
)
def test_a_size_that_comes_often_gets_tiles_that_fit(device):
  automatic = tiling.automatic(device, 64, 40)
  for size in ((100, 70), (360, 640), (600, 800), (1080, 1920), (2160, 3840)):
    shapes = tiling.Shapes(automatic, halo=40)
    seen = [shapes.choose(1, *size) for _ in range(10_000)]
    common, fitted = seen[0], seen[-1]
    assert np.prod(fitted) <= automatic.pixels
    assert computed(size, fitted) < 1.35 and seen == sorted(
      seen, key=lambda shape: shape == fitted
    )  # once it has it, it keeps it
    lost = tiling.computed(*size, 40, common)
    lost -= tiling.computed(*size, 40, fitted)
    often = seen.count(common) if common != fitted else 0
    assert often * lost <= automatic.program
    # Another size has still the shape that all share.
    assert device.platform == 'cpu' or shapes.choose(1, 1030, 90) == (1024, 128)


FILES = {
  '/proc/meminfo': 'MemTotal: 9 kB\nMemAvailable:    7 kB\n',
  '/sys/fs/cgroup/memory.max': '6000\n',
  '/sys/fs/cgroup/memory.current': '5000\n',
  '/sys/fs/cgroup/memory.stat': 'file 9\nactive_file 30\ninactive_file 4\n',
}


@pytest.mark.parametrize(
  ('changes', 'free'),
  [
    ({}, 1034),
    ({'/sys/fs/cgroup/memory.max': 'max\n'}, 7168),
    ({'/sys/fs/cgroup/memory.current': '9000\n'}, 0),
    (dict.fromkeys(FILES, ''), None),
  ],
)
def test_free_memory_is_the_machines_or_the_containers(
  monkeypatch, changes, free
):
  """With the files that a container has read, which make room."""
  monkeypatch.setattr(runtime, '_read', (FILES | changes).get)
  assert runtime.free_memory() == free
  cpu = tiling.automatic(jax.devices()[0], channels=64, halo=40)
  assert cpu.side is None and cpu.pixels > 0


def out_of_memory_above(monkeypatch, pixels, once=0):
  """The device has memory for so many pixels a call, but fails call `once`."""
  run, seen, total = upscaler._network, [], itertools.count(1)

  def fail(*arguments):
    seen.append(int(np.prod(arguments[-1][:3])))
    if seen[-1] > pixels or next(total) == once:
      raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory')
    return run(*arguments)

  monkeypatch.setattr(upscaler, '_network', fail)
  return seen


def test_after_running_out_of_memory_it_goes_on_with_smaller_tiles(
  monkeypatch,
):
  seen = out_of_memory_above(monkeypatch, 5500, once=3)
  image, done = noise(70, 90, 3), []
  automatic = upscaler.Upscaler(*network())
  sr = automatic(image, done.append)
  assert np.abs(sr - plain(image)).max() <= 0.51
  assert seen[0] == 96 * 96 and seen[1] < seen[0]
  assert sum(done) == 70 * 90 and min(done) > 0  # what is redone counts once
  seen.clear()
  automatic(image)
  assert max(seen) <= 5500  # it has learnt


def test_memory_that_does_for_no_tile_is_said(monkeypatch):
  seen = out_of_memory_above(monkeypatch, 0)
  # 32 blocks: no shape is smaller than one whose half is large enough.
  deep = Generator(32, 2)
  variables = networks.init(deep, 0, jnp.zeros((1, 4, 4, 3)))
  with pytest.raises(MemoryError, match='with the smallest tiles'):
    upscaler.Upscaler(deep, variables)(noise(1000, 1000, 3))
  assert len(seen) < 10
  with pytest.raises(MemoryError, match='with the smallest tiles'):
    upscaler.Upscaler(*network())(noise(40, 40, 3))
  with pytest.raises(MemoryError, match='tiles of 32 pixels'):
    upscaler.Upscaler(*network(), tile=32)(noise(40, 40, 3))
