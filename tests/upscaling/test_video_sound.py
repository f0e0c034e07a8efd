"""Videos: the channels of sound that is encoded anew."""

import subprocess

import numpy as np
import pytest

from tests.support.videos import (
  PICTURES,
  nearest,
  needs_ffmpeg,
  run_ffmpeg,
  streams,
)

av = pytest.importorskip('av')
from srgan_jax.upscaling.video import upscale_video

pytestmark = needs_ffmpeg

RATE = 48_000


def make(path, layout, count, codec):
  """Channel k sounds at 40 + 20 k Hz, low enough for LFE."""
  tones = [f'0.1*sin(2*PI*{40 + 20 * k}*t)' for k in range(count)]
  sound = f"aevalsrc='{'|'.join(tones)}':c={layout}:d=1:s={RATE}"
  run_ffmpeg(
    *('-f', 'lavfi', '-i', PICTURES, '-f', 'lavfi', '-i', sound),
    *('-c:v', 'libx264', '-c:a', codec, path),
  )


def heard(path, count):
  """By channel: which k it sounds at, None where it is silent."""
  result = subprocess.run(
    [
      *('ffmpeg', '-v', 'error', '-i', str(path), '-map', '0:a'),
      *('-c:a', 'pcm_s16le', '-f', 's16le', '-'),
    ],
    capture_output=True,
    check=True,
  )
  sound = np.frombuffer(result.stdout, '<i2').reshape(-1, count)[4800:43200]
  found = np.abs(np.fft.rfft(sound * np.hanning(len(sound))[:, None], axis=0))
  return [
    round((channel.argmax() * RATE / len(sound) - 40) / 20)
    if channel.max() > 1e6
    else None
    for channel in found.T
  ]


@pytest.mark.parametrize(
  'codec, given, count, target, made',
  [
    ('flac', '2.1', 3, 'mp4', '5.1'),
    ('flac', '4.0', 4, 'mp4', '4.0'),
    ('pcm_s16le', '2.1', 3, 'mkv', '2.1'),
    ('pcm_s16le', '3.0', 3, 'mkv', '3.0'),
  ],
)
def test_sound_whose_channels_a_file_would_not_tell_is_encoded(
  tmp_path, codec, given, count, target, made
):
  source = tmp_path / ('in.mkv' if codec == 'flac' else 'in.mov')
  out = tmp_path / f'out.{target}'
  make(source, given, count, codec)
  (note,) = upscale_video(source, out, nearest)[1]
  assert 'becomes ' in note
  assert streams(out)['audio']['channel_layout'] == made
  places = av.AudioLayout(made).nb_channels
  found = [k for k in heard(out, places) if k is not None]
  assert found == list(range(count))


@pytest.mark.parametrize(
  'codec, target', [('flac', 'mp4'), ('pcm_s16le', 'mkv')]
)
def test_sound_whose_channels_are_assumed_is_copied(tmp_path, codec, target):
  source = tmp_path / ('in.mkv' if codec == 'flac' else 'in.mov')
  out = tmp_path / f'out.{target}'
  make(source, '5.1', 6, codec)
  assert upscale_video(source, out, nearest)[1] == []
  assert streams(out)['audio']['codec_name'] == codec
  assert heard(out, 6) == list(range(6))


@pytest.mark.parametrize(
  'given, count, target, made, order',
  [
    ('mono', 1, 'mov', 'mono', [0]),
    ('stereo', 2, 'webm', 'stereo', [0, 1]),
    ('2.1', 3, 'mov', '5.1', [0, 1, None, 2, None, None]),
    ('3.1', 4, 'webm', '5.1', [0, 1, 2, 3, None, None]),
    ('4.0', 4, 'mov', '4.0', [0, 1, 2, 3]),
    ('4.0', 4, 'webm', '5.1', [0, 1, 2, None, 3, 3]),
    ('quad', 4, 'mov', '5.0', [0, 1, None, 2, 3]),
    ('quad', 4, 'webm', 'quad', [0, 1, 2, 3]),
    ('5.0', 5, 'webm', '5.1', [0, 1, 2, None, 3, 4]),
    ('5.1', 6, 'mov', '5.1', [0, 1, 2, 3, 4, 5]),
    ('5.1(side)', 6, 'webm', '5.1', [0, 1, 2, 3, 4, 5]),
    ('7.0', 7, 'mov', '7.1', [0, 1, 2, None, 3, 4, 5, 6]),
    ('7.1', 8, 'webm', '7.1', [0, 1, 2, 3, 4, 5, 6, 7]),
  ],
)
def test_channels_stay_in_their_places(
  tmp_path, given, count, target, made, order
):
  source, out = tmp_path / 'in.mkv', tmp_path / f'out.{target}'
  make(source, given, count, 'flac')
  (note,) = upscale_video(source, out, nearest)[1]
  mixed = f', its channels ({given}) are mixed to {made} ('
  assert (mixed in note) == (given != made)
  assert streams(out)['audio']['channel_layout'] == made
  assert heard(out, len(order)) == order


@pytest.mark.parametrize(
  'given, count, what',
  [
    (
      *('hexadecagonal', 16),
      'becomes aac, its channels (hexadecagonal) are mixed to 7.1',
    ),
    # In QuickTime's own order, whose frames PyAV frees twice.
    (
      *('6.1', 7),
      'is left out: its channels (7 channels (FL+FR+FC+LFE+SL+SR+BC)) cannot '
      'be mixed',
    ),
  ],
)
def test_channels_without_a_place_get_a_line(tmp_path, given, count, what):
  source = tmp_path / 'in.mov'
  make(source, given, count, 'pcm_s16le')
  assert upscale_video(source, tmp_path / 'out.mp4', nearest)[1] == [
    f'{source}: stream 1 (audio, pcm_s16le) {what} (.mov, .mkv would keep it)'
  ]


def test_nine_channels_without_places_are_left_out(tmp_path):
  source, out = tmp_path / 'in.mkv', tmp_path / 'out.mp4'
  places = 'FL+FR+FC+LFE+BL+BR+SL+SR+TC'
  make(source, places, 9, 'pcm_s16le')
  (note,) = upscale_video(source, out, nearest)[1]
  assert 'its channels (9 channels) cannot be mixed (.mov, .mkv would' in note
  assert streams(out).keys() == {'video'}
