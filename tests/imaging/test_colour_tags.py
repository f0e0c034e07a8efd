"""Colours stated outside an ICC profile: as Chromium 156 shows them."""

import io
import struct

import numpy as np
from PIL import Image, ImageCms
import pytest

from srgan_jax.imaging import boxes, pictures, png, reading, writing
from srgan_jax.imaging.colour_tags import ColourTags
from tests.support import image_files
from tests.support.image_files import (
  encode,
  noise,
  skip_unless_written,
  with_chunks,
)

GRAY, BROWN = (128, 128, 128), (200, 120, 60)
SRGB = {GRAY: GRAY, BROWN: BROWN}


def gamma(value: float) -> png.Chunk:
  return png.Chunk(b'gAMA', struct.pack('>I', round(1e5 * value)))


def primaries(*values: float) -> png.Chunk:
  chunk = struct.pack('>8I', *(round(1e5 * value) for value in values))
  return png.Chunk(b'cHRM', chunk)


def cicp(first: int, transfer: int) -> png.Chunk:
  return png.Chunk(b'cICP', bytes((first, transfer, 0, 1)))


ADOBE = primaries(0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
D50 = primaries(0.3457, 0.3585, 0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001)
# What Chromium 156 (Debian 12, sRGB screen) makes of GRAY and BROWN.
PNG_SHOWN = {
  'nothing': ([], SRGB),
  'linear': ([gamma(1)], {GRAY: (188,) * 3, BROWN: (229, 183, 133)}),
  'what most say': ([gamma(0.45455)], SRGB),
  'sRGB above gamma': ([png.Chunk(b'sRGB', b'\0'), gamma(1)], SRGB),
  'Adobe RGB': (
    [gamma(0.45455), ADOBE],
    {GRAY: (129,) * 3, BROWN: (224, 121, 53)},
  ),
  'another white': (
    [gamma(0.5), D50],
    {GRAY: (137,) * 3, BROWN: (255, 102, 44)},
  ),
  'primaries alone': ([ADOBE], SRGB),
  'Display P3': ([cicp(12, 13)], {GRAY: GRAY, BROWN: (213, 115, 42)}),
  'BT.709': ([cicp(1, 1)], {GRAY: (121,) * 3, BROWN: (197, 113, 49)}),
  'linear BT.2020': (
    [cicp(9, 8)],
    {GRAY: (188,) * 3, BROWN: (255, 176, 124)},
  ),
}
AVIF_SHOWN = {
  (1, 1): SRGB,
  (12, 13): {GRAY: GRAY, BROWN: (212, 115, 41)},
  (9, 14): {GRAY: GRAY, BROWN: (235, 105, 38)},
  (1, 4): {GRAY: (129,) * 3, BROWN: (200, 121, 56)},
  (6, 6): {GRAY: GRAY, BROWN: (195, 121, 58)},
}


def flat() -> Image.Image:
  image = Image.new('RGB', (32, 16), GRAY)
  image.paste(BROWN, (16, 0, 32, 16))
  return image


def write(picture: pictures.Picture, form: str) -> bytes:
  return image_files.write(picture, form, quality=100)


def shown(data: bytes) -> dict[tuple[int, ...], tuple[int, ...]]:
  """GRAY and BROWN of `flat` by the file's profile, which must be its all."""
  with Image.open(io.BytesIO(data)) as image:
    profile = image.info.get('icc_profile')
    if profile:
      image = ImageCms.profileToProfile(
        image, io.BytesIO(profile), ImageCms.createProfile('sRGB'),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode='RGB',
      )  # fmt: skip
    values = np.asarray(image)
  return {GRAY: tuple(values[8, 8]), BROWN: tuple(values[8, 24])}


def assert_close(found, expected):
  for colour, value in expected.items():
    assert np.abs(np.subtract(found[colour], value, dtype=int)).max() <= 4


@pytest.mark.parametrize('name', PNG_SHOWN)
def test_a_pngs_chunks_are_written_again_or_as_a_profile(name):
  chunks, expected = PNG_SHOWN[name]
  source = with_chunks(flat(), *chunks)
  picture = pictures.read(source, '')
  assert not picture.notes
  again, _ = png.split(io.BytesIO(write(picture, 'PNG')))
  assert sorted(again.chunks) == sorted(chunks)
  for form in ('JPEG', 'TIFF', 'WEBP'):
    assert_close(shown(write(picture, form)), expected)


def test_deep_and_gray_pictures_keep_their_chunks():
  values = np.full((4, 4, 3), 99, np.uint16)
  stream = io.BytesIO()
  png.write_deep(stream, values, [gamma(1), ADOBE])
  picture = pictures.read(stream.getvalue(), '')
  assert picture.pixels.dtype == np.uint16
  again, _ = png.split(io.BytesIO(write(picture, 'PNG')))
  assert set(again.chunks) == {gamma(1), ADOBE}
  gray = pictures.read(with_chunks(Image.new('L', (4, 4), 128), gamma(1)), '')
  profile = pictures.read(write(gray, 'JPEG'), '').icc_profile
  assert profile and profile[16:20] == b'GRAY'
  rgb = pictures.read(write(gray, 'WEBP'), '').icc_profile
  assert rgb and rgb[16:20] == b'RGB '


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'TIFF', 'WEBP'])
def test_gray_with_a_profile_of_rgb_keeps_its_look(form):
  profile = ColourTags(gamma=1.4).icc_profile(is_gray=False)
  picture = pictures.read(
    encode(flat().convert('L'), 'JPEG', icc_profile=profile), ''
  )
  assert picture.pixels.shape[-1] == 1 and not picture.notes
  data = write(picture, form)
  expected = shown(
    encode(flat().convert('L').convert('RGB'), icc_profile=profile)
  )
  found = shown(data)
  assert expected[GRAY][0] > 160  # not as without a profile
  assert_close(found, expected)
  if form != 'WEBP':
    assert pictures.read(data, '').icc_profile[16:20] == b'GRAY'


def test_gray_has_no_use_for_curves_that_differ():
  profile = bytearray(image_files.profile())
  place = profile.index(b'bTRC')
  profile[place + 4 : place + 8] = profile[place + 8 : place + 12]
  data = encode(flat().convert('L'), icc_profile=bytes(profile))
  picture = pictures.read(data, '')
  assert picture.icc_profile is None
  assert 'ICC profile is for another kind' in picture.notes[0]


def avif_of(image: Image.Image, first: int, transfer: int) -> bytes:
  skip_unless_written('AVIF')
  return boxes.with_cicp(encode(image, 'AVIF', quality=100), (first, transfer))


@pytest.mark.parametrize('numbers', AVIF_SHOWN)
def test_an_avifs_colours_are_written_again_or_as_a_profile(numbers):
  source = avif_of(flat(), *numbers)
  picture = pictures.read(source, '')
  assert boxes.read(io.BytesIO(write(picture, 'AVIF')))[0] == numbers
  for form in ('JPEG', 'TIFF', 'WEBP', 'PNG'):
    assert_close(shown(write(picture, form)), AVIF_SHOWN[numbers])


@pytest.mark.parametrize(('transfer', 'name'), [(16, 'PQ'), (18, 'HLG')])
@pytest.mark.parametrize('form', ['PNG', 'AVIF'])
def test_hdr_is_kept_with_its_tag_or_refused(form, transfer, name):
  if form == 'AVIF':
    source = avif_of(flat(), 9, transfer)
  else:
    source = with_chunks(flat(), cicp(9, transfer))
  picture = pictures.read(source, '')
  for other in ('PNG', 'AVIF'):
    again = pictures.read(write(picture, other), '')
    assert again.colour_tags.cicp == (9, transfer)
    assert again.icc_profile is None
  for other in ('JPEG', 'WEBP', 'TIFF', 'BMP'):
    with pytest.raises(ValueError, match=f'HDR .{name}.: --format png'):
      writing.check_colour(picture, other)
    with pytest.raises(ValueError, match=f'{other} cannot hold'):
      write(picture, other)


def test_an_avif_with_a_profile_states_nothing_else():
  profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
  image = Image.fromarray(noise(16, 16))
  skip_unless_written('AVIF')
  picture = pictures.read(encode(image, 'AVIF', icc_profile=profile), '')
  assert picture.colour_tags is None and picture.icc_profile == profile


@pytest.mark.parametrize(
  'chunk',
  [
    gamma(0),
    png.Chunk(b'gAMA', b'\0'),
    primaries(*[0] * 8),
    primaries(0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3),
    png.Chunk(b'cICP', b''),
    png.Chunk(b'cICP', bytes((250, 250, 0, 1))),
  ],
  ids=str,
)
def test_tags_that_mean_nothing_do_no_harm(chunk):
  picture = pictures.read(with_chunks(flat(), chunk, gamma(0.45455)), '')
  assert_close(shown(write(picture, 'JPEG')), SRGB)
  assert reading.image_size(write(picture, 'PNG'), '') == (16, 32)


LEVELS = (
  png.Chunk(b'mDCV', struct.pack('>8HII', *range(8), 10**7, 1)),
  png.Chunk(b'cLLI', struct.pack('>II', 10**7, 4 * 10**6)),
)


def test_hdr_levels_are_kept_beside_cicp_and_named_elsewhere():
  stream = io.BytesIO()
  png.write_deep(
    stream, np.full((4, 4, 3), 99, np.uint16), [cicp(9, 16), *LEVELS]
  )
  hdr = pictures.read(stream.getvalue(), '')
  p3 = pictures.read(with_chunks(flat(), cicp(12, 13), *LEVELS), '')
  note = 'its HDR levels are left out (mDCV, cLLI): only PNG gets them'
  for picture, forms in ((hdr, ['AVIF']), (p3, ['JPEG', 'TIFF', 'WEBP'])):
    assert not picture.notes
    again, _ = png.split(io.BytesIO(write(picture, 'PNG')))
    assert again.chunks[1:] == LEVELS
    for form in forms:
      skip_unless_written(form)
      assert note in writing.write(picture, io.BytesIO(), form)
  alone = pictures.read(with_chunks(flat(), *LEVELS), '')
  assert alone.notes == ('chunks are left out (cLLI, mDCV)',)


def test_hdr_levels_of_an_avif_are_named():
  data = avif_of(flat(), 9, 16)
  assert not pictures.read(data, '').notes
  # In the place of the property that says how many bits there are.
  bits = data.index(b'pixi')
  data = data[:bits] + b'clli' + data[bits + 4 :]
  assert pictures.read(data, '').notes == (
    'its HDR levels are left out (clli)',
  )


def test_a_profile_beside_cicp_is_kept_in_a_png():
  both = (cicp(12, 13), png.profile_chunk(image_files.profile()))
  picture = pictures.read(with_chunks(flat(), *both), '')
  again, _ = png.split(io.BytesIO(write(picture, 'PNG')))
  assert again.chunks == both
  for form in ('JPEG', 'TIFF', 'WEBP'):  # cICP stands above it
    assert_close(shown(write(picture, form)), PNG_SHOWN['Display P3'][1])


def test_an_image_from_pillow_keeps_its_colours_as_a_profile():
  with Image.open(io.BytesIO(with_chunks(flat(), gamma(1)))) as image:
    result = writing.to_image(pictures.from_image(image))
  again = encode(result, 'PNG', icc_profile=result.info['icc_profile'])
  assert_close(shown(again), PNG_SHOWN['linear'][1])
