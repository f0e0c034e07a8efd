"""Pictures for upscaling: what is kept, in and out, for every kind of file."""

import io

import numpy as np
from PIL import ExifTags, Image, ImageCms, JpegImagePlugin
import pytest

from srgan_jax.imaging import alpha, pictures, tiff_writing, writing
from tests.support.image_files import (
  deep,
  encode,
  noise,
  palette,
  profile,
  read,
  skip_unless_written,
  write,
)

# --- what is read ---


KINDS = {
  'gray': (encode(Image.fromarray(noise(5, 7)[..., 0])), 1),
  'one bit': (encode(Image.fromarray(noise(5, 7)[..., 0]).convert('1')), 1),
  'gray and alpha': (encode(Image.new('LA', (5, 4), (9, 8))), 2),
  'gray, one level transparent': (
    encode(Image.new('L', (5, 4)), transparency=0),
    2,
  ),
  'colour': (encode(Image.fromarray(noise(5, 7))), 3),
  'colour and alpha': (encode(Image.new('RGBA', (5, 4))), 4),
  'palette': (palette(), 3),
  'palette with transparency': (palette(bytes([255, 0, 51])), 4),
  'palette of grays': (encode(Image.new('L', (5, 4), 77).convert('P')), 1),
}


@pytest.mark.parametrize('name', KINDS)
def test_every_mode_keeps_its_kind(name):
  data, channels = KINDS[name]
  picture = read(data)
  assert picture.pixels.dtype == np.uint8 and picture.notes == ()
  assert picture.pixels.shape[-1] == channels
  with Image.open(io.BytesIO(data)) as image:
    shown = np.asarray(image.convert('RGBA'))
  again = np.asarray(writing.to_image(picture).convert('RGBA'))
  np.testing.assert_array_equal(again, shown)


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'TIFF', 'WEBP', 'AVIF'])
def test_profile_and_resolution_are_kept(form):
  skip_unless_written(form)
  exif = Image.Exif()
  exif[ExifTags.Base.XResolution] = 1.0  # of the file: not kept as EXIF
  source = encode(
    Image.fromarray(noise(16, 24)),
    'JPEG',
    exif=exif,
    icc_profile=profile(),
    dpi=(300, 300),
  )
  again = read(write(read(source), form))
  assert (again.format, again.icc_profile) == (form, profile())
  if form not in ('WEBP', 'AVIF'):
    assert again.dpi == pytest.approx((300, 300), rel=1e-3)


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_a_bmp_keeps_its_resolution(channels):
  source = encode(Image.fromarray(noise(16, 24)), 'BMP', dpi=(300, 200))
  picture = read(source).with_pixels(np.zeros((8, 8, channels), np.uint8))
  again = read(write(picture, 'BMP'))
  assert again.format == 'BMP'
  assert again.dpi == pytest.approx((300, 200), rel=1e-3)


def test_what_is_true_of_the_old_pixels_alone_is_dropped():
  exif = Image.Exif()
  exif[ExifTags.Base.Make] = 'A maker'
  exif[0x935C] = b'Adobe Photoshop Document Data Block'
  exif[ExifTags.IFD.Exif] = {
    ExifTags.Base.FNumber: 2.8,
    ExifTags.Base.FocalPlaneXResolution: 2000.0,
    ExifTags.Base.SubjectLocation: (10, 20),
    ExifTags.IFD.Interop: 4711,  # where its directory was
  }
  pixels = noise(16, 24)
  plain = pictures.Picture(pixels, exif=exif.tobytes())
  exif[0x830E] = (0.5, 0.5, 0.0)  # metres a pixel
  exif[0x8482] = (0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0)
  exif[0x87AF] = (1, 1, 0, 1, 1024, 0, 1, 1)
  on_a_map = pictures.Picture(pixels, exif=exif.tobytes())
  for source, notes in (
    (plain, ()),
    (on_a_map, ('its georeference is for other pixels: dropped',)),
  ):
    picture = read(write(source, 'TIFF'))
    assert picture.notes == notes
    kept = Image.Exif()
    kept.load(picture.exif)
    assert set(kept) == {ExifTags.Base.Make, ExifTags.IFD.Exif}
    assert set(kept.get_ifd(ExifTags.IFD.Exif)) == {ExifTags.Base.FNumber}


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'WEBP', 'TIFF', 'AVIF'])
def test_exif_too_long_for_a_jpeg_does_not_fail(form):
  skip_unless_written(form)
  for length, is_kept in ((65000, True), (66000, form != 'JPEG')):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = 'A' * length
    picture = pictures.Picture(noise(16, 24), exif=exif.tobytes())
    with Image.open(io.BytesIO(write(picture, form))) as image:
      assert (ExifTags.Base.Make in image.getexif()) == is_kept


@pytest.mark.parametrize('form', ['WEBP', 'AVIF'])
def test_a_profile_for_other_pixels_is_dropped_and_said(form):
  skip_unless_written(form)
  gray = Image.fromarray(noise(16, 16)[..., 0])
  kept = read(encode(gray, icc_profile=profile('GRAY')))
  assert kept.icc_profile and not kept.notes
  dropped = read(encode(gray, icc_profile=profile('CMYK')))
  assert dropped.icc_profile is None and 'ICC profile' in dropped.notes[0]
  # Gray becomes colour where the format has no gray: not with gray's profile.
  assert read(write(kept, form)).icc_profile is None


def test_cmyk_becomes_rgb_and_does_not_keep_its_profile():
  cyan = Image.new('CMYK', (16, 16), (255, 0, 0, 0))
  for form in ('JPEG', 'TIFF'):
    plain = read(encode(cyan, form))
    assert np.abs(plain.pixels.astype(int) - (0, 255, 255)).max() <= 4
    assert 'without an ICC profile' in plain.notes[0]
    broken = read(encode(cyan, form, icc_profile=profile('CMYK')))
    assert broken.icc_profile is None
    np.testing.assert_array_equal(broken.pixels, plain.pixels)


def test_cmyk_is_converted_by_its_profile(monkeypatch):
  """No CMYK profile is free to ship; that it is asked for can be seen."""
  calls = []

  def convert(image, source, target, outputMode):
    calls.append((source.read(), outputMode))
    return Image.new('RGB', image.size, (0, 158, 224))

  monkeypatch.setattr(ImageCms, 'profileToProfile', convert)
  cyan = Image.new('CMYK', (16, 16), (255, 0, 0, 0))
  picture = read(encode(cyan, 'JPEG', icc_profile=profile('CMYK')))
  assert calls == [(profile('CMYK'), 'RGB')]
  assert picture.pixels[0, 0].tolist() == [0, 158, 224]
  assert picture.icc_profile is None and 'sRGB' in picture.notes[0]


@pytest.mark.parametrize('form', ['GIF', 'TIFF'])
def test_further_frames_are_left_aside_and_said(form):
  frames = [Image.fromarray(noise(6, 6, seed)) for seed in range(3)]
  data = encode(frames[0], form, save_all=True, append_images=frames[1:])
  picture = read(data)
  assert picture.notes == ('the first of 3 frames or pages',)
  if form == 'TIFF':
    np.testing.assert_array_equal(picture.pixels, noise(6, 6, 0))


# --- what is written ---


def test_a_lossless_webp_stays_so():
  image = Image.fromarray(noise(9, 9))
  lossless = read(encode(image, 'WEBP', lossless=True))
  again = read(write(lossless, 'WEBP'))
  np.testing.assert_array_equal(again.pixels, noise(9, 9))
  lossy = read(encode(image, 'WEBP'))
  assert not lossy.lossless and not read(write(lossy, 'WEBP')).lossless


@pytest.mark.parametrize('lossless', [False, True])
def test_a_lossless_webp_is_known_behind_metadata_and_in_an_animation(lossless):
  image, other = (Image.fromarray(noise(9, 9, seed)) for seed in range(2))
  for options in (
    {'icc_profile': b'odd'},  # whose chunk is padded
    {'save_all': True, 'append_images': [other]},
  ):
    picture = read(encode(image, 'WEBP', lossless=lossless, **options))
    assert picture.lossless == lossless


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'WEBP', 'TIFF', 'BMP', 'AVIF'])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_every_kind_goes_into_every_format(form, channels, dtype):
  skip_unless_written(form)
  top = np.iinfo(dtype).max
  values = np.full((8, 8, channels), top // 5, dtype)
  if channels in (2, 4):
    values[..., -1] = top
    values[4:, :, -1] = 0
  again = read(write(pictures.Picture(values), form)).pixels
  scale = np.iinfo(again.dtype).max
  assert abs(int(again[0, 0, 0]) / scale - 0.2) < 0.02
  if channels in (2, 4):
    hidden = again[-1, -1]
    if form in ('JPEG', 'BMP'):
      assert hidden[0] >= 250  # over white
    else:
      assert again.shape[-1] in (2, 4) and hidden[-1] == 0
  if form in ('PNG', 'TIFF'):
    assert again.dtype == dtype


@pytest.mark.parametrize(
  ('form', 'side'), [('JPEG', 65500), ('WEBP', 16383), ('AVIF', 32768)]
)
def test_the_largest_side_can_be_written_and_read(form, side):
  skip_unless_written(form)
  for shape in ((side, 1), (1, side)):
    writing.check_format(form, *shape)
    picture = pictures.Picture(np.zeros((*shape, 3), np.uint8))
    assert read(write(picture, form)).pixels.shape == (*shape, 3)
  why = f'{form} holds at most {side} pixels a side.*--format png'
  with pytest.raises(ValueError, match=why):
    writing.check_format(form, 1, side + 1)
  writing.check_format('PNG', 1, side + 1)
  if form == 'AVIF':
    with pytest.raises(ValueError, match='pixels, not 20000x20000'):
      writing.check_format(form, 20000, 20000)


def test_a_tiff_is_written_strip_by_strip_and_as_bigtiff_beyond_4_gib(
  monkeypatch,
):
  monkeypatch.setattr(tiff_writing, '_STRIP_BYTES', 5000)
  values = deep(200, 20, 3)
  data = write(pictures.Picture(values, icc_profile=profile()), 'TIFF')
  np.testing.assert_array_equal(read(data).pixels, values)
  with Image.open(io.BytesIO(data)) as image:
    starts = image.tag_v2[ExifTags.Base.StripOffsets]
    sizes = image.tag_v2[ExifTags.Base.StripByteCounts]
  assert len(starts) == 5 and starts[-1] + sizes[-1] <= len(data)
  size = values.nbytes + len(profile())
  monkeypatch.setattr(tiff_writing, '_MOST_CLASSIC', size)
  assert write(pictures.Picture(values, icc_profile=profile()), 'TIFF') == data
  monkeypatch.setattr(tiff_writing, '_MOST_CLASSIC', values.nbytes - 1)
  exif = Image.Exif()
  exif[ExifTags.IFD.Exif] = {ExifTags.Base.FNumber: 2.8}
  picture = pictures.Picture(values, exif=exif.tobytes())
  data = write(picture, 'TIFF')
  assert data[:4] in (b'II+\0', b'MM\0+')
  np.testing.assert_array_equal(read(data).pixels, values)
  with Image.open(io.BytesIO(data)) as image:  # what others see of it
    np.testing.assert_array_equal(np.asarray(image), values >> 8)
    camera = image.getexif().get_ifd(ExifTags.IFD.Exif)
  assert float(camera[ExifTags.Base.FNumber]) == pytest.approx(2.8)


def test_quality_is_obeyed():
  picture = pictures.Picture(noise(64, 64))
  sizes = [len(write(picture, 'JPEG', quality=q)) for q in (30, 80, 95)]
  assert sizes == sorted(sizes) and sizes[0] < sizes[2] / 2


@pytest.mark.parametrize(
  ('quality', 'subsampling'),
  [(None, 0), (100, 0), (90, 0), (89, 2), (50, 2), (1, 2)],
)
def test_a_jpeg_is_444_from_quality_90_and_420_below(quality, subsampling):
  data = write(pictures.Picture(noise(32, 32)), 'JPEG', quality=quality)
  with Image.open(io.BytesIO(data)) as image:
    found = JpegImagePlugin.get_sampling(image)  # 0: 4:4:4, 2: 4:2:0
  assert found == subsampling


@pytest.mark.parametrize('quality', [None, 100, 90, 89, 50])
def test_an_avif_is_444_from_quality_90_and_420_below(quality):
  skip_unless_written('AVIF')
  colours = np.zeros((32, 32, 3), np.uint8)
  colours[::2, ::2, 0] = colours[1::2, 1::2, 0] = 255
  colours[..., 2] = 255 - colours[..., 0]
  errors = {}
  for form in ('JPEG', 'AVIF'):
    data = write(pictures.Picture(colours), form, quality=quality)
    with Image.open(io.BytesIO(data)) as image:
      found = np.asarray(image.convert('RGB'), float)
    errors[form] = np.abs(found - colours).mean()
  configuration = data[data.index(b'av1C') + 6]
  is_subsampled = configuration >> 2 & 3 == 3  # horizontally and vertically
  assert is_subsampled == (quality in (89, 50))
  assert (errors['AVIF'] > 40) == is_subsampled
  if quality is None:
    assert errors['AVIF'] <= errors['JPEG']


def test_hidden_colours_give_way_to_visible_ones():
  colour = np.zeros((20, 30, 3), np.uint8)  # black under transparency
  colour[5:9, 5:12] = (200, 100, 50)
  colour[15, 28] = (10, 220, 30)
  opacity = np.zeros((20, 30), np.uint8)
  opacity[5:9, 5:12] = 1
  opacity[15, 28] = 255
  filled = alpha.fill_hidden(colour, opacity)
  np.testing.assert_array_equal(filled[opacity > 0], colour[opacity > 0])
  assert filled[4, 4].tolist() == [200, 100, 50]
  assert filled[16, 29].tolist() == [10, 220, 30]
  assert filled[..., 1].min() >= 100  # no black anywhere
  nothing = np.zeros_like(opacity)
  np.testing.assert_array_equal(alpha.fill_hidden(colour, nothing), colour)
