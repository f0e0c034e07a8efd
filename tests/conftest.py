"""Fixtures shared by the tests; two virtual devices for all of them."""

import atexit
from collections.abc import Iterator
import gc
import importlib.metadata
import os
import pathlib
import shutil
import signal
import tempfile

# Traced programs are many small objects, none of them garbage.
gc.set_threshold(100_000, 50, 100)

# Before JAX is imported, and for the commands that tests run: several devices,
# so that nothing can rely on there being one; and quick compilation, which is
# most of the suite's time: what is compiled runs a few times.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
if 'PYTEST_XDIST_WORKER' not in os.environ:  # workers inherit what is set here
  _XLA_FLAGS = [
    '--xla_force_host_platform_device_count=2',
    '--xla_cpu_parallel_codegen_split_count=1',
  ]
  # A flag that XLA does not know ends the process: that of JAX 0.12 lacks it.
  if importlib.metadata.version('jaxlib').startswith('0.10.'):
    _XLA_FLAGS.append('--xla_cpu_use_fusion_emitters=false')
  os.environ['XLA_FLAGS'] = ' '.join(
    (os.environ.get('XLA_FLAGS', ''), *_XLA_FLAGS)
  )
  os.environ['JAX_DISABLE_MOST_OPTIMIZATIONS'] = '1'
  os.environ['JAX_TRACEBACK_IN_LOCATIONS_LIMIT'] = '0'  # nobody reads them
  # TensorFlow would import Keras, and that pandas and Matplotlib.
  os.environ['TF_USE_LEGACY_KERAS'] = '1'
  # PyTorch's threads would wait for each other, one worker's for another's.
  os.environ.setdefault('OMP_NUM_THREADS', '1')
  # All workers and commands compile a program once.
  _CACHE = tempfile.mkdtemp(prefix='srgan_jax_tests_')
  atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _CACHE
  os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
  os.environ['JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES'] = '0'

# A suite started in the background ignores Ctrl-C, and so would the commands
# that it runs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest

from tests.support.repository import ROOT


def pytest_sessionfinish() -> None:
  """Collects garbage once, with its warnings; pytest would five times."""
  gc.collect()
  gc.freeze()


@pytest.fixture
def optimized() -> Iterator[None]:
  """Compiles as for users: for tests that compute more than they compile."""
  import jax

  jax.config.update('jax_disable_most_optimizations', False)
  yield
  jax.config.update('jax_disable_most_optimizations', True)


@pytest.fixture(scope='session')
def shared_data() -> pathlib.Path:
  """The folder with `benchmarks/` and `train/`, or a skip by name."""
  shared = pathlib.Path(
    os.environ.get('SRGAN_JAX_SHARED', ROOT.parent / 'shared')
  )
  if not (shared / 'data' / 'benchmarks').is_dir():
    pytest.skip(f'no benchmark images at {shared}/data (set SRGAN_JAX_SHARED)')
  return shared / 'data'
