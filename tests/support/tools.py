"""The tools that time and compile, as commands on the smallest networks."""

from tests.support import repository


def run_tool(name, *arguments, without='', environment=None):
  """Runs tools/NAME.py; without a package, where one is named."""
  code = f"runpy.run_path('tools/{name}.py', None, '__main__')"
  if without:
    code = f'sys.modules[{without!r}] = None; {code}'
  return repository.run_python(
    *('-c', f'import runpy, sys; {code}', *repository.TINY, *arguments),
    env=environment or repository.environment(),
  )
