"""A web server on the loopback interface, for downloads in tests."""

import contextlib
import http.server
import threading
from typing import Any


@contextlib.contextmanager
def serving(handler):
  """The server, whose `address` is http://127.0.0.1:PORT."""
  server: Any = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
  server.address = f'http://127.0.0.1:{server.server_port}'
  thread = threading.Thread(target=server.serve_forever, args=(0.01,))
  thread.start()
  try:
    yield server
  finally:
    server.shutdown()
    server.server_close()
    thread.join()
