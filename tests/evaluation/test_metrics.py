"""The protocols against scikit-image, a slow Daala, and the golden table."""

import itertools
import math

import numpy as np
import pytest
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from srgan_jax.evaluation import PROTOCOLS, metrics, score
from tests.support import small


def _pair(height=45, width=61):
  return small.make_pair(height, width)


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
