"""Opinion scores in a real browser: headless Chromium, driven from outside."""

import http.server
import io

import numpy as np
from PIL import Image
import pytest

from tests.support import chromium, loopback, opinion

chromium.skip_without()
pytest.importorskip('starlette', reason='needs the extra mos')
pytest.importorskip('uvicorn', reason='needs the extra mos')

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions import interaction
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from srgan_jax.mos import study
from tests.stress import raters

_PHONE = {'width': 360, 'height': 640, 'pixelRatio': 3, 'touch': True}


class Browser:
  """A browser of its own, with nothing in its memory, on a study's page."""

  def __init__(self, profile, url, *, ratio=1.0, phone=None):
    options = chromium.options(
      profile, 'window-size=900,700', f'force-device-scale-factor={ratio}'
    )
    if phone:
      options.add_experimental_option(
        'mobileEmulation', {'deviceMetrics': phone}
      )
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    self.driver = chromium.start(options)
    self.driver.get(url)

  def wait(self, condition):
    """Until a JavaScript expression is true; its value."""
    script = f'return {condition}'
    return WebDriverWait(self.driver, 15, 0.02).until(
      lambda driver: driver.execute_script(script), condition
    )

  def shown(self, name):
    """An element, once it can be seen."""
    self.wait(f"document.getElementById('{name}').checkVisibility()")
    return self.driver.find_element(By.ID, name)

  def press(self, *keys):
    for key in keys:
      self.wait('accepting')
      ActionChains(self.driver).send_keys(key).perform()

  def tap(self, element):
    finger = PointerInput(interaction.POINTER_TOUCH, 'finger')
    actions = ActionBuilder(self.driver, mouse=finger)
    actions.pointer_action.move_to(element).pointer_down().pointer_up()
    actions.perform()

  def begin(self):
    """From the first page by keys to the first image, examples seen."""
    for name in ('start', 'continue'):
      self.shown(name)
      ActionChains(self.driver).send_keys('\ue007').perform()  # Enter
    self.press('1', '5')
    self.wait("accepting && state.phase === 'rating'")

  def pixels(self):
    """The image's part of the screen, uint8 [H, W, 3], and where it is."""
    png = self.driver.get_screenshot_as_png()
    screen = np.asarray(Image.open(io.BytesIO(png)).convert('RGB'))
    box = self.driver.execute_script(
      'const r = picture.getBoundingClientRect(), d = devicePixelRatio;'
      'return [r.top, r.left, r.bottom, r.right].map((x) => x * d)'
    )
    top, left, bottom, right = (round(value) for value in box)
    np.testing.assert_allclose(box, (top, left, bottom, right), atol=0.1)
    return screen[top:bottom, left:right]

  def complaints(self):
    """What the browser itself found wrong, but for a server that is away."""
    return [
      entry['message']
      for entry in self.driver.get_log('browser')
      if 'net::ERR_' not in entry['message']
      and 'status of 404' not in entry['message']
    ]


@pytest.fixture
def open_browser(tmp_path):
  browsers = []

  def start(server, **options):
    profile = tmp_path / f'profile_{len(browsers)}'
    browsers.append(Browser(profile, server.url, **options))
    return browsers[-1]

  yield start
  for browser in browsers:
    browser.driver.quit()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Four versions of two images, one image twice: 12 trials; one is wide."""
  return opinion.make_study(
    tmp_path_factory.mktemp('mos') / 'study', a=(1200, 40), b=(96, 80)
  )


def expected(folder, file):
  return np.asarray(Image.open(folder / 'images' / file))


def come_back(browser, code):
  """Mistypes a code, then types it."""
  field = browser.shown('code')
  field.send_keys('nothing\n')
  browser.wait("document.getElementById('wrong-code').textContent")
  field.clear()
  field.send_keys(code + '\n')
  browser.shown('continue').click()


def test_a_session_by_keys_with_the_server_killed_and_another_day(
  folder, open_browser
):
  what = study.load(folder)
  scores = [3, 1, 5, 2, 4, 4, 1, 2, 3, 5, 5, 1]
  assert len(scores) == len(what.files)
  before = len({rating.rater for rating in opinion.kept(folder)})
  with opinion.serving(folder) as server:
    browser = open_browser(server)
    browser.begin()
    assert browser.shown('where').text == 'Image 1 of 12'
    # No scores: other keys, and those of the browser.
    browser.press('6', '0', 'x')
    ActionChains(browser.driver).key_down('\ue009').send_keys('2').key_up(
      '\ue009'
    ).perform()
    browser.press(*map(str, scores[:3]))
    browser.wait('accepting && state.position === 3')
    server.kill()
    browser.press(str(scores[3]))
    assert 'does not answer' in browser.shown('trouble').text
    assert len(opinion.kept(folder)) % 12 == 3
    server.start()
    browser.wait('accepting && state.position === 4')
    assert not browser.driver.find_element(By.ID, 'trouble').is_displayed()
    browser.press(str(scores[4]))
    browser.wait('accepting && state.position === 5')
    browser.shown('stop').click()
    code = browser.shown('own-code').text
    assert browser.shown('so-far').text == '5 of 12 images scored.'
    # The page as it was, after the browser too was away.
    browser.driver.refresh()
    assert browser.shown('own-code').text == code
    assert not browser.complaints()
    browser.driver.quit()

    # Another day, another screen, on which CSS pixels are not the screen's.
    browser = open_browser(server, ratio=1.5)
    come_back(browser, code.lower())
    for score in scores[5:]:
      browser.wait('accepting')
      file = browser.driver.execute_script('return state.image')
      image = expected(folder, file)
      if image.shape[1] < 900:
        np.testing.assert_array_equal(browser.pixels(), image)
      browser.press(str(score))
    assert browser.shown('all').text == 'You scored all 12 images.'
    browser.shown('next-rater').click()
    browser.shown('start')
  found = [
    rating for rating in opinion.kept(folder) if rating.rater == before + 1
  ]
  assert [rating.score for rating in found] == scores
  assert [r.file for r in found] == [t.file for t in what.order(before + 1)]


def test_a_link_on_another_site_leads_to_the_study(folder, open_browser):
  class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      self.send_response(200)
      self.send_header('Content-Type', 'text/html')
      self.end_headers()
      link = f'<a href="{server.url}/?token={server.token}">the test</a>'
      self.wfile.write(link.encode())

    def log_message(self, *_):
      pass

  with (
    opinion.serving(folder, '--host=0.0.0.0') as server,
    loopback.serving(Site) as site,
  ):
    browser = open_browser(server)
    # By this name it is another site than the study's 127.0.0.1.
    browser.driver.get(f'http://localhost:{site.server_port}/')
    browser.driver.find_element(By.TAG_NAME, 'a').click()
    browser.begin()
    assert server.token not in browser.driver.current_url


def test_a_full_disk_is_shown_and_the_score_sent_again(folder, open_browser):
  before = len(opinion.kept(folder))
  with opinion.serving(folder) as server:
    browser = open_browser(server)
    browser.begin()
    raters.fill_disk(server, True)
    browser.press('4')
    assert 'cannot be saved' in browser.shown('trouble').text
    assert len(opinion.kept(folder)) == before
    raters.fill_disk(server, False)
    browser.wait('accepting && state.position === 1')
    assert not browser.driver.find_element(By.ID, 'trouble').is_displayed()
  assert len(opinion.kept(folder)) == before + 1


def test_a_phone_and_its_finger(folder, open_browser):
  before = len(opinion.kept(folder))
  with opinion.serving(folder) as server:
    browser = open_browser(server, phone=_PHONE)
    for name in ('start', 'continue'):
      browser.tap(browser.shown(name))
    driver = browser.driver
    buttons = browser.shown('scores').find_elements(By.TAG_NAME, 'button')
    for score in (1, 5):
      browser.wait('accepting')
      browser.tap(buttons[score - 1])
    seen = set()
    while len(seen) < 2:  # at most 9 images
      browser.wait("accepting && state.phase === 'rating'")
      # All of the page is in the window, and a finger finds the buttons.
      assert driver.execute_script(
        'const page = document.documentElement;'
        'return innerWidth === 360 && innerHeight === 640 && '
        'page.scrollWidth <= 360 && page.scrollHeight <= 640'
      )
      for button in buttons:
        assert button.rect['width'] >= 44 and button.rect['height'] >= 44
      image = expected(folder, driver.execute_script('return state.image'))
      larger = image.shape[1] > 360 * 3
      assert browser.driver.find_element(By.ID, 'larger').is_displayed() == (
        larger
      )
      width, height, ratio = driver.execute_script(
        'const r = picture.getBoundingClientRect();'
        'return [r.width, r.height, devicePixelRatio]'
      )
      assert ratio == 3
      np.testing.assert_allclose(
        (height * 3, width * 3), image.shape[:2], atol=0.1
      )
      if larger:
        # It scrolls, from its first column to its last.
        shown = browser.pixels()
        np.testing.assert_array_equal(shown, image[:, : shown.shape[1]])
        driver.execute_script(
          "document.getElementById('stage').scrollTo(9e9, 0)"
        )
        right = driver.execute_script(
          'return picture.getBoundingClientRect().right'
        )
        assert right <= 360.1
      else:
        np.testing.assert_array_equal(browser.pixels(), image)
      seen.add(larger)
      position = driver.execute_script('return state.position')
      browser.tap(buttons[3])
      browser.wait(f'state.position === {position + 1}')
    assert not browser.complaints()
  rated = opinion.kept(folder)
  assert len(rated) > before + 1 and rated[-1].score == 4
