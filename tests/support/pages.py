"""Commands that serve a page, and requests that no page would send."""

import contextlib
import http.client
import re
import signal
import subprocess
import sys
import urllib.parse

from tests.support import repository

PATIENCE = 60  # seconds


class Server:
  """Python with these arguments in a process of its own, on one port."""

  def __init__(self, *arguments, **settings):
    self.command, self.settings = [sys.executable, *arguments], settings
    self.port = 0
    self.start()

  def start(self):
    """Starts it, again after `kill`, and waits until it answers."""
    self.process = subprocess.Popen(
      [*self.command, f'--port={self.port}'],
      cwd=repository.ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      **self.settings,
    )
    assert self.process.stdout is not None
    line = self.process.stdout.readline()
    address = re.search(r'open (http://\S+:(\d+)/(\?token=(\S+))?)', line)
    assert address, line + self.process.communicate()[1]
    self.port, self.token = int(address[2]), address[4]
    self.url = f'http://127.0.0.1:{self.port}'

  def kill(self):
    self.process.send_signal(signal.SIGKILL)
    self.process.communicate()

  def stop(self):
    """Ends it in order; what it said on stderr."""
    self.process.terminate()
    return self.process.communicate(timeout=PATIENCE)[1]


@contextlib.contextmanager
def serving(*arguments, **settings):
  server = Server(*arguments, **settings)
  try:
    yield server
  finally:
    if server.process.poll() is None:
      server.stop()


def ask(url, path, body=None, **headers):
  """Status, headers and content of a request; None is for no such header."""
  host = urllib.parse.urlsplit(url).netloc
  sent = {'Host': host} | {k.replace('_', '-'): v for k, v in headers.items()}
  connection = http.client.HTTPConnection(host, timeout=PATIENCE)
  try:
    connection.request(
      'GET' if body is None else 'POST',
      path,
      body,
      {name: value for name, value in sent.items() if value is not None},
    )
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()
  finally:
    connection.close()
