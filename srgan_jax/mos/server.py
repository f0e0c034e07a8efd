"""The page on which raters score images, and the server behind it.

Every POST takes JSON and answers with the state: what is to be shown next. The
server alone decides that: a score for anything else is refused (409). A rater
is known by a code in a cookie that scripts cannot read, and is never named in a
request, so nobody scores for somebody else.
"""

from collections.abc import Callable
import contextlib
import functools
import hmac
import pathlib
import sqlite3
import sys
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from srgan_jax import files, serving
from srgan_jax.mos import ratings as ratings_lib
from srgan_jax.mos.study import IMAGES, Study

_PAGE = pathlib.Path(__file__).parent / 'page'
_PAGE_FILES = {
  'index.html': 'text/html',
  'page.css': 'text/css',
  'page.js': 'text/javascript',
}
_MAX_BODY = 1000  # bytes; the page sends about 100
_REQUEST_SECONDS = 20
_YEAR = 365 * 24 * 3600

# Everything comes from this server.
_HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': (
    "default-src 'none'; img-src 'self'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
  ),
}


class Page:
  """The application of one study."""

  def __init__(
    self,
    folder: pathlib.Path,
    study: Study,
    ratings: ratings_lib.Ratings,
    token: str | None,
  ):
    """Sets up the routes.

    Args:
      folder: the study's.
      study: what is shown.
      ratings: where scores go.
      token: what a browser must have been given in the address; None where the
        page is served to this machine alone.
    """
    self._images = folder / IMAGES
    self._study = study
    self._ratings = ratings
    self._token = token
    # Cookies do not know ports: two studies on one machine need two names.
    self._rater_cookie = f'mos-{study.id}-rater'
    self._token_cookie = f'mos-{study.id}-token'
    routes = [
      Route('/', self._index),
      *(
        Route(f'/{name}', functools.partial(_page_file, name))
        for name in _PAGE_FILES
      ),
      Route('/favicon.ico', lambda request: Response(status_code=204)),
      Route('/state', self._get_state),
      Route('/images/{file}', self._image),
      _post('/start', self._start),
      _post('/resume', self._resume, code=str),
      _post('/leave', self._leave),
      _post('/again', self._again),
      _post('/example', self._example, position=int, score=int),
      _post('/rating', self._rating, position=int, image=str, score=int),
    ]
    self.application = serving.Guard(
      Starlette(
        routes=routes,
        exception_handlers={
          HTTPException: _refuse,
          ValueError: _refuse,
          ratings_lib.OutOfOrder: self._behind,
          sqlite3.Error: _not_kept,
        },
      ),
      body=_MAX_BODY,
      local=token is None,
      headers=_HEADERS,
      objection=self._objection,
    )

  def _objection(self, request: Request, body: bytes) -> str:
    """Why a request is refused, or ''."""
    given = request.cookies.get(self._token_cookie, '')
    if request.scope['path'] == '/':
      given = request.query_params.get('token', given)
    if self._token is not None and not hmac.compare_digest(
      given.encode(), self._token.encode()
    ):
      return 'open the address that you were given, with its token'
    kind = request.headers.get('content-type', '').partition(';')[0]
    if request.method == 'POST' and kind != 'application/json':
      return 'not JSON'
    return ''

  # Starlette calls these in threads, where SQLite may wait for a lock.

  def _index(self, request: Request) -> Response:
    if self._token is None or 'token' not in request.query_params:
      return _page_file('index.html', request)
    # Out of the address, where it would be seen and kept.
    response = RedirectResponse('.', status_code=303)
    # Lax: after a link on another site, the page it leads to must get it.
    self._set_cookie(request, response, self._token_cookie, self._token, 'lax')
    return response

  def _image(self, request: Request) -> Response:
    file = request.path_params['file']
    state = self._state(self._rater(request))
    if file not in (state.get('image'), state.get('next')):
      raise HTTPException(404, 'this image is not being shown')
    # Without a date or a digest; all versions of an image have one length.
    return Response(
      (self._images / file).read_bytes(),
      media_type='image/png',
      headers={'Cache-Control': 'private, max-age=3600, immutable'},
    )

  def _get_state(self, request: Request) -> Response:
    try:
      return self._answer(request)
    except HTTPException:
      return JSONResponse({'phase': 'welcome'})

  def _start(self, request: Request) -> Response:
    return self._answer(request, self._ratings.register())

  def _resume(self, request: Request, code: str) -> Response:
    if self._ratings.find(code) is None:
      raise HTTPException(404, 'There is no such code.')
    return self._answer(request, ratings_lib.spelled(code))

  def _leave(self, request: Request) -> Response:
    response = JSONResponse({'phase': 'welcome'})
    response.delete_cookie(self._rater_cookie, httponly=True, samesite='strict')
    return response

  def _again(self, request: Request) -> Response:
    self._ratings.see_examples_again(self._rater(request))
    return self._answer(request)

  def _example(self, request: Request, position: int, score: int) -> Response:
    self._ratings.see_example(self._rater(request), position, score)
    return self._answer(request)

  def _rating(
    self, request: Request, position: int, image: str, score: int
  ) -> Response:
    self._ratings.add(self._rater(request), position, image, score)
    return self._answer(request)

  def _behind(self, request: Request, error: Exception) -> Response:
    """A score for what is not shown: the page gets what is."""
    return self._answer(request, status=409)

  def _rater(self, request: Request, code: str = '') -> int:
    """The number of the rater with a code, by default the cookie's.

    Raises:
      HTTPException: where there is none.
    """
    cookie = request.cookies.get(self._rater_cookie, '')
    rater = self._ratings.find(code or cookie)
    if rater is None:
      raise HTTPException(401, 'no rater')
    return rater

  def _answer(
    self, request: Request, code: str = '', status: int = 200
  ) -> Response:
    """The state, to the rater with a code, by default the cookie's."""
    state = self._state(self._rater(request, code))
    code = code or request.cookies[self._rater_cookie]
    response = JSONResponse({**state, 'code': code}, status_code=status)
    self._set_cookie(request, response, self._rater_cookie, code)
    return response

  def _state(self, rater: int) -> dict[str, Any]:
    """What is to be shown: nothing in it tells an image's method."""
    progress = self._ratings.progress(rater)
    examples = self._study.examples
    order = [trial.file for trial in self._ratings.order(rater)]
    state: dict[str, Any] = {'rated': progress.rated, 'images': len(order)}
    if progress.rated >= len(order):
      return {**state, 'phase': 'done'}
    files, position = order, progress.rated
    if progress.examples < len(examples):
      position = progress.examples
      files = [*(e.file for e in examples), order[progress.rated]]
      state |= {'phase': 'example', 'score': examples[position].score}
      state['total'] = len(examples)
    else:
      state |= {'phase': 'rating', 'total': len(order)}
    return {
      **state,
      'position': position,
      'image': files[position],
      'next': files[position + 1] if position + 1 < len(files) else None,
    }

  def _set_cookie(
    self,
    request: Request,
    response: Response,
    name: str,
    value: str,
    samesite: Literal['lax', 'strict'] = 'strict',
  ) -> None:
    response.set_cookie(
      name,
      value,
      max_age=_YEAR,
      httponly=True,
      samesite=samesite,
      secure=request.url.scheme == 'https',
    )


def serve(folder: pathlib.Path, study: Study, *, host: str, port: int) -> None:
  """Serves a study until it is told to stop (Ctrl-C or SIGTERM).

  Any host but the loopback's asks for a token; port 0 is one that is free.

  Raises:
    ValueError: as `ratings.Ratings`.
    OSError: where the address cannot be listened on.
  """
  with (
    serving.listen(host, port) as listener,
    contextlib.closing(ratings_lib.Ratings(folder, study)) as ratings,
  ):
    token = None if serving.is_local(host) else ratings.token
    address = serving.address(host, listener)
    if token is not None:
      address += f'?token={token}'
      print(
        f'{host} is open to the network: whoever has the address can rate',
        file=sys.stderr,
      )
    serving.run(
      Page(folder, study, ratings, token).application,
      listener,
      f'{len(study.files)} images a rater; open {address}\nCtrl-C stops',
      _REQUEST_SECONDS,
    )
  print('stopped; all scores are kept', file=sys.stderr)


def _page_file(name: str, request: Request) -> Response:
  return Response((_PAGE / name).read_bytes(), media_type=_PAGE_FILES[name])


def _post(path: str, act: Callable[..., Response], **fields: type) -> Route:
  """A route that calls `act` with the request and the fields of its JSON.

  It must be an object of exactly these fields, of these types.
  """

  async def answer(request: Request) -> Response:
    given = files.parse_json(await request.body())
    # `type`, since True is an int.
    if not isinstance(given, dict) or fields != {
      name: type(value) for name, value in given.items()
    }:
      raise ValueError(f'not exactly the fields {list(fields)}')
    return await run_in_threadpool(act, request, **given)

  return Route(path, answer, methods=['POST'])


def _refuse(request: Request, error: Exception) -> Response:
  if isinstance(error, HTTPException):
    return serving.refusal(error.status_code, error.detail)
  return serving.refusal(400, str(error))


def _not_kept(request: Request, error: Exception) -> Response:
  """A full disk, or a lock that was not given up: the page tries again."""
  print(f'a score was not kept: {error}', file=sys.stderr, flush=True)
  return serving.refusal(
    503, f'The score cannot be saved ({error}). It is tried again…'
  )
