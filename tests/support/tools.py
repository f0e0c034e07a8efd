"""The tools, as commands; those that time and compile on small networks."""

from tests.support import repository


def run_tool(name, *arguments, without='', environment=None):
  """Runs tools/NAME.py; without the packages that are named."""
  code = f"runpy.run_path('tools/{name}.py', None, '__main__')"
  for package in without.split():
    code = f'sys.modules[{package!r}] = None; {code}'
  return repository.run_python(
    *('-c', f'import runpy, sys; {code}', *repository.TINY, *arguments),
    env=environment or repository.environment(),
  )
