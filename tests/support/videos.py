"""Small videos for tests: made by ffmpeg, asked about by ffprobe."""

import json
import shutil
import subprocess

import numpy as np
import pytest

KEEP_TIMES = '-fps_mode', 'passthrough'
PICTURES = 'testsrc=size=32x24:rate=24000/1001:duration=0.5'
SOUND = 'sine=duration=0.5'

needs_ffmpeg = pytest.mark.skipif(
  shutil.which('ffmpeg') is None or shutil.which('ffprobe') is None,
  reason='the programs ffmpeg and ffprobe are not installed',
)


def nearest(lr):
  """Stands in for a generator where the frames' content is the point."""
  return lr.repeat(4, axis=0).repeat(4, axis=1)


class Spy:
  """`nearest`, which keeps what it was `given`."""

  def __init__(self):
    self.given = []

  def __call__(self, lr):
    self.given.append(lr)
    return nearest(lr)


def run_ffmpeg(*arguments):
  subprocess.run(
    ['ffmpeg', '-nostdin', '-v', 'error', '-y', *map(str, arguments)],
    check=True,
  )


def ask(path, entries, *options):
  result = subprocess.run(
    [
      *('ffprobe', '-v', 'error', '-of', 'json', *options),
      *('-show_entries', entries, str(path)),
    ],
    capture_output=True,
    check=True,
  )
  return json.loads(result.stdout)


def streams(path):
  return {s['codec_type']: s for s in ask(path, 'stream')['streams']}


def tags(path):
  """The file's, names in lower case."""
  found = ask(path, 'format_tags')['format'].get('tags', {})
  return {name.lower(): value for name, value in found.items()}


def times(path):
  """Of the video's frames, in seconds."""
  packets = ask(path, 'packet=stream_index,pts_time')['packets']
  return sorted(float(p['pts_time']) for p in packets if not p['stream_index'])


def frames(path, width, height, *, pixel_format='rgb24', decoder=()):
  """Decoded again: [N, H, W, C], uint8 or uint16."""
  channels = 4 if 'a' in pixel_format else 3
  result = subprocess.run(
    [
      *('ffmpeg', '-v', 'error', *decoder, '-i', str(path), '-map', '0:v:0'),
      *('-sws_flags', 'accurate_rnd+full_chroma_int'),
      *(*KEEP_TIMES, '-pix_fmt', pixel_format, '-f', 'rawvideo', '-'),
    ],
    capture_output=True,
    check=True,
  )
  dtype = '<u2' if pixel_format.endswith('le') else 'u1'
  pixels = np.frombuffer(result.stdout, dtype)
  return pixels.reshape(-1, height, width, channels)


def make(path, *options, picture=PICTURES):
  """Writes a video with sound, of pictures that lavfi draws."""
  run_ffmpeg(
    *('-f', 'lavfi', '-i', picture, '-f', 'lavfi', '-i', SOUND, *options),
    path,
  )
