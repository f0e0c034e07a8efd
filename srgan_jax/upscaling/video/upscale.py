"""One video: read, upscaled frame by frame, and written.

While one frame is upscaled, the next is read and the one before is encoded.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
import pathlib
from typing import Any

import av
from av.sidedata.sidedata import Type as SideDataType
import numpy as np

from srgan_jax import cli, files
from srgan_jax.upscaling.video import containers, formats, streams, writing
from srgan_jax.upscaling.video.reading import Frame, Reader, Step

Upscale = Callable[[np.ndarray], np.ndarray]

# What comes with frames and is lost.
_SIDE_DATA = {
  SideDataType.A53_CC: 'closed captions',
  SideDataType.DOVI_METADATA: "Dolby Vision's figures",
  SideDataType.DYNAMIC_HDR_PLUS: "HDR10+'s figures",
  SideDataType.STEREO3D: 'the marks of 3D video',
  SideDataType.SPHERICAL: 'the marks of spherical video',
}


def upscale_video(
  source: pathlib.Path,
  target: pathlib.Path,
  upscale: Upscale,
  *,
  encoder: str | None = None,
  pixel_format: str | None = None,
  crf: int | None = None,
) -> tuple[int, list[str]]:
  """Upscales a video file.

  Args:
    source: whatever FFmpeg reads.
    target: ends in .mp4, .m4v, .mov, .mkv or .webm; its folder must exist. It
      is there whole or not at all.
    upscale: from RGB or RGBA [H, W, C], uint8, or uint16 where the source has
      more than 8 bits, to [4H, 4W, C] of the same dtype.
    encoder: FFmpeg's name of a video encoder instead of the container's usual.
    pixel_format: FFmpeg's name of one instead of the nearest to the source's.
    crf: the encoder's constant quality; less is better and larger. 16 by
      default, where the encoder has one.

  Returns:
    The number of frames, and lines on what is not as it was.

  Raises:
    ValueError: one line, where the source is no video or the result cannot be
      written as asked.
  """
  container = containers.of(target)
  files.require_folder(target)
  with Reader(source) as reader, files.replacing(target) as beside:
    routes = {
      stream.index: containers.route(stream, container)
      for stream in reader.container.streams
      if stream is not reader.video
    }
    steps = reader.steps([i for i in routes if routes[i].has_packets])
    step = next(steps)
    first = step.frame
    assert first is not None
    picture = formats.choose(
      source, first.format, first.colors, container, encoder, pixel_format
    )
    notes = [*(route.note for route in routes.values()), *picture.losses]
    try:
      with (
        writing.Writer(
          beside, container, reader, routes, picture, first, crf
        ) as writer,
        cli.progress(total=reader.frames, unit='frame') as bar,
      ):
        count = _go_through(step, steps, upscale, writer, notes, bar)
        writer.finish()
      notes += _lost_tags(reader, routes, container, writer.tags, beside)
    except av.FFmpegError as error:
      raise ValueError(f'{target}: {error.strerror}') from None
  notes += _losses_at_end(reader, writer)
  return count, [f'{source}: {note}' for note in dict.fromkeys(notes) if note]


def _go_through(
  step: Step,
  steps: Iterator[Step],
  upscale: Upscale,
  writer: writing.Writer,
  notes: list[str],
  bar: Any,
) -> int:
  """Upscales and writes all frames from the first step on; how many.

  What is not as it was is added to the notes.
  """
  assert step.frame is not None
  shape = step.frame.pixels.shape
  written: futures.Future[None] | None = None
  count = 0
  with (
    futures.ThreadPoolExecutor(1) as ahead,
    futures.ThreadPoolExecutor(1) as behind,
  ):
    while step.frame is not None:
      following = ahead.submit(next, steps)
      losses = _losses(step.frame, shape)
      notes += [loss for loss in losses if loss not in notes]
      sr = upscale(step.frame.pixels)
      if written:
        written.result()
      written = behind.submit(_write, writer, step, sr)
      count += 1
      bar.update()
      step = following.result()
    assert written
    written.result()
    _write(writer, step, None)
  return count


def _write(
  writer: writing.Writer, step: Step, pixels: np.ndarray | None
) -> None:
  for packet in step.packets:
    writer.write_packet(packet)
  if step.frame is not None and pixels is not None:
    writer.write_frame(pixels, step.frame)


def _losses(frame: Frame, shape: tuple[int, ...]) -> list[str]:
  """What is not as it was with one frame, whose video has that [H, W, C]."""
  notes = [
    f'{_SIDE_DATA[kind]} are left out'
    for kind in frame.side_data & _SIDE_DATA.keys()
  ]
  if frame.pixels.shape[:2] != shape[:2]:
    notes.append('its size changes: all frames get the size of the first')
  return notes


def _lost_tags(
  reader: Reader,
  routes: Mapping[int, containers.Route],
  container: containers.Container,
  tags: Mapping[str, str],
  made: pathlib.Path,
) -> list[str]:
  """Lines on tags of the file, which are given, and of its streams."""
  notes = []
  if lost := streams.lost_tags(tags, f'file:{made}'):
    notes.append(f'tags are left out: {", ".join(lost)}')
  of_streams = {
    stream.index: streams.tags_of_stream(stream.metadata, container)
    for stream in reader.container.streams
    if stream is reader.video or routes[stream.index].has_packets
  }
  return notes + streams.lost_by_streams(of_streams, f'file:{made}')


def _losses_at_end(reader: Reader, writer: writing.Writer) -> list[str]:
  notes = []
  if writer.has_flattened:
    notes.append(
      'transparency is laid over black: .mov, .mkv and .webm would keep it'
    )
  if writer.has_squared:
    notes.append('pixels become square: .mp4 and .mov would keep their aspect')
  if damage := reader.damage or writer.damage:
    notes.append(f'is damaged ({damage})')
  return notes
