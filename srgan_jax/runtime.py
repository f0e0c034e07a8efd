"""How much of the host's memory is free, on Linux."""

import pathlib


def free() -> int | None:
  """Bytes that the machine or the container has left, None where unknown."""
  known = []
  meminfo = _read('/proc/meminfo')
  for line in meminfo.splitlines():
    if line.startswith('MemAvailable:'):
      known.append(int(line.split()[1]) * 1024)
  limit = _read('/sys/fs/cgroup/memory.max').strip()
  used = _read('/sys/fs/cgroup/memory.current').strip()
  if limit.isdigit() and used.isdigit():
    room = int(limit) - int(used)
    for line in _read('/sys/fs/cgroup/memory.stat').splitlines():
      if line.startswith(('active_file ', 'inactive_file ')):
        room += int(line.split()[1])  # cached files make room
    known.append(room)
  return max(0, min(known)) if known else None


def _read(path: str) -> str:
  try:
    return pathlib.Path(path).read_text()
  except OSError:
    return ''
