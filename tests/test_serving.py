"""What the guard of both servers counts and refuses."""

import asyncio

import pytest

pytest.importorskip('starlette', reason='needs the extra mos')
pytest.importorskip('uvicorn', reason='needs the extra mos')

from starlette.responses import Response

from srgan_jax import serving


class Guarded:
  """An application that answers nobody before it is told to."""

  def __init__(self):
    self.go_on = asyncio.Event()
    self.guard = serving.Guard(
      self.application,
      body=10,
      local=True,
      headers={},
      objection=lambda request, body: 'no' if body == b'bad' else '',
      uploads={'/upload': 20},
    )

  async def application(self, scope, receive, send):
    body = b''
    while (message := await receive()).get('body'):
      body += message['body']
    await self.go_on.wait()
    await Response(body)(scope, receive, send)

  def ask(self, *pieces, client='10.0.0.1', path='/'):
    """The task of a request whose body comes in pieces; the last may not."""
    messages = [
      {'type': 'http.request', 'body': piece, 'more_body': piece is not None}
      for piece in pieces
    ]
    answer = []

    async def receive():
      message = messages.pop(0) if messages else {'body': b''}
      if message['body'] is None:
        await asyncio.Event().wait()
      return {'type': 'http.request'} | message

    async def send(message):
      answer.append(message)

    async def request():
      headers = [(b'host', b'localhost'), (b'origin', b'http://localhost')]
      scope = {'type': 'http', 'method': 'POST', 'headers': headers}
      scope |= {'path': path, 'query_string': b'', 'client': (client, 1)}
      scope |= {'scheme': 'http', 'server': ('localhost', 80)}
      await self.guard(scope, receive, send)
      return answer[0]['status'], answer[1]['body']

    return asyncio.create_task(request())


def run(session):
  async def whole():
    return await asyncio.wait_for(session(Guarded()), 30)

  return asyncio.run(whole())


def test_a_body_comes_to_the_application_whole_or_as_it_comes():
  async def session(guarded):
    guarded.go_on.set()
    assert await guarded.ask(b'ab', b'c') == (200, b'abc')
    assert (await guarded.ask(b'ba', b'd'))[0] == 403
    assert (await guarded.ask(b'123456', b'789ab'))[0] == 413
    upload = guarded.ask(b'123456', b'789ab', path='/upload')
    assert await upload == (200, b'123456789ab')
    assert (await guarded.ask(*[b'1234567'] * 3, path='/upload'))[0] == 413

  run(session)


def test_a_request_counts_once_it_has_come():
  async def session(guarded):
    for _ in range(300):
      guarded.ask(b'a', None)
    await asyncio.sleep(0.1)
    guarded.go_on.set()
    assert await guarded.ask(b'a') == (200, b'a')

  run(session)


def test_one_client_leaves_room_for_others():
  async def session(guarded):
    first = [guarded.ask(b'a') for _ in range(100)]
    await asyncio.sleep(0.1)
    busy = [task.result()[0] for task in first if task.done()]
    assert busy == [503] * 36
    other = guarded.ask(b'b', client='10.0.0.2')
    await asyncio.sleep(0.1)
    guarded.go_on.set()
    assert await other == (200, b'b')
    assert [(await task)[0] for task in first].count(200) == 64
    # What was answered counts no more.
    assert await guarded.ask(b'c') == (200, b'c')

  run(session)


def test_all_clients_together_are_bounded():
  async def session(guarded):
    tasks = [guarded.ask(b'a', client=f'10.0.0.{i}') for i in range(150)]
    await asyncio.sleep(0.1)
    assert sum(task.done() for task in tasks) == 150 - 128
    guarded.go_on.set()
    await asyncio.gather(*tasks)

  run(session)
