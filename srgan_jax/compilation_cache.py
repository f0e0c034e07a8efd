"""Compiled programs kept on disk, so that the next start is quick."""

import os

import jax

from srgan_jax import files


def enable() -> None:
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
