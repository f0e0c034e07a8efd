"""The protocols against scikit-image, a slow Daala, and the golden table."""

import itertools
import math

import numpy as np
from PIL import Image
import pytest
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from srgan_jax.evaluation import PROTOCOLS, metrics, score
from srgan_jax.imaging import imresize


def _pair(height=45, width=61, seed=0):
  """A smooth picture and a noisy copy, so that SSIM is far from 0 and 1."""
  rng = np.random.default_rng(seed)
  small = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
  hr = imresize(small, 8)[:height, :width]
  sr = np.clip(hr + rng.normal(0, 20, hr.shape), 0, 255).astype(np.uint8)
  return sr, hr


def _cropped(*images):
  return [image[4:-4, 4:-4] for image in images]


# --- against scikit-image 0.26 ------------------------------------------------


def test_y_is_scikit_images_psnr_and_ssim_on_its_luma():
  sr, hr = _pair()
  x, y = (rgb2ycbcr(image)[..., 0] for image in _cropped(sr, hr))
  scores = score(sr, hr, 'y')
  assert scores['psnr'] == pytest.approx(
    peak_signal_noise_ratio(y, x, data_range=255), abs=1e-9
  )
  _, ssim = structural_similarity(
    x,
    y,
    gaussian_weights=True,
    sigma=1.5,
    use_sample_covariance=False,
    data_range=255,
    full=True,
  )
  assert scores['ssim'] == pytest.approx(ssim[5:-5, 5:-5].mean(), abs=1e-9)
  assert 0.2 < scores['ssim'] < 0.9


def test_rgb_is_scikit_images_psnr_alone():
  sr, hr = _pair()
  x, y = _cropped(sr, hr)
  expected = peak_signal_noise_ratio(y, x, data_range=255)
  assert score(sr, hr, 'rgb') == {'psnr': pytest.approx(expected, abs=1e-9)}


# --- against Daala, written as loops ------------------------------------------


def _bt709(image):
  luma = 16 + image @ np.array([0.2126, 0.7152, 0.0722]) * 219 / 255
  return np.round(luma).astype(int)


def _daala_kernel(height, shorter_side):
  sigma = height * 1.5 / 256
  s = math.sqrt(math.pi / 2) * sigma / 256
  length = 0 if s >= 1 else int(sigma * math.sqrt(-2 * math.log(s)))
  length = min(length, shorter_side - 1)
  scale = 256 / (math.sqrt(2 * math.pi) * sigma)
  kernel = {}
  for x in range(1, length + 1):
    tap = math.floor(scale * math.exp(-(x**2) / (2 * sigma**2)) + 0.5)
    kernel[x] = kernel[-x] = tap
  kernel[0] = 256 - sum(kernel.values())
  return kernel


def _slow_daala(a, b):
  """dump_ssim of the Daala codec, for every pixel and tap, in integers."""
  height, width = a.shape
  kernel = _daala_kernel(height, min(height, width))
  total = total_weight = 0
  for i, j in itertools.product(range(height), range(width)):
    w = ma = mb = aa = bb = ab = 0
    for (dy, ky), (dx, kx) in itertools.product(kernel.items(), repeat=2):
      if 0 <= i + dy < height and 0 <= j + dx < width:
        p, q, k = int(a[i + dy, j + dx]), int(b[i + dy, j + dx]), ky * kx
        w += k
        ma += k * p
        mb += k * q
        aa += k * p * p
        bb += k * q * q
        ab += k * p * q
    ma, mb = ma / w, mb / w
    variances = aa / w - ma**2 + bb / w - mb**2
    covariance = ab / w - ma * mb
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ssim = (2 * ma * mb + c1) / (ma**2 + mb**2 + c1)
    ssim *= (2 * covariance + c2) / (variances + c2)
    total += w * ssim
    total_weight += w
  return total / total_weight


@pytest.mark.parametrize(
  ('height', 'width'),
  [
    (45, 31),  # 3 taps
    (90, 20),  # 5 taps
    (208, 11),  # a window as wide as this image: its reach is cut to 2
    (9, 9),  # one pixel is left, one tap
  ],
)
def test_paper_is_daalas_ssim_pixel_by_pixel(height, width):
  sr, hr = _pair(height, width)
  x, y = map(_bt709, _cropped(sr, hr))
  scores = score(sr, hr, 'paper')
  assert scores['ssim'] == pytest.approx(_slow_daala(x, y), abs=1e-12)
  assert scores['psnr'] == pytest.approx(
    peak_signal_noise_ratio(y, x, data_range=255), abs=1e-9
  )


def test_daalas_window_at_its_nominal_height():
  # sigma 1.5, at which libvmaf's integer_ssim.c runs this code of Daala's.
  taps = metrics.daala_taps(256, 256)
  assert taps.tolist() == [2, 9, 28, 55, 68, 55, 28, 9, 2]
  assert len(metrics.daala_taps(40_000, 40_000)) == 1  # as `s >= 1` there


# --- the golden table ---------------------------------------------------------

# The project's protocol table: these definitions, recomputed from the public
# pairs. (The paper prints 26.26 / .7552, 28.43 / .8211, 24.64 / .7100 and
# 25.99 / .7486 for them.)
GOLDEN = {
  ('Set5', 'nearest'): (26.2571, 0.7550, 26.2583, 0.7380, 24.5564),
  ('Set5', 'bicubic'): (28.4338, 0.8213, 28.4302, 0.8111, 26.6934),
  ('Set14', 'nearest'): (24.6265, 0.7089, 24.7402, 0.6553, 23.1591),
  ('Set14', 'bicubic'): (25.9807, 0.7476, 26.0914, 0.7048, 24.4645),
}


def _nearest(lr):
  return lr.repeat(4, axis=0).repeat(4, axis=1)


def _bicubic(lr):
  return imresize(lr, 4)


def _read(file):
  with Image.open(file) as image:
    return np.asarray(image.convert('RGB'))


@pytest.mark.parametrize(('benchmark', 'method'), list(GOLDEN))
def test_golden_table(shared_data, benchmark, method):
  upscale = {'nearest': _nearest, 'bicubic': _bicubic}[method]
  folder = shared_data / 'benchmarks' / benchmark
  files = sorted((folder / 'HR').glob('*.png'))
  assert len(files) == int(benchmark[3:])
  figures = []
  for file in files:
    hr = _read(file)
    sr = upscale(_read(folder / 'LRx4' / file.name))
    scores = [score(sr, hr, protocol) for protocol in ('paper', 'y', 'rgb')]
    figures.append([figure for each in scores for figure in each.values()])
  decibels, ssims = [0, 2, 4], [1, 3]
  expected = np.array(GOLDEN[benchmark, method])
  # Half a unit of the table's last digit, and a little for its own rounding.
  mean = np.mean(figures, axis=0)
  np.testing.assert_allclose(mean[decibels], expected[decibels], atol=6e-5)
  np.testing.assert_allclose(mean[ssims], expected[ssims], atol=6e-5)


# --- properties and errors ----------------------------------------------------


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_equal_images_are_perfect(protocol):
  _, hr = _pair()
  scores = score(hr, hr, protocol)
  assert scores.pop('psnr') == math.inf
  assert scores == ({} if protocol == 'rgb' else {'ssim': pytest.approx(1)})


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_the_border_of_four_pixels_does_not_count(protocol):
  sr, hr = _pair()
  scores = score(sr, hr, protocol)
  changed = 255 - sr
  changed[4:-4, 4:-4] = sr[4:-4, 4:-4]
  assert score(changed, hr, protocol) == scores
  changed[4, 4] = 255 - sr[4, 4]
  assert score(changed, hr, protocol) != scores


def test_only_the_paper_protocols_window_knows_up_from_sideways():
  sr, hr = _pair(200, 60)
  turned = [image.swapaxes(0, 1) for image in (sr, hr)]
  assert score(*turned, 'y') == pytest.approx(score(sr, hr, 'y'))
  assert (
    abs(score(*turned, 'paper')['ssim'] - score(sr, hr, 'paper')['ssim']) > 1e-3
  )


@pytest.mark.parametrize(
  ('protocol', 'least'), [('paper', 9), ('y', 19), ('rgb', 9)]
)
def test_too_small_an_image_is_refused(protocol, least):
  sr, hr = _pair(least, least + 5)
  assert math.isfinite(score(sr, hr, protocol)['psnr'])
  message = f"'{protocol}' needs .* {least}x{least} pixels, not {least - 1}x"
  with pytest.raises(ValueError, match=message):
    score(sr[1:], hr[1:], protocol)


def test_bad_input_is_refused_in_one_line_that_names_it():
  sr, hr = _pair()
  for arguments, message in (
    ((sr, hr, 'ycbcr'), "one of paper, y, rgb, not 'ycbcr'"),
    ((sr[:-1], hr, 'y'), r'not \[44, 61, 3\] and \[45, 61, 3\]'),
    ((sr, hr / 255, 'y'), r'hr must be uint8 .*, not float64 \[45, 61, 3\]'),
    ((sr[..., 0], hr, 'y'), r'sr must be .*, not uint8 \[45, 61\]'),
  ):
    with pytest.raises(ValueError, match=message) as error:
      score(*arguments)
    assert '\n' not in str(error.value)
