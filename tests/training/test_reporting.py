"""What a run shows: TensorBoard's steps, resuming, the clock, the means."""

import io
import json
import struct
import types

import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest
from tensorboard.compat.proto import event_pb2
from tensorboard.summary.writer import record_writer

from srgan_jax.training import reporting


def read_events(folder):
  """What TensorBoard would read of a folder's event files, oldest first."""
  events = []
  for path in sorted(folder.glob('*tfevents*')):
    data = path.read_bytes()
    while data:  # length, its checksum, the event, its checksum
      (length,) = struct.unpack('<Q', data[:8])
      events.append(event_pb2.Event.FromString(data[12 : 12 + length]))
      data = data[16 + length :]
  return events


@pytest.fixture
def now(monkeypatch):
  """A clock that stands still until a test moves it."""
  time = types.SimpleNamespace(seconds=100.0)
  time.monotonic = lambda: time.seconds
  monkeypatch.setattr(reporting, 'time', time)
  return time


def test_tensorboard_is_told_the_step_of_everything(tmp_path):
  reporter = reporting.Reporter(tmp_path, 'gan', start=0, steps=9)
  reporter.metrics(3, {'loss': 0.5, 'psnr_y': 25.0})
  reporter.metrics(7, {'loss': 0.25})
  reporter.images(7, np.full((4, 6, 3), 200, np.uint8))
  reporter.close()
  events = read_events(tmp_path / 'tensorboard' / 'gan')
  values = [(e.step, value) for e in events for value in e.summary.value]
  assert [
    (step, value.tag, value.simple_value) for step, value in values[:3]
  ] == [(3, 'loss', 0.5), (3, 'psnr_y', 25.0), (7, 'loss', 0.25)]
  step, shown = values[3]
  assert step == 7 and shown.tag == 'samples'
  with Image.open(io.BytesIO(shown.image.encoded_image_string)) as image:
    assert image.size == (6, 4) and image.getpixel((5, 3)) == (200, 200, 200)
  assert (tmp_path / 'samples' / 'gan_0000007.png').exists()
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  assert [json.loads(line) for line in lines] == [
    {'step': 3, 'stage': 'gan', 'loss': 0.5, 'psnr_y': 25.0},
    {'step': 7, 'stage': 'gan', 'loss': 0.25},
  ]


@pytest.mark.parametrize('start', [0, 6])
def test_a_resumed_run_purges_what_the_lost_one_showed(tmp_path, start):
  """TensorBoard drops what a START's step or a later one has."""
  reporter = reporting.Reporter(tmp_path, 'gan', start=0, steps=9)
  for step in (3, 6, 9):
    reporter.metrics(step, {'loss': 0.5})
  reporter.close()
  folder = tmp_path / 'tensorboard' / 'gan'
  reporting.Reporter(tmp_path, 'gan', start=start, steps=9).close()
  starts = [
    event.step
    for event in read_events(folder)
    if event.session_log.status == event_pb2.SessionLog.START
  ]
  assert starts == [1, start + 1]
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  steps = [json.loads(line)['step'] for line in lines]
  assert steps == [step for step in (3, 6, 9) if step <= start]


@pytest.mark.parametrize('failing', ['metrics.jsonl', 'tensorboard/gan'])
def test_a_full_disk_is_named(tmp_path, request, failing):
  reporter = reporting.Reporter(tmp_path, 'gan', start=0, steps=9)
  # As if the disk had been filled since they were opened.
  if failing == 'metrics.jsonl':
    reporter._lines.close()
    reporter._lines = open('/dev/full', 'w', encoding='utf-8')
    named = '/dev/full'
  else:
    reporter._board._writer.close()
    full = open('/dev/full', 'wb', buffering=0)
    reporter._board._writer = record_writer.RecordWriter(full)
    request.addfinalizer(full.close)
    named = failing
  with pytest.raises(OSError, match='No space') as caught:
    with reporter:
      reporter.metrics(1, {'loss': 0.5})
  assert named in str(caught.value)


def test_processes_but_the_first_write_nothing(tmp_path):
  reporter = reporting.Reporter(tmp_path, 'gan', start=0, steps=9, active=False)
  reporter.advance(1)
  reporter.metrics(1, {'loss': 0.5})
  reporter.images(1, np.zeros((4, 6, 3), np.uint8))
  reporter.close()
  assert not list(tmp_path.iterdir())


def test_the_clock_tells_the_fraction_waited(now):
  def slow():
    for number in range(9):
      now.seconds += 0.5
      yield number

  batches = slow()
  clock = reporting.Clock(batch_size=16)
  assert clock.wait_for(batches, 2) == [0, 1]  # 1 s of waiting
  now.seconds += 5.0  # of work
  assert clock.wait_for(batches, 2) == [2, 3]  # 1 s more
  now.seconds += 1.0
  assert clock.figures() == {'images_per_s': 4 * 16 / 8, 'input_wait': 2 / 8}
  clock.reset()
  assert clock.figures() == {}  # a line upon the first call: no step was timed
  now.seconds += 3.0
  assert clock.wait_for(batches, 2) == [4, 5]
  assert clock.figures() == {'images_per_s': 2 * 16 / 4, 'input_wait': 1 / 4}


def _window(*calls):
  window = reporting.Window('gan')
  step = 6
  for call in calls:
    window.add(
      step, {name: jnp.float32(values) for name, values in call.items()}
    )
    step += len(next(iter(call.values())))
  return window


def test_a_line_has_the_mean_of_every_step_since_the_last():
  window = _window(
    {'content': [1.0, 2.0], 'adversarial': [0.5, 0.5]},
    {'content': [9.0, 4.0], 'adversarial': [0.75, 0.25]},
  )
  window.fetch()
  assert window.take_mean() == {'content': 4.0, 'adversarial': 0.5}
  window.add(10, {'content': jnp.float32([7.0])})
  window.fetch()
  assert window.take_mean() == {'content': 7.0}


@pytest.mark.parametrize(
  ('values', 'cause'),
  [
    ({'adversarial': 1, 'content': jnp.nan, 'loss': jnp.nan}, 'content'),
    ({'adversarial': jnp.nan, 'content': 1, 'd_real': jnp.inf}, 'd_real'),
    ({'loss': jnp.nan, 'tv': jnp.nan, 'content': 1}, 'tv'),
  ],
)
def test_the_term_named_is_the_cause(values, cause):
  # The second step of a call that began with step 6.
  window = _window({name: [1, value] for name, value in values.items()})
  with pytest.raises(FloatingPointError, match=f'gan step 7: {cause} is'):
    window.fetch()
