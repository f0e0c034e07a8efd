"""Which channels sound has, copied or encoded anew."""

import contextlib

import av

# Channel layouts of which each encoder's files give every channel back in its
# place. AAC has numbers for these alone; FFmpeg's Opus mixes up 5.0 and 6.1.
_LAYOUTS = {
  'aac': ('mono', 'stereo', '3.0', '4.0', '5.0', '5.1', '7.1'),
  'flac': ('mono', 'stereo', '2.1', '3.0', '3.0(back)', '4.0', 'quad')
  + ('quad(side)', '3.1', '5.0', '5.0(side)', '4.1', '5.1', '5.1(side)', '6.0')
  + ('6.0(front)', '3.1.2', 'hexagonal', '6.1', '6.1(back)', '6.1(front)')
  + ('7.0', '7.0(front)', '7.1', '7.1(wide)', '7.1(wide-side)', '5.1.2')
  + ('5.1.2(back)', 'octagonal', 'cube'),
  'libopus': ('mono', 'stereo', '3.0', 'quad', '5.1', '7.1'),
}
# By muxer and codec: where a file does not tell the channels, the layouts that
# readers take their number for.
_ASSUMED = {
  ('mp4', 'flac'): (
    'mono',
    'stereo',
    '3.0',
    'quad',
    '5.0',
    '5.1',
    '6.1',
    '7.1',
  ),
  ('matroska', 'pcm'): ('mono', 'stereo', '5.1', '7.1'),
}
_REAR = {'BL', 'BR', 'BC', 'SL', 'SR'}


def source_layout(context: av.AudioCodecContext) -> av.AudioLayout:
  """Of a decoder not yet open; the usual where only the number is known."""
  layout = context.layout
  if _has_own_order(layout):
    # PyAV frees the list of channels twice where two objects hold it.
    context.layout = av.AudioLayout(f'{layout.nb_channels} channels')
  elif any(channel.name == 'NONE' for channel in layout.channels):
    with contextlib.suppress(ValueError):
      return av.AudioLayout(f'{layout.nb_channels}c')
  return layout


def are_misread(layout: av.AudioLayout, codec: str, muxer: str) -> bool:
  """Whether sound that is copied would lose the places of its channels."""
  assumed = _ASSUMED.get((muxer, codec.partition('_')[0]))
  if assumed is None or (places := _places(layout)) == {'NONE'}:
    return False
  return all(places != _places(av.AudioLayout(name)) for name in assumed)


def are_kept(layout: av.AudioLayout, encoder: str) -> bool:
  """Whether an encoder's layout has all channels of sound."""
  made = made_layout(layout, encoder)
  return bool(made) and _places(layout) <= _places(av.AudioLayout(made))


def made_layout(source: av.AudioLayout, encoder: str) -> str:
  """The name of the layout that an encoder makes of a source's.

  The same or the smallest that has all its channels, or else most of them; ''
  where FFmpeg cannot mix such channels.
  """
  places = _places(source)

  def cost(name: str) -> tuple[int, ...]:
    layout = av.AudioLayout(name)
    return (
      layout != source,
      max(0, source.nb_channels - layout.nb_channels),
      len(places - _places(layout)),
      layout.nb_channels,
    )

  made = min(_LAYOUTS[encoder], key=cost)
  return made if _mixes(source, made) else ''


def _places(layout: av.AudioLayout) -> set[str]:
  """Names of its channels; where the sides are all there is behind, the back's.

  Films have either, for the same loudspeakers.
  """
  names = {channel.name for channel in layout.channels}
  if names & _REAR == {'SL', 'SR'}:
    return names - _REAR | {'BL', 'BR'}
  return names


def _has_own_order(layout: av.AudioLayout) -> bool:
  """Whether FFmpeg lists its channels, as '7 channels (FL+FR+FC+...)'."""
  return ' channels (' in layout.name


def _mixes(source: av.AudioLayout, made: str) -> bool:
  if _has_own_order(source):
    return False
  try:
    frame = av.AudioFrame(format='s16', layout=source, samples=1)
    frame.sample_rate = 48_000
    av.AudioResampler(format='s16', layout=made).resample(frame)
  except (av.FFmpegError, ValueError):
    return False
  return True
