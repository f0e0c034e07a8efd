"""Tags of videos: which go into the result, and how MP4 holds them."""

from collections.abc import Mapping
import io
import pathlib

import av

from srgan_jax.upscaling.video.containers import Container

# Beginnings of the names that are true of the old file alone.
_STALE: tuple[str, ...] = (
  'encoder',
  'duration',
  'vendor_id',
  'alpha_mode',
  'bps',
  'rotate',
)
_STALE += ('number_of_', '_statistics_', 'major_brand', 'minor_version')
_STALE += ('compatible_brands',)


def kept(given: Mapping[str, str], container: Container) -> dict[str, str]:
  """The tags of a file or a stream that are true of the result too."""
  stale = _STALE if container.is_mp4 else (*_STALE, 'handler_name')
  return {
    name: value
    for name, value in given.items()
    if not name.lower().startswith(stale)
  }


def of_stream(given: Mapping[str, str], container: Container) -> dict[str, str]:
  """A stream's tags, with its title where the container's readers look."""
  made = kept(given, container)
  title = made.get('title') or made.pop('name', '')
  if title:
    # MP4's box for it is young; many programs show the handler.
    made |= {'title': title}
    if container.is_mp4:
      made['handler_name'] = title
  return made


def lost(given: Mapping[str, str], made: Mapping[str, str]) -> list[str]:
  """Names of tags that a file was given and does not have."""
  names = {name.lower() for name in made}
  return sorted(name for name in given if name.lower() not in names)


def read(path: pathlib.Path) -> dict[str, str]:
  """The tags of a file."""
  with av.open(f'file:{path}', metadata_errors='replace') as container:
    return container.metadata


def take_other_form(given: Mapping[str, str], container: Container) -> bool:
  """Whether MP4 needs Apple's free form of tags (mdta) to hold all of these.

  Other programs read the usual form better, and only that one holds a cover.
  """
  if not container.is_mp4:
    return False
  file = io.BytesIO()
  with av.open(file, 'w', format=container.muxer) as trial:
    trial.metadata.update(given)
    stream = trial.add_stream('mjpeg', rate=25, width=16, height=16)
    stream.pix_fmt = 'yuvj420p'
    trial.start_encoding()
  file.seek(0)
  with av.open(file) as made:
    return bool(lost(given, made.metadata))
