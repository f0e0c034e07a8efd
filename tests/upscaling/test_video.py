"""Videos: every frame, its time, its colours and its sound."""

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

from srgan_jax import video
from tests.support import repository, signals
from tests.support.videos import (
  KEEP_TIMES,
  PICTURES,
  SOUND,
  Spy,
  ask,
  frames,
  nearest,
  needs_ffmpeg,
  run_ffmpeg,
  streams,
  tags,
  times,
)

pytest.importorskip('av')
from srgan_jax.upscaling.video import formats, upscale_video

SUBTITLES = '1\n00:00:00,100 --> 00:00:00,400\nHello\n'


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
  """12 frames with sound and subtitles; the pictures begin late."""
  if shutil.which('ffmpeg') is None:
    pytest.skip('the program ffmpeg is not installed')
  folder = tmp_path_factory.mktemp('clip')
  (folder / 'text.srt').write_text(SUBTITLES)
  path = folder / 'clip.mp4'
  run_ffmpeg(
    *('-itsoffset', '0.2', '-f', 'lavfi', '-i', PICTURES),
    *('-f', 'lavfi', '-i', SOUND, '-i', folder / 'text.srt'),
    *('-c:v', 'libx264', '-pix_fmt', 'yuv420p', '-c:a', 'aac'),
    *(*KEEP_TIMES, '-c:s', 'mov_text', '-metadata', 'title=Twelve', path),
  )
  return path


@needs_ffmpeg
def test_the_command_keeps_frames_times_sound_and_subtitles(
  clip, model, tmp_path, capsys
):
  out = tmp_path / 'out.mp4'
  command = [str(clip), '-o', str(out), '--model', str(model)]
  assert video.main(command) == 0
  assert '12 frames' in capsys.readouterr().out
  given, made = streams(clip), streams(out)
  assert made.keys() == {'video', 'audio', 'subtitle'}
  assert (made['video']['width'], made['video']['height']) == (128, 96)
  assert made['video']['nb_frames'] == '12'
  for key in ('r_frame_rate', 'time_base', 'start_time'):
    assert made['video'][key] == given['video'][key], key
  for kind in ('audio', 'subtitle'):
    for key in ('codec_name', 'start_time', 'duration'):
      assert made[kind][key] == given[kind][key], (kind, key)
  assert times(out) == times(clip) and times(out)[0] > 0.1
  assert tags(out)['title'] == 'Twelve'
  assert [p.name for p in tmp_path.iterdir()] == ['out.mp4']

  assert video.main(command) == 1
  assert '--overwrite' in capsys.readouterr().err


@pytest.mark.parametrize('crf', ['-1', '64', 'nan'])
def test_a_crf_that_no_encoder_has_is_refused(crf, capsys):
  with pytest.raises(SystemExit):
    video.main(['in.mp4', '-o', 'out.mp4', f'--crf={crf}'])
  assert 'argument --crf: ' in capsys.readouterr().err


@needs_ffmpeg
@pytest.mark.parametrize(
  'matrix, height', [('bt709', 24), ('smpte170m', 24), (None, 24), (None, 720)]
)
def test_colours_stay(tmp_path, matrix, height):
  source, out = tmp_path / 'in.mp4', tmp_path / 'out.mkv'
  tags = []
  if matrix:
    tags = ['-vf', f'scale=out_color_matrix={matrix}', '-colorspace', matrix]
  run_ffmpeg(
    *('-f', 'lavfi', '-i', f'color=c=0xE04020:size=32x{height}:duration=0.1'),
    *('-c:v', 'libx264', '-qp', 0, '-pix_fmt', 'yuv444p', *tags, source),
  )
  spy = Spy()
  upscale_video(source, out, spy, crf=1)
  if matrix:
    assert np.abs(spy.given[0].astype(int) - (0xE0, 0x40, 0x20)).max() <= 2
  # The result says how it is to be read, so that nobody has to guess.
  assert 'color_space' in streams(out)['video']
  again = frames(out, 128, 4 * height)
  assert np.abs(again[0].astype(int) - nearest(spy.given[0])).max() <= 2


@needs_ffmpeg
def test_varying_frame_rates_stay_as_they_are(tmp_path):
  source, out = tmp_path / 'in.mkv', tmp_path / 'out.mp4'
  # Frames 0..11 at 0, 1, 4, 9, ... hundredths of a second.
  run_ffmpeg(
    *('-f', 'lavfi', '-i', PICTURES, '-vf', 'settb=1/100,setpts=N*N'),
    *(*KEEP_TIMES, '-enc_time_base', '1/100'),
    *('-c:v', 'ffv1', '-pix_fmt', 'bgr0', source),
  )
  expected = [i * i / 100 for i in range(12)]
  assert times(source) == pytest.approx(expected)
  count, notes = upscale_video(source, out, nearest, crf=1)
  assert (count, notes) == (12, [])
  assert times(out) == pytest.approx(expected)
  # Each frame at its own time, not its neighbour's.
  originals = frames(source, 32, 24).astype(int)
  made = frames(out, 128, 96)
  assert len(made) == 12
  for lr, sr in zip(originals, made, strict=True):
    assert np.abs(sr[::4, ::4] - lr).mean() < 12


@needs_ffmpeg
@pytest.mark.parametrize('suffix', ['.mp4', '.webm'])
def test_the_last_frame_stays_as_long_as_it_did(tmp_path, suffix):
  source, out = tmp_path / 'in.gif', tmp_path / f'out{suffix}'
  first, last = (Image.new('RGB', (32, 24), name) for name in ('red', 'blue'))
  first.save(source, append_images=[last], duration=[100, 3000], save_all=True)
  upscale_video(source, out, nearest)
  found = ask(out, 'format=duration')['format']['duration']
  assert float(found) == pytest.approx(3.1)


@needs_ffmpeg
def test_frames_without_times_come_at_the_rate_of_their_stream(tmp_path):
  source, out = tmp_path / 'in.h264', tmp_path / 'out.mp4'
  given = 'testsrc=size=32x24:rate=10:duration=0.5'
  run_ffmpeg('-f', 'lavfi', '-i', given, '-c:v', 'libx264', source)
  upscale_video(source, out, nearest)
  assert times(out) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


@needs_ffmpeg
@pytest.mark.parametrize(
  'a, b, c, d, container',
  [
    (0, 1, -1, 0, 'mp4'),
    (0, -1, 1, 0, 'mp4'),
    (-1, 0, 0, -1, 'mkv'),
    (-1, 0, 0, 1, 'mp4'),
    (0, 1, 1, 0, 'mkv'),
  ],
)
def test_turned_and_mirrored_videos_come_out_upright(
  tmp_path, a, b, c, d, container
):
  source, out = tmp_path / 'in.mp4', tmp_path / f'out.{container}'
  run_ffmpeg(
    *('-f', 'lavfi', '-i', f'{PICTURES},setsar=2/1', '-frames:v', 2),
    *('-c:v', 'libx264', '-pix_fmt', 'yuv444p', source),
  )
  data = bytearray(source.read_bytes())
  start = data.index(b'tkhd') + 4 + 40  # the track header's matrix
  matrix = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 14]) << 16
  data[start : start + 36] = matrix.astype('>i4').tobytes()
  source.write_bytes(data)
  upscale_video(source, out, nearest)
  made = streams(out)['video']
  width, height = (24, 32) if b else (32, 24)
  assert (made['width'], made['height']) == (4 * width, 4 * height)
  assert made['sample_aspect_ratio'] == ('1:2' if b else '2:1')
  assert 'side_data_list' not in made
  upright = frames(source, width, height)[0].astype(int)  # ffmpeg turns it too
  shown = frames(out, 4 * width, 4 * height)[0, ::4, ::4]
  assert np.abs(shown - upright).mean() < 12


@needs_ffmpeg
def test_what_a_clean_aperture_hides_stays_hidden(tmp_path):
  source, out = tmp_path / 'in.mp4', tmp_path / 'out.mp4'
  run_ffmpeg(
    *('-f', 'lavfi', '-i', PICTURES, '-frames:v', 2),
    *('-c:v', 'libx264', '-pix_fmt', 'yuv444p', '-qp', 0, source),
  )
  spy = Spy()
  upscale_video(source, out, spy)
  # 16 x 12 of 32 x 24, 4 to the right of the middle and 2 above it.
  numbers = np.array([16, 1, 12, 1, 4, 1, -2, 1], '>i4').tobytes()
  box = (40).to_bytes(4, 'big') + b'clap' + numbers
  data, start = source.read_bytes(), 0
  for name in (b'moov', b'trak', b'mdia', b'minf', b'stbl', b'stsd', b'avc1'):
    start = data.index(name, start) - 4
    size = int.from_bytes(data[start : start + 4], 'big')
    grown = (size + len(box)).to_bytes(4, 'big')
    data = data[:start] + grown + data[start + 4 :]
  source.write_bytes(data[: start + size] + box + data[start + size :])
  cropped = Spy()
  upscale_video(source, out, cropped)
  np.testing.assert_array_equal(cropped.given[0], spy.given[0][4:16, 12:28])
  made = streams(out)['video']
  assert (made['width'], made['height']) == (64, 48)


@needs_ffmpeg
@pytest.mark.parametrize(
  'aspect, size', [('2/1', '256x96'), ('1/2', '128x192')]
)
def test_pixels_become_square_where_the_file_has_no_aspect(
  tmp_path, aspect, size
):
  source, out = tmp_path / 'in.mp4', tmp_path / 'out.webm'
  run_ffmpeg(
    *('-f', 'lavfi', '-i', f'{PICTURES},setsar={aspect}', '-frames:v', 2),
    *('-c:v', 'libx264', '-pix_fmt', 'yuv420p', source),
  )
  (note,) = upscale_video(source, out, nearest)[1]
  made = streams(out)['video']
  assert 'square' in note and f'{made["width"]}x{made["height"]}' == size


@needs_ffmpeg
def test_subtitles_go_where_the_container_has_them(clip, tmp_path):
  out = tmp_path / 'out.mkv'
  _, notes = upscale_video(clip, out, nearest)
  assert streams(out)['subtitle']['codec_name'] == 'subrip' and not notes


@needs_ffmpeg
def test_bad_input_is_one_line(clip, model, tmp_path, capsys):
  text = tmp_path / 'text.mp4'
  text.write_text('no video')
  sound = tmp_path / 'sound.mkv'
  run_ffmpeg('-f', 'lavfi', '-i', SOUND, sound)
  empty = tmp_path / 'empty.mkv'
  run_ffmpeg('-i', clip, '-map', 0, '-c', 'copy', '-c:s', 'srt', empty)
  empty.write_bytes(empty.read_bytes()[:1000])  # the header alone
  before = set(tmp_path.iterdir())
  for source, out, message in (
    (tmp_path / 'missing.mp4', 'out.mp4', 'missing.mp4: No such file'),
    (text, 'out.mp4', 'text.mp4: Invalid data'),
    (sound, 'out.mp4', 'sound.mkv: has no video'),
    (empty, 'out.mp4', 'empty.mkv: '),
    (clip, 'out.txt', "must end in .mp4, .m4v, .mov, .mkv, .webm, not '.txt'"),
    (clip, 'no/out.mp4', 'out.mp4: there is no folder'),
  ):
    command = [str(source), '-o', str(tmp_path / out), '--model', str(model)]
    assert video.main(command) == 1, message
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1, error
    assert set(tmp_path.iterdir()) == before


@needs_ffmpeg
@pytest.mark.parametrize('suffix', ['.mp4', '.mkv'])
def test_a_full_disk_is_one_line_and_leaves_nothing(clip, tmp_path, suffix):
  resource = pytest.importorskip('resource')
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
  try:
    with pytest.raises(ValueError, match=f'out{suffix}: File too large'):
      upscale_video(clip, tmp_path / f'out{suffix}', nearest)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert not list(tmp_path.iterdir())


@needs_ffmpeg
def test_names_and_tags_may_hold_any_bytes(tmp_path, model, capsysbinary):
  name = os.fsdecode(b'caf\xe9: \x07.mkv')
  source, out = tmp_path / name, tmp_path / ('o' * 240 + name)
  made = tmp_path / 'in.mkv'
  artist = os.fsdecode(b'artist=J\xfcrgen')  # Latin-1, as old programs wrote
  run_ffmpeg(
    *('-f', 'lavfi', '-i', PICTURES, '-frames:v', 2, '-metadata', artist),
    made,
  )
  made.rename(source)
  command = [str(source), '-o', str(out), '--model', str(model)]
  assert video.main(command) == 0
  captured = capsysbinary.readouterr()
  assert captured.err == b''
  assert captured.out.endswith(b'\\x07.mkv (2 frames)\n')
  assert b'J\xfcrgen' in out.read_bytes()


def test_formats_are_described():
  assert formats.describe('gray') == (False, False, 8, (0, 0))
  assert formats.describe('pal8') == (False, True, 8, (64, 64))
  assert formats.describe('yuva420p10le') == (True, False, 10, (32, 32))
  with pytest.raises(ValueError, match='cuda cannot be read'):
    formats.describe('cuda')


def test_without_pyav_one_line_says_so(tmp_path, monkeypatch, capsys):
  for name in list(sys.modules):
    if name.startswith('srgan_jax.upscaling.video'):
      monkeypatch.delitem(sys.modules, name)
  monkeypatch.setitem(sys.modules, 'av', None)
  monkeypatch.delattr('srgan_jax.upscaling.video')
  assert video.main(['a.mp4', '-o', str(tmp_path / 'b.mp4')]) == 1
  assert capsys.readouterr().err == (
    "video: it takes PyAV: pip install 'srgan_jax[video]'\n"
  )


@needs_ffmpeg
def test_a_cut_off_file_gives_what_can_be_read(tmp_path):
  source, out = tmp_path / 'in.mkv', tmp_path / 'out.mp4'
  pictures = 'testsrc=size=32x24:rate=4:duration=4'
  run_ffmpeg('-f', 'lavfi', '-i', pictures, '-c:v', 'mjpeg', source)
  assert upscale_video(source, out, nearest) == (16, [])
  data = source.read_bytes()
  source.write_bytes(data[: len(data) // 2])
  count, notes = upscale_video(source, out, nearest)
  assert 2 < count < 12 and streams(out)['video']['nb_frames'] == str(count)
  (note,) = notes
  assert 'damaged' in note and 's are missing' in note


@needs_ffmpeg
@pytest.mark.parametrize(
  'number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
)
def test_a_stopped_run_leaves_nothing(clip, model, tmp_path, number):
  out = tmp_path / 'out.mp4'
  code = (
    'import sys, time; from srgan_jax import upscaling, video\n'
    'def slow(lr):\n'
    '  print("frame", flush=True); time.sleep(0.5)\n'
    '  return lr.repeat(4, 0).repeat(4, 1)\n'
    'upscaling.load = lambda name, **options: slow\n'
    'sys.exit(video.main(sys.argv[1:]))\n'
  )
  with signals.hangups_count():
    process = subprocess.Popen(
      [sys.executable, '-c', code, str(clip), '-o', str(out)],
      cwd=repository.ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      start_new_session=True,
    )
  for _ in range(3):
    assert process.stdout.readline() == 'frame\n'
  assert any(tmp_path.iterdir())  # what is being written
  # Ctrl-C goes to all programs of a terminal.
  os.killpg(process.pid, number)
  _, error = process.communicate(timeout=30)
  assert process.returncode == 130, error
  assert error == 'video: stopped; nothing is written\n'
  assert not list(tmp_path.iterdir())
