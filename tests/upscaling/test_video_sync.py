"""Videos: lip sync, of recordings that start late or are joined too."""

import numpy as np
import pytest

from tests.support.videos import (
  KEEP_TIMES,
  make,
  nearest,
  needs_ffmpeg,
  run_ffmpeg,
  streams,
  times,
)

av = pytest.importorskip('av')
from srgan_jax.upscaling.video import upscale_video

pytestmark = needs_ffmpeg

# Dark with a flash from 0.3 to 0.4 s, silent with a beep at the same time.
FLASH = (
  'color=c=black:size=32x32:rate=25:duration=0.8,'
  "drawbox=c=white:t=fill:enable='between(t,0.29,0.39)'"
)
BEEP = "aevalsrc='between(t,0.3,0.4)*sin(2000*t)':d=0.8:s=48000"
CONTAINERS = ('ts', 'm2ts', 'mpg', 'mkv', 'mp4', 'mov')


def starts(path):
  """Of the video against the sound, seconds."""
  found = streams(path)
  return float(found['video']['start_time']) - float(
    found['audio']['start_time']
  )


@pytest.fixture(scope='module')
def late(tmp_path_factory):
  """By container: a video that starts 0.5 s after its sound."""
  folder = tmp_path_factory.mktemp('late')

  def make_one(container):
    path = folder / f'in.{container}'
    if not path.exists():
      mpeg = container in ('ts', 'm2ts', 'mpg')
      run_ffmpeg(
        *('-itsoffset', '0.5', '-f', 'lavfi', '-i', FLASH),
        *('-f', 'lavfi', '-i', BEEP, *KEEP_TIMES, '-pix_fmt', 'yuv420p'),
        *('-c:v', 'mpeg2video' if mpeg else 'libx264', '-b:v', '500k'),
        *('-c:a', 'mp2' if mpeg else 'aac', path),
      )
    return path

  return make_one


@pytest.mark.parametrize('target', ['mp4', 'mkv', 'mov'])
@pytest.mark.parametrize('given', CONTAINERS)
def test_streams_start_as_far_apart_as_before(late, tmp_path, given, target):
  source, out = late(given), tmp_path / f'out.{target}'
  assert abs(starts(source) - 0.5) < 0.05
  count, _ = upscale_video(source, out, nearest)
  assert count == 20
  assert starts(out) == pytest.approx(starts(source), abs=0.02)


def flash_and_beep(path):
  """When each begins, as a player shows and sounds them, seconds."""
  with av.open(str(path)) as container:
    flash = next(
      frame.time
      for frame in container.decode(video=0)
      if frame.to_ndarray(format='gray').mean() > 128
    )
  with av.open(str(path)) as container:
    for frame in container.decode(audio=0):
      loud = np.abs(frame.to_ndarray()).max(0) > 0.2
      if loud.any():
        return flash, frame.time + int(loud.argmax()) / frame.sample_rate
  raise AssertionError('no beep')


@pytest.mark.parametrize('target', ['mp4', 'mkv', 'webm'])
@pytest.mark.parametrize('given', ['ts', 'mp4'])
def test_what_is_seen_and_heard_stays_together(late, tmp_path, given, target):
  source, out = late(given), tmp_path / f'out.{target}'
  upscale_video(source, out, nearest)
  flash, beep = flash_and_beep(source)
  assert flash - beep == pytest.approx(0.5, abs=0.06)  # a frame of either
  made_flash, made_beep = flash_and_beep(out)
  assert made_flash - made_beep == pytest.approx(flash - beep, abs=0.02)


def test_joined_recordings_go_on_without_a_gap(tmp_path):
  parts = []
  for offset in (0, 100, 7):
    part = tmp_path / f'{offset}.ts'
    make(part, '-c:v', 'mpeg2video', '-output_ts_offset', offset)
    parts.append(part.read_bytes())
  source, out = tmp_path / 'in.ts', tmp_path / 'out.mp4'
  source.write_bytes(b''.join(parts))
  count, notes = upscale_video(source, out, nearest)
  assert count > 30 and notes == []
  made = streams(out)
  for kind in ('video', 'audio'):
    assert float(made[kind]['duration']) < 2, kind
  assert np.diff(times(out)).max() < 0.2
