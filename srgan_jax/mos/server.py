"""The page on which raters score images, and what it talks to.

  GET  /                  the page, and its style and script beside it
  GET  /state             who asks, and what is to be shown next
  GET  /images/FILE       the image being shown, or the one after it
  POST /start             a new rater
  POST /resume            {code}: a rater who comes back
  POST /leave             forgets the rater in this browser
  POST /again             the examples again
  POST /example           {position, score}: an example was seen
  POST /rating            {position, image, score}: a score

Every POST takes and gives JSON, and answers with the state. The server alone
knows what is shown to whom: a score for anything else is refused (409). A
rater is known by a code in a cookie that scripts cannot read, and is never
named in a request, so nobody scores for somebody else.
"""

from collections.abc import Callable, Mapping
import hmac
import pathlib
import sqlite3
import sys
from typing import Any

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
# The largest body that the page sends has about 100 bytes.
_LIMITS = serving.Limits(body=1000)
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
    *,
    token: str | None = None,
    hosts: tuple[str, ...] | None = serving.LOOPBACK,
  ):
    """Sets up the routes.

    Args:
      folder: the study's.
      study: what is shown.
      ratings: where scores go.
      token: what a browser must have been given in the address; None for none.
      hosts: the names by which it may be called; None for any.
    """
    self._images = folder / IMAGES
    self._study = study
    self._ratings = ratings
    self._token = token
    # Cookies do not know ports: two studies on one machine need two names.
    self._rater_cookie = f'mos-{study.id}-rater'
    self._token_cookie = f'mos-{study.id}-token'
    routes = [Route('/', self._index)]
    routes += [Route(f'/{name}', _page_file(name)) for name in _PAGE_FILES]
    routes += [
      Route('/favicon.ico', _no_icon),
      Route('/state', self._get_state),
      Route('/images/{file}', self._image),
    ]
    for path, action in (
      ('/start', self._start),
      ('/resume', self._resume),
      ('/leave', self._leave),
      ('/again', self._again),
      ('/example', self._example),
      ('/rating', self._rating),
    ):
      routes.append(Route(path, action, methods=['POST']))
    self.application = serving.Guard(
      Starlette(
        routes=routes,
        exception_handlers={HTTPException: _refuse, sqlite3.Error: _not_kept},
      ),
      _LIMITS,
      hosts=hosts,
      headers=_HEADERS,
      objection=self._objection,
    )

  def _objection(self, request: Request) -> str:
    if not self._knows_token(request):
      return 'open the address that you were given, with its token'
    kind = request.headers.get('content-type', '').partition(';')[0]
    if request.method == 'POST' and kind != 'application/json':
      return 'not JSON'
    return ''

  def _knows_token(self, request: Request) -> bool:
    if self._token is None:
      return True
    given = request.cookies.get(self._token_cookie, '')
    if request.scope['path'] == '/':
      given = request.query_params.get('token', given)
    return hmac.compare_digest(given.encode(), self._token.encode())

  async def _index(self, request: Request) -> Response:
    if self._token is None or 'token' not in request.query_params:
      return await _page_file('index.html')(request)
    # Out of the address, where it would be seen and kept.
    response = RedirectResponse('.', status_code=303)
    self._set_cookie(request, response, self._token_cookie, self._token)
    return response

  async def _image(self, request: Request) -> Response:
    rater, _ = await self._known(request)
    file = request.path_params['file']
    state = await run_in_threadpool(self._state, rater)
    if file not in (state.get('image'), state.get('next')):
      raise HTTPException(404, 'this image is not being shown')
    # Without a date or a digest; all versions of an image have one length.
    return Response(
      await run_in_threadpool((self._images / file).read_bytes),
      media_type='image/png',
      headers={'Cache-Control': 'private, max-age=3600, immutable'},
    )

  async def _get_state(self, request: Request) -> Response:
    try:
      return await self._answer(request)
    except HTTPException:
      return JSONResponse({'phase': 'welcome'})

  async def _start(self, request: Request) -> Response:
    await _read(request, {})
    code = await run_in_threadpool(self._ratings.register)
    return await self._answer(request, code)

  async def _resume(self, request: Request) -> Response:
    given = await _read(request, {'code': str})
    code = ratings_lib.spelled(given['code'])
    if await run_in_threadpool(self._ratings.find, code) is None:
      raise HTTPException(404, 'There is no such code.')
    return await self._answer(request, code)

  async def _leave(self, request: Request) -> Response:
    await _read(request, {})
    response = JSONResponse({'phase': 'welcome'})
    response.delete_cookie(self._rater_cookie, httponly=True, samesite='strict')
    return response

  async def _again(self, request: Request) -> Response:
    rater, _ = await self._known(request)
    await _read(request, {})
    await run_in_threadpool(self._ratings.see_examples_again, rater)
    return await self._answer(request)

  async def _example(self, request: Request) -> Response:
    rater, _ = await self._known(request)
    given = await _read(request, {'position': int, 'score': int})
    return await self._keep(
      request, self._ratings.see_example, rater, *given.values()
    )

  async def _rating(self, request: Request) -> Response:
    rater, _ = await self._known(request)
    given = await _read(request, {'position': int, 'image': str, 'score': int})
    if given['score'] not in range(1, 6):
      raise HTTPException(400, 'a score is 1 to 5')
    return await self._keep(request, self._ratings.add, rater, *given.values())

  async def _keep(
    self, request: Request, keep: Callable[..., None], *what: Any
  ) -> Response:
    try:
      await run_in_threadpool(keep, *what)
    except ratings_lib.OutOfOrder:
      # With what is being shown: a page that was behind is then up to date.
      return await self._answer(request, status=409)
    return await self._answer(request)

  async def _known(self, request: Request) -> tuple[int, str]:
    """The rater's number and code.

    Raises:
      HTTPException: where the browser has no rater's cookie.
    """
    code = request.cookies.get(self._rater_cookie, '')
    # SQLite may wait for a lock: never in the event loop.
    rater = await run_in_threadpool(self._ratings.find, code) if code else None
    if rater is None:
      raise HTTPException(401, 'no rater')
    return rater, code

  async def _answer(
    self, request: Request, code: str = '', status: int = 200
  ) -> Response:
    """The state, to the rater of a code or of the cookie."""
    if code:
      rater = await run_in_threadpool(self._ratings.find, code)
    else:
      rater, code = await self._known(request)
    assert rater is not None
    state = await run_in_threadpool(self._state, rater)
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
    self, request: Request, response: Response, name: str, value: str
  ) -> None:
    response.set_cookie(
      name,
      value,
      max_age=_YEAR,
      httponly=True,
      samesite='strict',
      secure=request.url.scheme == 'https',
    )


def serve(folder: pathlib.Path, study: Study, *, host: str, port: int) -> None:
  """Serves a study until it is told to stop (Ctrl-C or SIGTERM).

  Any host but the loopback's asks for a token; port 0 is one that is free.

  Raises:
    ValueError: as `ratings.Ratings`.
    OSError: where the address cannot be listened on.
  """
  is_local = host in serving.LOOPBACK
  listener = serving.listen(host, port)
  ratings = ratings_lib.Ratings(folder, study)
  try:
    page = Page(
      folder,
      study,
      ratings,
      token=None if is_local else ratings.token,
      hosts=serving.LOOPBACK if is_local else None,
    )
    address = serving.address(host, listener)
    if not is_local:
      address += f'?token={ratings.token}'
      print(
        f'{host} is open to the network: whoever has the address can rate',
        file=sys.stderr,
      )
    line = f'{len(study.files)} images a rater; open {address}\nCtrl-C stops'
    serving.run(page.application, listener, _LIMITS, line)
  finally:
    ratings.close()
    listener.close()
  print('stopped; all scores are kept', file=sys.stderr)


def _page_file(name: str) -> Callable[[Request], Any]:
  content = (_PAGE / name).read_bytes()

  async def send(request: Request) -> Response:
    return Response(content, media_type=_PAGE_FILES[name])

  return send


async def _no_icon(request: Request) -> Response:
  return Response(status_code=204)


async def _read(request: Request, fields: Mapping[str, type]) -> dict[str, Any]:
  """The JSON object of a request, with exactly these fields of these types.

  Raises:
    HTTPException: where it is anything else.
  """
  try:
    given = files.parse_json(await request.body())
  except ValueError as error:
    raise HTTPException(400, 'not JSON') from error
  # `type`, since True is an int.
  if not isinstance(given, dict) or {
    name: type(value) for name, value in given.items()
  } != dict(fields):
    raise HTTPException(400, f'not exactly the fields {list(fields)}')
  return {name: given[name] for name in fields}


async def _refuse(request: Request, error: Exception) -> Response:
  assert isinstance(error, HTTPException)
  return serving.refusal(error.status_code, error.detail)


async def _not_kept(request: Request, error: Exception) -> Response:
  """A full disk, or a lock that was not given up: the page tries again."""
  print(f'a score was not kept: {error}', file=sys.stderr, flush=True)
  return serving.refusal(
    503, f'The score cannot be saved ({error}). It is tried again…'
  )
