"""What a process takes from its machine: free memory, and a cache of programs.

Compiled programs are kept on disk, so that the next start is quick.
"""

import os
import pathlib

import jax

from srgan_jax import files


def enable_compilation_cache() -> None:
  """Has this process keep its programs in the user's cache folder.

  For commands: a library leaves its caller's configuration alone. A folder that
  JAX was told of already (JAX_COMPILATION_CACHE_DIR) stays; one that cannot be
  written is done without.
  """
  if os.environ.get('JAX_COMPILATION_CACHE_DIR'):
    return
  try:
    folder = files.cache_folder('xla')
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
      return
  except OSError:
    return
  jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)


def free_memory() -> int | None:
  """Bytes that the machine or the container has left, None where unknown.

  Known on Linux.
  """
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


def is_out_of_memory(error: Exception) -> bool:
  """Whether an error of JAX or Python says that memory ran out."""
  text = str(error).lower()
  return (
    isinstance(error, MemoryError)
    or 'resource_exhausted' in text
    or 'out of memory' in text
  )


def _read(path: str) -> str:
  try:
    return pathlib.Path(path).read_text()
  except OSError:
    return ''
