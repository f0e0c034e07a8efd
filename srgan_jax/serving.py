"""Serves a page safely to a network.

`Guard` wraps an application: it refuses foreign host names and origins, large
bodies and too many requests, and adds security headers. `run` drops slow and
idle connections.
"""

import asyncio
import collections
from collections.abc import Callable, Mapping
import contextlib
import functools
import socket
from typing import Any

from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
import uvicorn
from uvicorn.protocols.http import h11_impl

from srgan_jax import cli

_LOOPBACK = ['127.0.0.1', '[::1]', 'localhost']
# What all clients may take together, and one to take its answer.
_CONNECTIONS = 256
_REQUESTS = 128  # in flight
_CLIENT_REQUESTS = 64  # of those, from one address
_WRITE_SECONDS = 60

# No other site shows or embeds the page, or learns where it was.
_HEADERS = {
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
}


def is_local(host: str) -> bool:
  """Whether an address to listen on is reached from this machine alone."""
  return _in_address(host) in _LOOPBACK


class Guard:
  """Middleware that refuses what no page of ours would ask."""

  def __init__(
    self,
    application: ASGIApp,
    *,
    body: int,
    local: bool,
    headers: Mapping[str, str],
    objection: Callable[[Request, bytes], str],
    uploads: Mapping[str, int] | None = None,
  ):
    """Wraps an application.

    Args:
      application: the one to guard.
      body: the most bytes of a request's body. It has come before the request
        counts as one in flight.
      local: whether it answers to names of the loopback interface alone. That
        keeps out sites that point their own name at this machine.
      headers: added to every answer that lacks them, with the security headers.
      objection: why a request with this body is refused, or ''.
      uploads: by path the most bytes of a body that the application reads while
        it comes; `objection` is given b'' for it.
    """
    self._application = application
    self._body = body
    self._uploads = uploads or {}
    self._named = TrustedHostMiddleware(
      self._answer, _LOOPBACK if local else None, www_redirect=False
    )
    self._headers = [
      (name.lower().encode(), value.encode())
      for name, value in {**_HEADERS, **headers}.items()
    ]
    self._objection = objection
    self._requests: collections.Counter[str] = collections.Counter()

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request."""

    async def secured(message: Message) -> None:
      if message['type'] == 'http.response.start':
        present = {name for name, _ in message['headers']}
        added = [both for both in self._headers if both[0] not in present]
        message['headers'] = [*message['headers'], *added]
      await send(message)

    await self._named(scope, receive, secured)

  async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
    if scope['type'] == 'lifespan':
      await self._application(scope, receive, send)
      return
    path = scope['path']
    bounded = RequestBodyLimitMiddleware(
      self._pass if path in self._uploads else self._read,
      self._uploads.get(path, self._body),
    )
    with contextlib.suppress(ClientDisconnect):
      await bounded(scope, receive, send)

  async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    messages = iter([{'type': 'http.request', 'body': body}])

    async def receive_again() -> Message:
      return next(messages, None) or await receive()

    await self._pass(scope, receive_again, send, body)

  async def _pass(
    self, scope: Scope, receive: Receive, send: Send, body: bytes = b''
  ) -> None:
    """Hands a request on, if nothing is against it."""
    request, count = Request(scope), self._requests
    client = request.client.host if request.client else ''
    if why := _foreign(request) or self._objection(request, body):
      await refusal(403, why)(scope, receive, send)
    elif count.total() >= _REQUESTS or count[client] >= _CLIENT_REQUESTS:
      await refusal(503, 'The server is busy.')(scope, receive, send)
    else:
      count[client] += 1
      try:
        await self._application(scope, receive, send)
      finally:
        count -= collections.Counter([client])  # and without those of none


def refusal(status: int, why: str) -> JSONResponse:
  """An error as the page reads it."""
  return JSONResponse({'error': why}, status_code=status)


def _foreign(request: Request) -> str:
  """Why a request is refused as another site's, or ''.

  A form or a script there could send this page's cookies along.
  """
  if request.method in ('GET', 'HEAD'):
    return ''
  origin = request.headers.get('origin', '').partition('://')[2]
  host = request.headers.get('host')
  return '' if origin == host else 'from another site'


def listen(host: str, port: int) -> socket.socket:
  """A socket on an address; port 0 for one that is free.

  Raises:
    OSError: where it cannot be listened on.
    ValueError: where there is no such port.
  """
  if port not in range(65536):
    raise ValueError(f'there is no port {port}')
  family = socket.AF_INET6 if ':' in host else socket.AF_INET
  return socket.create_server((host, port), family=family)


def address(host: str, listener: socket.socket) -> str:
  """What a browser is to open."""
  if host in ('0.0.0.0', '::'):
    host = socket.gethostname()
  return f'http://{_in_address(host)}:{listener.getsockname()[1]}/'


def _in_address(host: str) -> str:
  return f'[{host}]' if ':' in host else host


def run(
  application: ASGIApp,
  listener: socket.socket,
  line: str,
  request_seconds: float,
) -> None:
  """Serves until SIGINT or SIGTERM. Nothing is logged about who asks what.

  Args:
    application: in its `Guard`.
    listener: of `listen`.
    line: printed once the server answers.
    request_seconds: for a request to arrive.
  """
  connection: Any = functools.partial(_Connection, request_seconds)
  config = uvicorn.Config(
    application,
    http=connection,
    ws='none',
    log_level='error',
    access_log=False,
    server_header=False,
    timeout_keep_alive=15,
    timeout_graceful_shutdown=2,
  )
  with contextlib.suppress(KeyboardInterrupt), cli.sigterm_as_ctrl_c():
    _Server(config, line).run(sockets=[listener])


class _Server(uvicorn.Server):
  """A server that says when it is up."""

  def __init__(self, config: uvicorn.Config, line: str):
    super().__init__(config)
    self._line = line

  async def startup(self, sockets: list[socket.socket] | None = None) -> None:
    """As uvicorn's."""
    await super().startup(sockets)
    print(self._line, flush=True)


class _Connection(h11_impl.H11Protocol):
  """A connection that is dropped when it is slow, idle or one too many.

  uvicorn itself limits only the pause between two requests.
  """

  def __init__(self, request_seconds: float, *arguments: Any, **options: Any):
    super().__init__(*arguments, **options)
    self._request_seconds = request_seconds

  def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
    super().connection_made(transport)
    self._request_timer = self._drop_after(self._request_seconds)
    if len(self.connections) > _CONNECTIONS:
      idle = [c for c in self.connections if isinstance(c, _Connection)]
      idle = [c for c in idle if c is not self and c.is_idle]
      since = lambda connection: connection._request_timer.when()
      min(idle, key=since, default=self).transport.abort()

  @property
  def is_idle(self) -> bool:
    """Whether no request of it, come whole, is being answered."""
    return (
      self.cycle is None or self.cycle.response_complete or self.cycle.more_body
    )

  def connection_lost(self, exc: Exception | None) -> None:
    self._request_timer.cancel()  # it would hold the connection until then
    super().connection_lost(exc)

  def handle_events(self) -> None:
    super().handle_events()
    if not self.is_idle:
      self._request_timer.cancel()

  def on_response_complete(self) -> None:
    self._request_timer.cancel()
    self._request_timer = self._drop_after(self._request_seconds)
    super().on_response_complete()

  def pause_writing(self) -> None:
    super().pause_writing()
    self._write_timer = self._drop_after(_WRITE_SECONDS)

  def resume_writing(self) -> None:
    super().resume_writing()
    self._write_timer.cancel()

  def _drop_after(self, seconds: float) -> asyncio.TimerHandle:
    return self.loop.call_later(seconds, self.transport.abort)
