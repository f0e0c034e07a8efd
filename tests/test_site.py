"""The documentation builds as a site, without warnings."""

import re

from tests.support import repository


def test_the_site_builds_and_its_links_lead_somewhere(tmp_path):
  result = repository.run_python('-m', 'mkdocs', 'build', '-d', str(tmp_path))
  assert not result.returncode, result.stderr
  home = (tmp_path / 'index.html').read_text()
  links = set(re.findall(r'href="([^"#]*)', home))
  for link in links - {''}:
    if link.startswith('https://github.com/'):
      _, found, path = link.partition('/blob/main/')
      assert not found or (repository.ROOT / path).exists(), link
    elif '://' not in link and not link.startswith(('/', 'assets')):
      assert (tmp_path / link).exists(), link
  assert any('/blob/main/CONTRIBUTING.md' in link for link in links)
