"""What the site adds to the pages: the README as its home, links outwards."""

import pathlib
import re
from typing import Any

from mkdocs.structure import files

_ROOT = pathlib.Path(__file__).parent.parent


def on_files(found: files.Files, config: Any) -> files.Files:
  """Makes the README the page `index.md`."""
  text = (_ROOT / 'README.md').read_text('utf-8')
  text = re.sub(r'\]\(docs/', '](', text)
  found.append(files.File.generated(config, 'index.md', content=text))
  return found


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
  """Has links to files that are no pages lead to the repository."""
  folder = '' if page.file.src_uri == 'index.md' else r'\.\./'
  outside = rf'\]\((?!https?://|#){folder}([^)\s]+)\)'

  def absolute(match: re.Match[str]) -> str:
    if (_ROOT / 'docs' / match[1].partition('#')[0]).exists() and not folder:
      return match[0]
    return f']({config.repo_url}/blob/main/{match[1]})'

  return re.sub(outside, absolute, markdown)
