"""Videos: all that goes with the picture."""

import numpy as np
import pytest

from tests.support.videos import (
  PICTURES,
  Spy,
  ask,
  frames,
  make,
  nearest,
  needs_ffmpeg,
  run_ffmpeg,
  streams,
  tags,
  times,
)

av = pytest.importorskip('av')
from srgan_jax.upscaling.video import upscale_video

pytestmark = needs_ffmpeg


@pytest.mark.parametrize('target', ['mp4', 'mkv', 'mov', 'webm'])
def test_tags_of_phones_stay(tmp_path, target):
  given = {
    'title': 'My film',
    'creation_time': '2024-05-06T07:08:09.000000Z',
    'com.apple.quicktime.location.iso6709': '+48.1234+011.5678+520/',
    'com.apple.quicktime.creationdate': '2024-05-06T09:08:09+0200',
    'com.apple.quicktime.make': 'Apple',
    'com.apple.quicktime.model': 'iPhone 15',
  }
  source, out = tmp_path / 'in.mov', tmp_path / f'out.{target}'
  options = [f'{name}={value}' for name, value in given.items()]
  make(
    *(source, '-movflags', '+use_metadata_tags', '-timecode', '01:02:03:04'),
    *(part for option in options for part in ('-metadata', option)),
  )
  _, notes = upscale_video(source, out, nearest)
  assert [note for note in notes if 'audio' not in note] == []
  made = tags(out)
  for name, value in given.items():
    if name != 'creation_time':
      assert made[name] == value
  assert made['creation_time'].startswith('2024-05-06T07:08:09')
  timecodes = [
    value
    for stream in ask(out, 'stream')['streams']
    for name, value in stream.get('tags', {}).items()
    if name.lower() == 'timecode'
  ]
  assert timecodes and timecodes[0].startswith('01:02:03')


def test_tags_that_are_lost_are_named(tmp_path):
  source, out = tmp_path / 'in.mkv', tmp_path / 'out.mp4'
  cover = tmp_path / 'cover.jpg'
  run_ffmpeg('-f', 'lavfi', '-i', PICTURES, '-frames:v', 1, cover)
  make(
    *(source, '-metadata', 'mood=calm', '-metadata', 'title=T'),
    *('-attach', cover, '-metadata:s:t', 'mimetype=image/jpeg'),
    *('-c:a', 'aac'),
  )
  _, notes = upscale_video(source, out, nearest)
  assert notes == [f'{source}: tags are left out: MOOD']
  assert tags(out)['title'] == 'T'


@pytest.mark.parametrize('target', ['mp4', 'mov', 'mkv'])
def test_languages_and_tags_that_streams_lose_are_named(tmp_path, target):
  source, out = tmp_path / 'in.mkv', tmp_path / f'out.{target}'
  make(
    *(source, '-c:a', 'aac', '-metadata:s:a', 'language=pt-BR'),
    *('-metadata:s:a', 'comment=As recorded', '-metadata:s:v', 'language=jpn'),
  )
  notes = [
    f'{source}: the language of stream 1 (pt-BR) is left out',
    f'{source}: tags of stream 1 are left out: COMMENT',
  ]
  kept = target == 'mkv'
  assert upscale_video(source, out, nearest)[1] == ([] if kept else notes)


@pytest.mark.parametrize('target', ['mp4', 'mkv', 'webm', 'mov'])
def test_languages_titles_and_chapters_stay(tmp_path, target):
  chapters = tmp_path / 'chapters.txt'
  chapters.write_text(
    ';FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\ntitle=One\n'
    '[CHAPTER]\nTIMEBASE=1/1000\nSTART=200\nEND=500\ntitle=Two\n'
  )
  source, out = tmp_path / 'in.mkv', tmp_path / f'out.{target}'
  make(
    *(source, '-i', chapters, '-map', 0, '-map', 1, '-map_metadata', 2),
    *('-metadata:s:v', 'language=jpn', '-metadata:s:v', 'title=Main video'),
    *('-metadata:s:a', 'title=Commentary'),
  )
  upscale_video(source, out, nearest)
  made = streams(out)
  assert made['video']['tags']['language'] == 'jpn'
  assert made['audio']['tags'].get('language', 'und') == 'und'
  name = 'handler_name' if target in ('mp4', 'mov') else 'title'
  assert made['video']['tags'][name] == 'Main video'
  assert made['audio']['tags'][name] == 'Commentary'
  found = ask(out, 'chapter')['chapters']
  assert [chapter['tags']['title'] for chapter in found] == ['One', 'Two']
  assert float(found[1]['start_time']) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize('given', ['mp4', 'mkv'])
@pytest.mark.parametrize('target', ['mp4', 'mkv', 'mov', 'webm'])
def test_covers_stay_where_the_container_has_them(tmp_path, given, target):
  cover, clip = tmp_path / 'cover.png', tmp_path / 'clip.mp4'
  run_ffmpeg('-f', 'lavfi', '-i', PICTURES, '-frames:v', 1, cover)
  source, out = tmp_path / f'in.{given}', tmp_path / f'out.{target}'
  make(clip, '-c:v', 'libx264')
  if given == 'mp4':
    how = '-i', cover, '-map', 0, '-map', 1, '-disposition:v:1', 'attached_pic'
  else:
    how = '-attach', cover, '-metadata:s:t', 'mimetype=image/png'
  run_ffmpeg('-i', clip, *how, '-c', 'copy', source)
  _, notes = upscale_video(source, out, nearest)
  found = [
    stream
    for stream in ask(out, 'stream')['streams']
    if stream['disposition']['attached_pic']
  ]
  if target in ('mp4', 'mkv'):
    assert notes == [] and len(found) == 1
    assert (found[0]['codec_name'], found[0]['width']) == ('png', 32)
    with av.open(str(out)) as container:
      packet = next(container.demux(container.streams.video[-1]))
      assert bytes(packet) == cover.read_bytes()
  else:
    assert not found
    assert 'the cover is left out: .mp4 and .mkv hold it' in notes[-1]


def test_attachments_stay_in_matroska(tmp_path):
  font = tmp_path / 'fancy.ttf'
  font.write_bytes(b'\0\1\0\0' + bytes(100))
  source = tmp_path / 'in.mkv'
  kind = 'mimetype=application/x-truetype-font'
  make(source, '-attach', font, '-metadata:s:t', kind, '-c:a', 'aac')
  out = tmp_path / 'out.mkv'
  assert upscale_video(source, out, nearest)[1] == []
  with av.open(str(out)) as container:
    (attachment,) = container.streams.attachments
    assert attachment.name == 'fancy.ttf'
    assert attachment.data == font.read_bytes()
  _, notes = upscale_video(source, tmp_path / 'out.mp4', nearest)
  assert notes == [
    f'{source}: the attachment fancy.ttf is left out: .mkv holds it'
  ]


@pytest.mark.parametrize(
  'codec, target, made, keeps',
  [
    ('pcm_s16le', 'mp4', 'aac', '.mov, .mkv'),
    ('pcm_s24le', 'mov', 'pcm_s24le', None),
    ('pcm_s16le', 'webm', 'opus', '.mov, .mkv'),
    ('pcm_dvd', 'mkv', 'flac', ''),
    ('aac', 'webm', 'opus', '.mp4, .mov, .mkv'),
    ('flac', 'mp4', 'flac', None),
    ('flac', 'mov', 'aac', '.mp4, .mkv'),
    ('libopus', 'mov', 'aac', '.mp4, .mkv'),
    ('libmp3lame', 'mp4', 'mp3', None),
  ],
)
def test_sound_is_copied_or_encoded_anew_with_a_note(
  tmp_path, codec, target, made, keeps
):
  kind = 'mpg' if codec == 'pcm_dvd' else 'mkv'
  source, out = tmp_path / f'in.{kind}', tmp_path / f'out.{target}'
  picture = ('-c:v', 'mpeg2video') if kind == 'mpg' else ()
  make(source, '-ac', 2, '-ar', 48000, '-c:a', codec, *picture)
  _, notes = upscale_video(source, out, nearest)
  found, given = streams(out)['audio'], streams(source)['audio']
  assert found['codec_name'] == made
  assert (found['channels'], found['sample_rate']) == (2, '48000')
  if keeps is None:
    assert notes == []
  else:
    what = f'stream 1 (audio, {given["codec_name"]}) becomes {made}'
    where = f' ({keeps} would keep it)' if keeps else ''
    assert notes == [f'{source}: {what}{where}']
  with av.open(str(out)) as container:
    heard = [f.to_ndarray() for f in container.decode(audio=0)]
  scale = 1 if np.issubdtype(heard[0].dtype, np.floating) else 2**31
  loudest = max(np.abs(part / scale).max() for part in heard)
  assert loudest > 0.05 or heard[0].dtype == np.int16


@pytest.mark.parametrize('target', ['mp4', 'mkv', 'mov'])
def test_streams_that_nothing_decodes_are_left_out(tmp_path, target):
  source, out = tmp_path / 'in.mov', tmp_path / f'out.{target}'
  make(source, '-map', 0, '-map', 1, '-map', 1, '-c:a', 'aac')
  data = source.read_bytes()
  last = data.rindex(b'stsd')
  unknown = data[last:].replace(b'mp4a', b'apac').replace(b'esds', b'dapa')
  source.write_bytes(data[:last] + unknown)
  count, notes = upscale_video(source, out, nearest)
  assert count == 12
  assert notes == [f'{source}: stream 2 (audio, no decoder) is left out']
  kinds = [s['codec_type'] for s in ask(out, 'stream')['streams']]
  assert kinds == ['video', 'audio']


@pytest.mark.parametrize('target', ['mp4', 'mkv', 'mov'])
def test_data_and_second_pictures_are_left_out(tmp_path, target):
  blob = tmp_path / 'blob.bin'
  blob.write_bytes(bytes(range(200)))
  source, out = tmp_path / 'in.ts', tmp_path / f'out.{target}'
  make(
    *(source, '-f', 'data', '-i', blob, '-map', 0, '-map', 1, '-map', 0),
    *('-map', 2, '-c:v', 'mpeg2video', '-c:a', 'mp2', '-c:d', 'copy'),
  )
  _, notes = upscale_video(source, out, nearest)
  assert len(notes) == 2
  assert 'stream 2 (video, mpeg2video) is left out: one' in notes[0]
  assert 'stream 3 (data, bin_data) is left out' in notes[1]
  assert streams(out).keys() == {'video', 'audio'}


def test_damaged_sound_does_not_stop_a_video(tmp_path):
  source, out = tmp_path / 'in.mkv', tmp_path / 'out.webm'
  make(source, '-c:a', 'aac')
  data = bytearray(source.read_bytes())
  with av.open(str(source)) as container:
    packets = [bytes(packet) for packet in container.demux(audio=0)]
  for packet in packets[5:8]:
    start = data.index(packet)
    data[start : start + len(packet)] = b'\xff' * len(packet)
  source.write_bytes(data)
  count, notes = upscale_video(source, out, nearest)
  assert count == 12
  assert f'{source}: is damaged (stream 1 has unreadable parts)' in notes
  assert float(streams(out)['audio']['tags']['DURATION'][-12:]) > 0.4


def test_a_change_of_size_is_scaled_to_the_first(tmp_path):
  parts = []
  for number, size in enumerate(('32x24', '48x32')):
    part = tmp_path / f'{number}.ts'
    picture = f'testsrc=size={size}:rate=25:duration=0.4'
    make(
      *(part, '-c:v', 'mpeg2video', '-output_ts_offset', 0.4 * number),
      picture=picture,
    )
    parts.append(part.read_bytes())
  source, out = tmp_path / 'in.ts', tmp_path / 'out.mp4'
  source.write_bytes(b''.join(parts))
  _, notes = upscale_video(source, out, nearest)
  assert notes == [
    f'{source}: its size changes: all frames get the size of the first'
  ]
  assert frames(out, 128, 96).shape[0] > 15


def test_interlaced_video_is_deinterlaced(tmp_path):
  source, out = tmp_path / 'in.mkv', tmp_path / 'out.mp4'
  # The fields are black and white in turn, so that all is moving.
  run_ffmpeg(
    *('-f', 'lavfi', '-i', 'nullsrc=size=32x32:rate=25:duration=0.4'),
    *('-vf', "format=gray,geq=lum='255*mod(Y+N,2)',setfield=tff"),
    *('-c:v', 'mpeg2video', '-q:v', 1, '-flags', '+ildct+ilme'),
    *('-pix_fmt', 'yuv420p', source),
  )
  spy = Spy()
  assert upscale_video(source, out, spy) == (10, [])
  assert times(out) == pytest.approx([i / 25 for i in range(10)], abs=0.002)
  for number, lr in enumerate(spy.given):
    rows = lr[4:-4].mean((1, 2))
    assert np.abs(rows - 255 * (number % 2)).max() < 60
