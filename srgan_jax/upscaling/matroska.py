"""Raw frames with their times as a Matroska stream, for ffmpeg to read.

A pipe of bare frames (`rawvideo`) knows one constant frame rate; phones and
screen recorders write videos whose frames last differently. Matroska gives each
frame its time, and needs no seeking: a header, then one cluster a frame
(RFC 9559; EBML: RFC 8794).
"""

import struct

import numpy as np

# Element identifiers, as they stand in the file.
_EBML = 0x1A45DFA3
_DOC_TYPE = 0x4282
_SEGMENT = 0x18538067
_INFO = 0x1549A966
_TIMESTAMP_SCALE = 0x2AD7B1
_TRACKS = 0x1654AE6B
_TRACK_ENTRY = 0xAE
_TRACK_NUMBER = 0xD7
_TRACK_UID = 0x73C5
_TRACK_TYPE = 0x83
_CODEC_ID = 0x86
_DEFAULT_DURATION = 0x23E383
_VIDEO = 0xE0
_PIXEL_WIDTH = 0xB0
_PIXEL_HEIGHT = 0xBA
_UNCOMPRESSED_FOURCC = 0x2EB524
_CLUSTER = 0x1F43B675
_TIMESTAMP = 0xE7
_SIMPLE_BLOCK = 0xA3

_UNKNOWN_SIZE = b'\x01' + b'\xff' * 7
_TICKS_PER_SECOND = 1_000_000


def header(height: int, width: int, frame_rate: float) -> bytes:
  """What comes before the first frame.

  Args:
    height: of all frames, pixels.
    width: likewise.
    frame_rate: the nominal one, frames a second.
  """
  track = (
    _element(_TRACK_NUMBER, 1)
    + _element(_TRACK_UID, 1)
    + _element(_TRACK_TYPE, 1)  # video
    + _element(_CODEC_ID, b'V_UNCOMPRESSED')
    + _element(_DEFAULT_DURATION, round(1e9 / frame_rate))
    + _element(
      _VIDEO,
      _element(_PIXEL_WIDTH, width)
      + _element(_PIXEL_HEIGHT, height)
      + _element(_UNCOMPRESSED_FOURCC, b'RGB\x18'),  # 24 bits
    )
  )
  return (
    _element(_EBML, _element(_DOC_TYPE, b'matroska'))
    + _identifier(_SEGMENT)
    + _UNKNOWN_SIZE
    + _element(_INFO, _element(_TIMESTAMP_SCALE, 10**9 // _TICKS_PER_SECOND))
    + _element(_TRACKS, _element(_TRACK_ENTRY, track))
  )


def frame(pixels: np.ndarray, time: float) -> bytes:
  """One frame.

  Args:
    pixels: uint8 RGB [H, W, 3].
    time: when it is shown, seconds, at least 0; kept to the microsecond.
  """
  # Track 1, 0 ticks after the cluster, a key frame.
  block = struct.pack('>BhB', 0x81, 0, 0x80) + pixels.tobytes()
  timestamp = _element(_TIMESTAMP, round(time * _TICKS_PER_SECOND))
  return _element(_CLUSTER, timestamp + _element(_SIMPLE_BLOCK, block))


def _element(identifier: int, content: int | bytes) -> bytes:
  if isinstance(content, int):
    content = content.to_bytes(8, 'big')
  size = (len(content) | 1 << 56).to_bytes(8, 'big')
  return _identifier(identifier) + size + content


def _identifier(identifier: int) -> bytes:
  return identifier.to_bytes((identifier.bit_length() + 7) // 8, 'big')
