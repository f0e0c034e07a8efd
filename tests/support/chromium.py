"""Headless Chromium for the tests of pages; they skip where it is missing."""

import shutil

import pytest

CHROMIUM, DRIVER = (shutil.which(n) for n in ('chromium', 'chromedriver'))

# The sandbox does not work for root, as in containers; nothing is to be asked
# of the network.
_FLAGS = (
  *('headless', 'no-sandbox', 'disable-gpu', 'disable-quic', 'no-first-run'),
  *('disable-background-networking', 'disable-component-update'),
  *('disable-sync', 'disable-dev-shm-usage', 'force-color-profile=srgb'),
)


def skip_without():
  """Skips the test, or with it the module, by the name of what is missing."""
  pytest.importorskip('selenium', reason='selenium is not installed')
  if not CHROMIUM or not DRIVER:
    pytest.skip(
      'the programs chromium and chromedriver are not installed',
      allow_module_level=True,
    )


def options(profile, *flags):
  """ChromeOptions with an empty profile folder; flags are without their --."""
  from selenium import webdriver

  result = webdriver.ChromeOptions()
  result.binary_location = CHROMIUM or ''
  for flag in (*_FLAGS, f'user-data-dir={profile}', *flags):
    result.add_argument(f'--{flag}')
  return result


def start(chrome_options):
  """The driver of a browser of its own."""
  from selenium import webdriver

  return webdriver.Chrome(chrome_options, webdriver.ChromeService(DRIVER))
