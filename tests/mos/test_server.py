"""The server of opinion scores, asked as no page of ours would ask."""

from concurrent import futures
import contextlib
import json
import re
import socket

import pytest

from tests.support import opinion, repository

pytest.importorskip('starlette', reason='needs the extra mos')
pytest.importorskip('uvicorn', reason='needs the extra mos')

from srgan_jax.mos import study


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return opinion.make_study(
    tmp_path_factory.mktemp('mos') / 'study', a=(48, 40), b=(40, 48)
  )


@pytest.fixture(scope='module')
def server(folder):
  with opinion.serving(folder) as found:
    yield found


def test_a_rater_is_led_through_in_her_order(server, folder):
  what = study.load(folder)
  client = opinion.Client(server)
  assert client.ask('/state')[2] == {'phase': 'welcome'}
  status, state = client.post('/start')
  assert status == 200 and state['phase'] == 'example' and state['score'] == 1
  assert state['image'] == what.examples[0].file
  for wrong in ({'position': 0, 'score': 5}, {'position': 1, 'score': 5}):
    assert client.post('/example', **wrong) == (409, state)
  early = what.order(1)[0].file
  assert client.post('/rating', position=0, image=early, score=3)[0] == 409
  _, state = client.post('/example', position=0, score=1)
  assert state['score'] == 5 and state['next'] == early
  _, state = client.post('/example', position=1, score=5)
  rater = max([1, *(r.rater for r in opinion.kept(folder))])
  for i, trial in enumerate(what.order(rater)):
    assert (state['phase'], state['position']) == ('rating', i)
    assert state['image'] == trial.file and state['total'] == len(what.files)
    assert client.ask(f'/images/{trial.file}')[0] == 200
    # Neither what comes later nor what was.
    for other in set(what.files) - {trial.file, state['next']}:
      assert client.ask(f'/images/{other}')[0] == 404
      assert client.post('/rating', position=i, image=other, score=3) == (
        409,
        state,
      )
    before, (status, state) = state, client.rate(state, 1 + i % 5)
    assert status == 200
    # Twice.
    assert client.rate(before, 5) == (409, state)
  assert state['phase'] == 'done' and state['rated'] == len(what.files)
  found = [rating for rating in opinion.kept(folder) if rating.rater == rater]
  assert [r.score for r in found] == [1 + i % 5 for i in range(len(found))]
  assert [r.showing for r in found] == [t.showing for t in what.order(rater)]


def test_only_a_score_is_a_score(server, folder):
  client = opinion.Client(server)
  state = client.start()
  count = len(opinion.kept(folder))
  good = {'position': 0, 'image': state['image'], 'score': 3}
  for change, expected in (
    ({'score': 0}, 400),
    ({'score': 6}, 400),
    ({'score': 3.0}, 400),
    ({'score': '3'}, 400),
    ({'score': True}, 400),
    ({'score': None}, 400),
    ({'position': '0'}, 400),
    ({'position': 10**30}, 409),
    ({'position': -1}, 409),
    ({'image': 3}, 400),
    ({'image': "' OR 1=1 --"}, 409),
    ({'rater': 1}, 400),
  ):
    assert client.post('/rating', **(good | change))[0] == expected, change
  for raw, expected in (
    ('', 400),
    ('{', 400),
    ('[]', 400),
    ('{"position": 0}', 400),
    ('[' * 900, 400),
    (json.dumps(good) + ' ' * 1000, 413),
    (b'\xff', 400),
  ):
    assert client.ask('/rating', raw=raw)[0] == expected, raw
  assert client.ask('/rating')[0] == 405
  assert len(opinion.kept(folder)) == count
  assert client.post('/rating', **good)[0] == 200


def test_nobody_scores_for_somebody_else(server, folder):
  victim, other = opinion.Client(server), opinion.Client(server)
  state = victim.start()
  count = len(opinion.kept(folder))
  good = {'position': 0, 'image': state['image'], 'score': 3}
  assert other.post('/rating', **good)[0] == 401
  assert other.ask(f'/images/{state["image"]}')[0] == 401
  assert other.post('/resume', code='AAAA-AAAA-AAAA')[0] == 404
  name = next(iter(victim.cookies))
  other.cookies = {name: 'AAAA-AAAA-AAAA'}
  assert other.post('/rating', **good)[0] == 401
  # Another site's page in the rater's own browser: wrong or no origin, a form.
  for headers in (
    {'Origin': 'http://evil.example'},
    {'Origin': 'null'},
    {'Origin': None},
    {'Origin': f'http://127.0.0.1:{server.port + 1}'},
    {'Content_Type': 'text/plain'},
    {'Content_Type': 'application/x-www-form-urlencoded'},
  ):
    assert victim.ask('/rating', good, **headers)[0] == 403, headers
  # Her browser calls this server by a name of theirs.
  evil = f'evil.example:{server.port}'
  answer = victim.ask('/rating', good, Host=evil, Origin=f'http://{evil}')
  assert answer[0] == 400
  for host in ('evil.example', '[', ''):
    assert victim.ask('/state', Host=host)[0] == 400
  assert len(opinion.kept(folder)) == count
  # By her code she goes on elsewhere.
  code = victim.ask('/state')[2]['code']
  status, resumed = other.post('/resume', code=f' {code.lower()} ')
  assert status == 200 and resumed['image'] == state['image']
  assert resumed['code'] == code == other.cookies[name]
  assert other.rate(resumed, 2)[0] == 200
  assert victim.rate(state, 4)[0] == 409
  assert other.post('/leave') == (200, {'phase': 'welcome'})


def test_nothing_tells_what_an_image_is(server, folder):
  client = opinion.Client(server)
  state = client.start()
  told = [json.dumps(state)]
  for path in ('/', '/page.css', '/page.js'):
    status, headers, content = client.ask(path)
    told += [content.decode(), str(headers)]
    assert status == 200
    assert not re.search(r'https?://', content.decode())  # nothing from outside
  status, headers, image = client.ask(f'/images/{state["image"]}')
  told.append(str(headers))
  assert headers['Content-Type'] == 'image/png' and b'tEXt' not in image
  for word in ('secret', 'nearest', 'bicubic', 'set5', str(folder)):
    assert not any(word in text.lower() for text in told), word
  for path in (
    *('/manifest.json', '/images/..%2fmanifest.json', '/ratings.sqlite'),
    *('/images/../manifest.json', '/page/index.html', '/..%2fserver.py'),
    *('/images/..%2fratings.sqlite', '/images//etc/passwd', '/docs'),
  ):
    assert client.ask(path)[0] == 404, path
  for path in ('/', '/page.js', '/state', '/none'):
    headers = client.ask(path)[1]
    policy = headers['Content-Security-Policy']
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    assert headers['X-Content-Type-Options'] == 'nosniff'
    assert headers['Referrer-Policy'] == 'no-referrer'
    assert headers['Cache-Control'] == 'no-store' and 'Server' not in headers
    assert 'ETag' not in headers and 'Last-Modified' not in headers


def test_answers_of_all_methods_look_alike(server, folder):
  """Headers and lengths of every image but for its own dimensions."""
  what = study.load(folder)
  client, looks = opinion.Client(server), {}
  state = client.start()
  while state['phase'] == 'rating':
    _, headers, content = client.ask(f'/images/{state["image"]}')
    names = {name.lower() for name in headers}
    assert not names & {'etag', 'last-modified', 'accept-ranges'}
    seen = [(k, v) for k, v in headers.items() if k != 'date']
    version = what.by_file[state['image']]
    looks.setdefault(version.image, set()).add((len(content), str(seen)))
    _, state = client.rate(state, 3)
  assert looks and all(len(found) == 1 for found in looks.values())


def test_raters_at_once_and_clicks_at_once(server, folder):
  def session(scores):
    client = opinion.Client(server)
    state = client.start()
    rated = []
    for score in scores:
      rated.append((state['image'], score))
      # The same score eight times at once: one is kept.
      with futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.rate(state, score), range(8)))  # noqa: B023
      assert sorted(status for status, _ in answers) == [200] + [409] * 7
      state = answers[0][1]
      assert all(answer == state for _, answer in answers)
    return rated

  before = len(opinion.kept(folder))
  with futures.ThreadPoolExecutor(3) as pool:
    sessions = list(pool.map(session, ([1, 2, 3], [4, 5, 4], [3, 3, 1])))
  assert len(opinion.kept(folder)) == before + 9
  found = {}
  for rating in opinion.kept(folder):
    found.setdefault(rating.rater, []).append((rating.file, rating.score))
  assert all(rated in found.values() for rated in sessions)


def test_unfinished_requests_keep_nobody_out(folder):
  start = (
    'POST /start HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\n'
    'Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{'
  )
  with opinion.serving(folder) as server, contextlib.ExitStack() as stack:
    host = f'127.0.0.1:{server.port}'
    for _ in range(300):
      waiting = socket.create_connection(('127.0.0.1', server.port))
      stack.enter_context(waiting).sendall(start.format(host).encode())
    assert opinion.Client(server).post('/start')[0] == 200


def test_others_than_this_machine_need_the_token(folder):
  with opinion.serving(folder, '--host=0.0.0.0') as server:
    client = opinion.Client(server)
    for path in ('/', '/state', '/page.js', '/?token=wrong', '/state?token=x'):
      assert client.ask(path)[0] == 403
    assert client.post('/start')[0] == 403
    status, headers, _ = client.ask(f'/?token={server.token}')
    assert status == 303 and server.token not in headers['Location']
    assert client.ask('/', Host='any.example')[0] == 200
    assert client.post('/start')[0] == 200
    token = server.token
  with opinion.serving(folder, '--host=0.0.0.0') as server:
    assert server.token == token  # the address stays


def test_what_cannot_be_served_is_one_line(folder, tmp_path):
  message = opinion.refusal('serve', str(tmp_path))
  assert f'mos: {tmp_path} is no study' in message
  with socket.create_server(('127.0.0.1', 0)) as taken:
    port = str(taken.getsockname()[1])
    for unfit in (port, '70000'):
      opinion.refusal('serve', str(folder), '--port', unfit)


def test_the_server_starts_without_jax():
  code = 'import sys, srgan_jax.mos.server; print("jax" in sys.modules)'
  assert repository.run_python('-c', code).stdout == 'False\n'


def test_what_is_not_installed_is_named(folder):
  code = (
    'import sys; sys.modules["uvicorn"] = None; '
    'from srgan_jax.mos import __main__ as mos; '
    f'mos.main(["serve", {str(folder)!r}])'
  )
  result = repository.run_python('-c', code)
  assert result.returncode == 1
  assert result.stderr == (
    "mos: uvicorn is not installed: pip install 'srgan_jax[mos]'\n"
  )
