"""The study's server under kills, a full disk and clients that wait."""

import socket
import time

import pytest

pytest.importorskip('starlette', reason='needs the extra mos')
pytest.importorskip('uvicorn', reason='needs the extra mos')

from tests.stress import raters
from tests.support import opinion


@pytest.fixture
def folder(tmp_path):
  return raters.make_study(tmp_path, images=2)


def test_no_acknowledged_score_is_lost_or_doubled(folder):
  found = raters.rate_under_kills(folder, raters=50, kills=3)
  assert found.acknowledged == found.stored == 50 * 2 * 3
  assert found.lost == found.doubled == 0
  assert found.kills == 3


def test_a_full_disk_is_said_and_the_score_kept_later(folder):
  assert raters.rate_on_a_full_disk(folder) == (503, 0, 1)


def test_idle_connections_do_not_keep_raters_out(folder):
  assert raters.answer_time_among_idle(folder, 1100) < 5


_HASTY = """
import sys
from srgan_jax.mos import __main__ as mos, server
server._REQUEST_SECONDS = 1
mos.main(sys.argv[1:])
"""


def test_slow_and_long_requests_are_cut(folder):
  with opinion.serving(folder, command=('-c', _HASTY)) as server:
    address = ('127.0.0.1', server.port)
    head = f'POST /start HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n'
    head += f'Origin: http://127.0.0.1:{server.port}\r\n'
    head += 'Content-Type: application/json\r\n'
    # A body that is announced too long, and one that becomes it.
    for rest in (
      'Content-Length: 10000000000\r\n\r\n',
      'Transfer-Encoding: chunked\r\n\r\n' + 'ff0\r\n' + 'x' * 0xFF0 + '\r\n',
    ):
      with socket.create_connection(address, timeout=10) as client:
        client.sendall((head + rest).encode())
        assert client.recv(100).startswith(b'HTTP/1.1 413 ')
    with socket.create_connection(address, timeout=10) as client:
      client.sendall(head.encode() + b'X: ' + b'y' * 100_000)
      assert client.recv(100).startswith(b'HTTP/1.1 400 ')
    # One that never ends.
    with socket.create_connection(address, timeout=10) as client:
      start = time.monotonic()
      client.sendall((head + 'Content-Length: 2\r\n\r\n{').encode())
      assert client.recv(100) == b''
      assert 0.9 < time.monotonic() - start < 10
