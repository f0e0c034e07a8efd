"""Videos: bit depth, chroma, transparency and colours."""

import numpy as np
import pytest

from tests.support.videos import (
  Spy,
  ask,
  frames,
  nearest,
  needs_ffmpeg,
  run_ffmpeg,
  streams,
  times,
)

av = pytest.importorskip('av')
from srgan_jax.upscaling.video import upscale_video

pytestmark = needs_ffmpeg

PICTURES = 'testsrc=size=32x24:rate=10:duration=0.3'
HDR = (
  'log-level=error:repeat-headers=1:max-cll=1000,400:master-display='
  'G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)'
)


def make(path, pixel_format, *options, pictures=PICTURES):
  run_ffmpeg(
    *('-f', 'lavfi', '-i', pictures, '-pix_fmt', pixel_format),
    *(*(options if '-c:v' in options else ('-c:v', 'ffv1', *options)), path),
  )


@pytest.mark.parametrize(
  'given, container, kept, note',
  [
    ('yuv420p10le', '.mp4', 'yuv420p10le', None),
    ('yuv420p10le', '.mkv', 'yuv420p10le', None),
    ('yuv422p10le', '.mov', 'yuv422p10le', None),
    ('yuv420p10le', '.webm', 'yuv420p', '10 bits become 8'),
    ('yuv444p12le', '.mp4', 'yuv444p12le', None),
    ('yuv444p', '.mp4', 'yuv444p', None),
    ('yuv444p', '.webm', 'yuv444p', None),
    ('yuv422p', '.mov', 'yuv422p', None),
    ('yuv411p', '.mkv', 'yuv422p', None),
    ('gray', '.mp4', 'yuv420p', None),
    ('bgr0', '.mp4', 'gbrp', None),
    ('bgr0', '.webm', 'gbrp', None),
    ('gbrp10le', '.mov', 'gbrp10le', None),
    ('gbrp16le', '.mkv', 'gbrp12le', '16 bits become 12'),
    ('yuva444p10le', '.mov', 'yuva444p12le', None),  # ProRes, as decoded
    ('yuva444p16le', '.mov', 'yuva444p12le', '16 bits become 10'),
    ('bgra', '.mov', 'yuva444p12le', 'RGB becomes YUV'),
    ('bgra', '.mp4', 'gbrp', None),  # all of it is opaque
  ],
)
def test_a_pixel_format_stays_or_a_note_says_what_is_lost(
  tmp_path, given, container, kept, note
):
  source, out = tmp_path / 'in.mkv', tmp_path / f'out{container}'
  make(source, given)
  assert streams(source)['video']['pix_fmt'] == given
  _, notes = upscale_video(source, out, nearest)
  assert streams(out)['video']['pix_fmt'] == kept
  assert notes == ([f'{source}: {note}'] if note else [])


@pytest.mark.parametrize(
  'container, pixel_format, encoder, declared',
  [
    ('.mp4', 'yuv420p', None, 'left'),
    ('.mp4', 'yuv422p', None, 'left'),
    ('.mp4', 'yuv420p10le', None, 'left'),
    ('.mp4', 'yuv422p10le', None, 'unspecified'),  # HEVC has no other
    ('.webm', 'yuv420p', None, 'left'),
    ('.mkv', 'yuv420p', 'ffv1', 'left'),
    ('.mkv', 'yuv420p', 'mpeg1video', 'center'),
  ],
)
def test_chroma_lies_where_the_file_says(
  tmp_path, container, pixel_format, encoder, declared
):
  source, out = tmp_path / 'in.avi', tmp_path / f'out{container}'
  make(source, 'yuv420p', pictures='testsrc=size=64x48:rate=25:duration=0.2')
  ramp = np.zeros((192, 256, 3), np.uint8)
  ramp[..., 2] = np.arange(256)  # blue rises by a level a pixel
  upscale_video(
    *(source, out, lambda lr: ramp),
    encoder=encoder,
    pixel_format=pixel_format,
    crf=None if encoder else 1,
  )
  made = streams(out)['video']
  assert made.get('chroma_location', 'unspecified') == declared
  with av.open(str(out)) as container:
    plane = next(container.decode(video=0)).planes[1]
  is_deep = pixel_format.endswith('le')
  blue = np.frombuffer(plane, '<u2' if is_deep else 'u1')
  blue = blue.reshape(plane.height, -1)[:, 8:120] / (4 if is_deep else 1)
  # Of BT.601, whose Cb is half of blue in 224 levels.
  shown = (blue.mean(0) - 128) * 255 / 224 * 2
  offset = (shown - 2 * np.arange(8, 120)).mean()
  assert offset == pytest.approx(0.5 if declared == 'center' else 0, abs=0.3)


def test_values_of_ten_bits_stay(tmp_path):
  source, out = tmp_path / 'in.mkv', tmp_path / 'out.mp4'
  # A ramp that 8 bits would show as steps of four.
  run_ffmpeg(
    *('-f', 'lavfi', '-i', 'nullsrc=size=256x16:rate=10:duration=0.2'),
    *('-vf', "format=yuv444p10le,geq=lum='400+X':cb=512:cr=512"),
    *('-c:v', 'ffv1', source),
  )
  spy = Spy()
  upscale_video(source, out, spy, crf=1)
  assert spy.given[0].dtype == np.uint16 and spy.given[0].shape == (16, 256, 3)
  steps = np.diff(spy.given[0][8, :, 1].astype(int))
  assert (steps > 0).all()
  made = frames(out, 1024, 64, pixel_format='rgb48le')
  difference = made[0, 32, ::4].astype(int) - spy.given[0][8]
  assert np.abs(difference).max() < 160  # of 65535: 2.5 levels of 10 bits


@pytest.mark.parametrize('count', [1, 2, 3])
def test_a_few_frames_are_enough(tmp_path, count):
  source, out = tmp_path / 'in.mkv', tmp_path / 'out.mp4'
  make(source, 'yuv420p10le', '-frames:v', count)
  for _ in range(3):  # x265's dates of two are left to chance
    assert upscale_video(source, out, nearest) == (count, [])
    assert times(out) == pytest.approx([i / 10 for i in range(count)])


@pytest.mark.parametrize(
  'container, encoder, decoder',
  [
    ('.mov', 'prores', ()),
    ('.mkv', 'prores', ()),
    ('.webm', 'vp9', ('-c:v', 'libvpx-vp9')),
  ],
)
def test_transparency_stays(tmp_path, container, encoder, decoder):
  source, out = tmp_path / 'in.mov', tmp_path / f'out{container}'
  run_ffmpeg(
    *('-f', 'lavfi', '-i', 'color=c=0x40C080:size=64x48:rate=10:duration=0.3'),
    *('-vf', "format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='4*Y'"),
    *('-c:v', 'prores_ks', '-pix_fmt', 'yuva444p10le', source),
  )
  upscale_video(source, out, nearest)
  made = streams(out)['video']
  assert made['codec_name'] == encoder
  pixels = frames(out, 256, 192, pixel_format='rgba', decoder=decoder)
  alpha = nearest(np.broadcast_to(4 * np.arange(48)[:, None], (48, 64)))
  assert np.abs(pixels[0, ..., 3].astype(int) - alpha).max() <= 4
  colour = pixels[0, 96:, :, :3].astype(int)
  assert np.abs(colour - (0x40, 0xC0, 0x80)).max() <= 6


def test_transparency_of_vp9_is_read(tmp_path):
  source, out = tmp_path / 'in.webm', tmp_path / 'out.webm'
  run_ffmpeg(
    *('-f', 'lavfi', '-i', f'{PICTURES},format=yuva420p'),
    *('-vf', "geq=lum='lum(X,Y)':a=128", '-c:v', 'libvpx-vp9', source),
  )
  spy = Spy()
  assert upscale_video(source, out, spy) == (3, [])
  assert {lr.shape for lr in spy.given} == {(24, 32, 4)}
  assert streams(out)['video']['tags']['alpha_mode'] == '1'
  decoder = '-c:v', 'libvpx-vp9'
  pixels = frames(out, 128, 96, pixel_format='rgba', decoder=decoder)
  assert np.abs(pixels[..., 3].astype(int) - 128).max() <= 4


def test_what_cannot_be_transparent_lies_over_black(tmp_path):
  source, out = tmp_path / 'in.mkv', tmp_path / 'out.mp4'
  run_ffmpeg(
    *('-f', 'lavfi', '-i', f'{PICTURES},format=rgba'),
    *('-vf', 'geq=r=255:g=255:b=255:a=128,format=bgra', '-c:v', 'ffv1', source),
  )
  _, notes = upscale_video(source, out, nearest)
  assert len(notes) == 1 and 'laid over black: .mov, .mkv' in notes[0]
  made = frames(out, 128, 96)
  assert np.abs(made.astype(int) - 128).max() <= 2


@pytest.mark.parametrize('container', ['.mp4', '.mkv', '.mov'])
def test_hdr_stays(tmp_path, container):
  source, out = tmp_path / 'in.mp4', tmp_path / f'out{container}'
  make(
    *(source, 'yuv420p10le', '-c:v', 'libx265', '-x265-params', HDR),
    *('-color_primaries', 'bt2020', '-color_trc', 'smpte2084'),
    *('-colorspace', 'bt2020nc', '-color_range', 'tv'),
    pictures='color=c=0x904020:size=32x24:rate=10:duration=0.3',
  )
  assert upscale_video(source, out, nearest, crf=4) == (3, [])
  given, made = streams(source)['video'], streams(out)['video']
  for key in (
    *('pix_fmt', 'color_range', 'color_space'),
    *('color_transfer', 'color_primaries'),
  ):
    assert made[key] == given[key], key
  first = '-read_intervals', '%+#1'
  data = [
    ask(path, 'frame_side_data', *first)['frames'][0]['side_data_list']
    for path in (source, out)
  ]
  for kind in ('Mastering display metadata', 'Content light level metadata'):
    was, now = (
      next(part for part in parts if part.get('side_data_type') == kind)
      for parts in data
    )
    assert was == now
  originals = frames(source, 32, 24, pixel_format='rgb48le').astype(int)
  pixels = frames(out, 128, 96, pixel_format='rgb48le')[:, ::4, ::4]
  assert np.abs(pixels - originals).max() < 160  # 2.5 levels of 10 bits


def test_hdr_never_becomes_8_bits(tmp_path):
  source, out = tmp_path / 'in.mkv', tmp_path / 'out.webm'
  make(source, 'yuv420p10le', '-color_trc', 'arib-std-b67')
  for target, encoder in ((out, None), (tmp_path / 'out.mp4', 'mpeg4')):
    with pytest.raises(ValueError, match=r'in.mkv: is HDR \(HLG\)'):
      upscale_video(source, target, nearest, encoder=encoder)
  assert [path.name for path in tmp_path.iterdir()] == ['in.mkv']


def test_a_matrix_that_cannot_be_converted_is_refused(tmp_path):
  source = tmp_path / 'in.mkv'
  make(
    *(source, 'yuv420p10le', '-c:v', 'libx265', '-x265-params'),
    'log-level=error:colormatrix=ictcp',
  )
  with pytest.raises(ValueError, match=r'in.mkv: its colour matrix \(ICtCp\)'):
    upscale_video(source, tmp_path / 'out.mp4', nearest)


@pytest.mark.parametrize(
  'encoder, container, name, tag',
  [
    ('libx265', '.mp4', 'hevc', 'hvc1'),
    ('libx265', '.mov', 'hevc', 'hvc1'),
    ('libx265', '.mkv', 'hevc', '[0][0][0][0]'),
    ('ffv1', '.mkv', 'ffv1', '[0][0][0][0]'),
    ('mpeg4', '.mp4', 'mpeg4', 'mp4v'),
  ],
)
def test_other_encoders(tmp_path, encoder, container, name, tag):
  source, out = tmp_path / 'in.mkv', tmp_path / f'out{container}'
  make(source, 'yuv420p')
  assert upscale_video(source, out, nearest, encoder=encoder) == (3, [])
  made = streams(out)['video']
  assert (made['codec_name'], made['codec_tag_string']) == (name, tag)
  assert made['pix_fmt'] == 'yuv420p'


@pytest.mark.parametrize(
  'encoder, crf, message',
  [
    ('mjpeg', None, 'mjpeg: Non full-range YUV is non-standard'),
    ('mpeg2video', None, 'mpeg2video: MPEG-1/2 does not support .* fps$'),
    ('mpeg4', 20, r'mpeg4 has no constant quality \(crf\)'),
  ],
)
def test_what_an_encoder_cannot_do_is_said(
  tmp_path, capfd, encoder, crf, message
):
  source = tmp_path / 'in.mkv'
  make(source, 'yuv420p')
  with pytest.raises(ValueError, match=message):
    upscale_video(
      source, tmp_path / 'out.mkv', nearest, encoder=encoder, crf=crf
    )
  assert capfd.readouterr().err == ''
  assert list(tmp_path.iterdir()) == [source]


def test_what_nothing_could_decode_is_refused(tmp_path, capfd):
  source, out = tmp_path / 'in.mkv', tmp_path / 'out.mov'
  make(source, 'yuv420p')
  with pytest.raises(ValueError, match='yuv420p rawvideo cannot be written'):
    upscale_video(source, out, nearest, encoder='rawvideo')
  assert capfd.readouterr().err == ''
  assert list(tmp_path.iterdir()) == [source]


def test_a_pixel_format_can_be_asked_for(tmp_path):
  source, out = tmp_path / 'in.mkv', tmp_path / 'out.mp4'
  make(source, 'yuv444p10le')
  _, notes = upscale_video(source, out, nearest, pixel_format='yuv420p')
  made = streams(out)['video']
  assert (made['codec_name'], made['pix_fmt']) == ('h264', 'yuv420p')
  assert notes == [
    f'{source}: 10 bits become 8',
    f'{source}: 4:4:4 becomes 4:2:0',
  ]
  for name, encoder, message in (
    ('yuv410p', None, ".mp4 takes no pixels 'yuv410p'"),
    (None, 'libx999', "there is no encoder 'libx999'"),
    (None, 'aac', 'aac is no encoder of video'),
  ):
    with pytest.raises(ValueError, match=message):
      upscale_video(source, out, nearest, encoder=encoder, pixel_format=name)
