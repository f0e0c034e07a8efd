"""What a page's server does to stay up and closed, whoever connects.

`Guard` is around an application: it refuses other names and origins than the
server's own, bodies and numbers of requests beyond a limit, and puts the
security headers on every answer. `run` serves with limits on connections and
time: whoever is slow or idle is dropped, and where there are too many, the one
that has been idle the longest makes room.
"""

import asyncio
from collections.abc import Callable, Mapping
import contextlib
import dataclasses
import functools
import socket
from typing import Any
import urllib.parse

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
import uvicorn
from uvicorn.protocols.http import h11_impl

from srgan_jax import cli

LOOPBACK = ('127.0.0.1', '::1', 'localhost')

# No other site shows or embeds the page, or learns where it was.
HEADERS = {
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
}


@dataclasses.dataclass(frozen=True)
class Limits:
  """What clients may take.

  Attributes:
    body: bytes of a request.
    connections: at once.
    requests: in flight at once.
    request_seconds: for a request to arrive.
    write_seconds: for a client to take what is waiting for it.
  """

  body: int
  connections: int = 256
  requests: int = 64
  request_seconds: float = 20
  write_seconds: float = 60


class Guard:
  """An application's door."""

  def __init__(
    self,
    application: ASGIApp,
    limits: Limits,
    *,
    hosts: tuple[str, ...] | None,
    headers: Mapping[str, str],
    objection: Callable[[Request], str] = lambda request: '',
  ):
    """Closes an application.

    Args:
      application: what is behind it.
      limits: of bodies and requests.
      hosts: the names by which it may be called; None for any. On the loopback
        interface this keeps out pages of other sites that point their name at
        this machine.
      headers: for answers that do not have them, besides `HEADERS`.
      objection: why a request is refused, or ''.
    """
    self._application = application
    self._limits = limits
    self._hosts = hosts
    self._headers = [
      (name.lower().encode(), value.encode())
      for name, value in {**HEADERS, **headers}.items()
    ]
    self._objection = objection
    self._requests = 0

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request."""
    if scope['type'] == 'lifespan':
      await self._application(scope, receive, send)
    elif scope['type'] == 'http':
      await self._answer(scope, receive, self._secured(send))

  async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope)
    if why := self._refusal(request) or self._objection(request):
      await refusal(403, why)(scope, receive, send)
    elif _stated_length(request) > self._limits.body:
      await refusal(413, 'too long')(scope, receive, send)
    elif self._requests >= self._limits.requests:
      await refusal(503, 'The server is busy.')(scope, receive, send)
    else:
      self._requests += 1
      try:
        await self._application(scope, self._bounded(receive), send)
      finally:
        self._requests -= 1

  def _secured(self, send: Send) -> Send:
    async def secured(message: Message) -> None:
      if message['type'] == 'http.response.start':
        present = {name for name, _ in message['headers']}
        added = [both for both in self._headers if both[0] not in present]
        message['headers'] = [*message['headers'], *added]
      await send(message)

    return secured

  def _bounded(self, receive: Receive) -> Receive:
    length = 0

    async def bounded() -> Message:
      nonlocal length
      message = await receive()
      length += len(message.get('body', b''))
      if length > self._limits.body:
        raise HTTPException(413, 'too long')
      return message

    return bounded

  def _refusal(self, request: Request) -> str:
    """Why a request is refused by where it comes from, or ''."""
    host = request.headers.get('host', '')
    try:
      name = urllib.parse.urlsplit(f'//{host}').hostname
      origin = urllib.parse.urlsplit(request.headers.get('origin', '')).netloc
    except ValueError:
      return 'no such address'
    if not name or (self._hosts is not None and name not in self._hosts):
      return 'not called by this name'
    # A form or a script of another site cannot send the page's cookies along.
    if request.method not in ('GET', 'HEAD') and origin != host:
      return 'from another site'
    return ''


def refusal(status: int, why: str) -> JSONResponse:
  """An error as the page reads it."""
  return JSONResponse({'error': why}, status_code=status)


def _stated_length(request: Request) -> int:
  text = request.headers.get('content-length', '')
  return int(text) if text.isdecimal() and len(text) < 16 else 0


def listen(host: str, port: int) -> socket.socket:
  """A socket on an address; port 0 for one that is free.

  Raises:
    OSError: where it cannot be listened on.
  """
  family = socket.AF_INET6 if ':' in host else socket.AF_INET
  return socket.create_server((host, port), family=family)


def address(host: str, listener: socket.socket) -> str:
  """What a browser is to open."""
  if host in ('0.0.0.0', '::'):
    host = socket.gethostname()
  name = f'[{host}]' if ':' in host else host
  return f'http://{name}:{listener.getsockname()[1]}/'


def run(
  application: ASGIApp,
  listener: socket.socket,
  limits: Limits,
  line: str,
) -> None:
  """Serves until SIGINT or SIGTERM. Nothing is logged about who asks what.

  The application has its `Guard`, the listener is of `listen`; the line is
  printed once it answers and a signal ends it in order.
  """
  connection: Any = functools.partial(_Connection, limits)
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
  """A connection that is dropped where it is slow, idle or one too many."""

  def __init__(self, limits: Limits, *arguments: Any, **options: Any):
    super().__init__(*arguments, **options)
    self._limits = limits
    self._since = self.loop.time()
    self._request_timer: asyncio.TimerHandle | None = None
    self._write_timer: asyncio.TimerHandle | None = None

  def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
    super().connection_made(transport)
    self._await_request()
    if len(self.connections) > self._limits.connections:
      idle = [c for c in self.connections if isinstance(c, _Connection)]
      idle = [c for c in idle if c.is_idle and c is not self]
      victim = min(idle, key=lambda c: c._since, default=self)
      victim.transport.abort()

  @property
  def is_idle(self) -> bool:
    """Whether no request of it is being answered."""
    return self.cycle is None or self.cycle.response_complete

  def connection_lost(self, exc: Exception | None) -> None:
    for timer in (self._request_timer, self._write_timer):
      if timer is not None:
        timer.cancel()
    super().connection_lost(exc)

  def handle_events(self) -> None:
    super().handle_events()
    has_arrived = self.cycle is not None and not self.cycle.more_body
    if has_arrived and not self.is_idle and self._request_timer is not None:
      self._request_timer.cancel()

  def on_response_complete(self) -> None:
    self._await_request()
    super().on_response_complete()

  def pause_writing(self) -> None:
    super().pause_writing()
    self._write_timer = self.loop.call_later(
      self._limits.write_seconds, self.transport.abort
    )

  def resume_writing(self) -> None:
    super().resume_writing()
    if self._write_timer is not None:
      self._write_timer.cancel()

  def _await_request(self) -> None:
    self._since = self.loop.time()
    if self._request_timer is not None:
      self._request_timer.cancel()
    self._request_timer = self.loop.call_later(
      self._limits.request_seconds, self.transport.abort
    )
