"""The server of the demo page: Gradio's, reduced to what the page needs.

Uploads are bounded in size, number and time; what lies in the folder of
pictures is deleted after half an hour, and nothing outside it is read for a
client or served.
"""

from collections.abc import Callable, Collection
import contextlib
import pathlib
import re
import sys
import threading
import time
from typing import Any

import gradio as gr  # isort: skip  (before what comes with it)
import fastapi
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from srgan_jax import files, serving

_QUEUE = 16  # pictures that wait; another is told that the page is busy
_MAX_UPLOAD = 2**26  # bytes of a picture
_MAX_STORED = 2**31  # bytes of all uploads and results
_UPLOAD_SECONDS = 120
_KEPT = 1800  # seconds
_MAX_BODY = 2**16  # bytes of what the page sends besides
_UPLOAD = '/gradio_api/upload'
_FILE = '/gradio_api/file='
# What the page asks for; Gradio has more.
_ROUTES = re.compile(
  r'/|/favicon\.ico|/manifest\.json|/theme\.css|/config|/(assets|static)/.*|'
  r'/gradio_api/(file=.*|queue/(join|data)|upload|upload_progress|cancel|'
  r'startup-events)'
)
# Gradio writes its settings and styles into the page itself, and its base.
_HEADERS = {
  'Content-Security-Policy': (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; manifest-src 'self'; "
    "base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
  ),
}
_CSS = """
.gradio-container > main { width: 100%; max-width: 1280px; margin: auto; }
#status { min-height: 4em; }
#status .error { color: #dc2626; font-weight: 600; }
footer { display: none !important; }
"""


def serve(
  blocks: Any,
  folder: pathlib.Path,
  room: Callable[..., bool],
  *,
  host: str,
  port: int,
) -> None:
  """Serves `gradio.Blocks`, not launched, until SIGINT or SIGTERM.

  Args:
    blocks: the page.
    folder: where Gradio keeps pictures.
    room: `make_room` of this folder.
    host: the address to listen on.
    port: 0 is any that is free.

  Raises:
    OSError: where the address cannot be listened on.
  """
  local = serving.is_local(host)
  with serving.listen(host, port) as listener:
    if not local:
      print(
        f'demo: {host} is open to the network: whoever reaches this computer '
        'can use the page',
        file=sys.stderr,
      )
    address = serving.address(host, listener)
    threading.Thread(target=_sweep, args=[room], daemon=True).start()
    serving.run(
      application(blocks, folder, local, room),
      listener,
      f'demo: open {address} in a browser; Ctrl-C ends it',
      _UPLOAD_SECONDS,
    )


def application(
  blocks: Any, folder: pathlib.Path, local: bool, room: Callable[..., bool]
) -> ASGIApp:
  """The page in its `Guard`; `room` is asked whether uploads fit.

  A request may name files of `folder` alone, wherever it names them.
  """
  mounted = _mount(blocks)
  uploads = 0

  async def counting(scope: Scope, receive: Receive, send: Send) -> None:
    nonlocal uploads
    is_upload = scope.get('path') == _UPLOAD
    uploads += is_upload
    try:
      await mounted(scope, receive, send)
    except RuntimeError as error:
      # Gradio refuses an unknown session when its answer has begun.
      if not isinstance(error.__cause__, HTTPException):
        raise
      await send({'type': 'http.response.body'})
    finally:
      uploads -= is_upload

  def objection(request: Any, body: bytes) -> str:
    path = request.scope['path']
    if not _ROUTES.fullmatch(path):
      return 'there is no such page'
    asked = [path.removeprefix(_FILE)] if path.startswith(_FILE) else []
    try:
      asked += _paths(files.parse_json(body or b'null'))
    except ValueError:
      return 'not JSON'
    if not all(_is_inside(folder, name) for name in asked):
      return 'this file is not of the page'
    if path == _UPLOAD and not room((uploads + 1) * _MAX_UPLOAD):
      return 'the folder of pictures is full: try again later'
    return ''

  return serving.Guard(
    counting,
    body=_MAX_BODY,
    local=local,
    headers=_HEADERS,
    objection=objection,
    # Besides the picture a request has a few lines.
    uploads={_UPLOAD: _MAX_UPLOAD + _MAX_BODY},
  )


def _mount(blocks: Any) -> ASGIApp:
  """The page as Gradio's application."""
  mounted: ASGIApp = gr.mount_gradio_app(
    fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
    blocks.queue(max_size=_QUEUE, default_concurrency_limit=1),
    '/',
    theme=gr.themes.Soft(font=['system-ui', 'sans-serif']),
    css=_CSS,
    footer_links=[],
    run_history=False,
    allowed_paths=[str(files.PHOTOS)],  # the examples
    max_file_size=_MAX_UPLOAD,
    ssr_mode=False,
    show_error=False,
    enable_monitoring=False,
  )
  # Else Gradio, mounted, takes any file of this machine as an upload.
  blocks.has_launched = True
  return mounted


def _paths(value: Any) -> list[Any]:
  """What JSON calls the path of a file, at any depth."""
  found, waiting = [], [value]
  while waiting:
    value = waiting.pop()
    if isinstance(value, dict):
      found += [value['path']] if 'path' in value else []
      value = list(value.values())
    if isinstance(value, list):
      waiting += value
  return found


def _is_inside(folder: pathlib.Path, path: Any) -> bool:
  """Whether a path, or what is no path at all, leads into a folder."""
  try:
    return pathlib.Path(path).resolve().is_relative_to(folder.resolve())
  except (TypeError, ValueError, OSError):
    return False


def make_room(
  folder: pathlib.Path, kept: Collection[pathlib.Path], size: int = _MAX_UPLOAD
) -> bool:
  """Deletes old files but for those kept; whether `size` more bytes fit.

  Files directly in the folder are uploads in progress or aborted ones.
  """
  total, now = 0, time.time()
  for path in folder.rglob('*'):
    with contextlib.suppress(OSError):  # deleted meanwhile
      state = path.stat()
      if not path.is_file() or path in kept:
        continue
      seconds = _UPLOAD_SECONDS if path.parent == folder else _KEPT
      if state.st_mtime < now - seconds:
        path.unlink()
      else:
        total += state.st_size
  return total + size <= _MAX_STORED


def _sweep(room: Callable[..., bool]) -> None:
  while True:
    time.sleep(60)
    room()
