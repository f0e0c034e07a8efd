"""The tools that time and compile, as commands on the smallest networks."""

import subprocess
import sys

from tests.support import repository


def run_tool(name, *arguments, without='', environment=None):
  """Runs tools/NAME.py; without a package, where one is named."""
  code = f"runpy.run_path('tools/{name}.py', None, '__main__')"
  if without:
    code = f'sys.modules[{without!r}] = None; {code}'
  return subprocess.run(
    [
      *(sys.executable, '-c', f'import runpy, sys; {code}'),
      *repository.TINY,
      *arguments,
    ],
    cwd=repository.ROOT,
    capture_output=True,
    text=True,
    env=environment or repository.environment(),
  )
