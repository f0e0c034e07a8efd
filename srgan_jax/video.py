"""Upscales a video by 4, frame by frame.

  pip install 'srgan_jax[video]'

  python -m srgan_jax.video holiday.mp4 -o large.mp4
  python -m srgan_jax.video old.avi -o large.mkv --model srresnet

Every frame of the first video stream is upscaled on its own and keeps its time,
also where the frame rate varies; the result stands upright as the video was
shown, with its pixel aspect ratio, colour standard, bit depth and chroma. Sound
is copied where the container holds it, and so are subtitles, chapters, covers,
attachments and tags. What cannot stay is named in a line.
"""

import argparse
from collections.abc import Callable, Sequence
import pathlib
import sys

from srgan_jax import cli, files, pretrained


def main(arguments: Sequence[str] | None = None) -> int:
  """The command; its exit status."""
  parser = cli.parser(__doc__, 'python -m srgan_jax.video')
  cli.add_information(parser)
  add = parser.add_argument
  add('input', type=pathlib.Path, help='a video that FFmpeg reads')
  add(
    '-o',
    '--output',
    required=True,
    type=pathlib.Path,
    help='the file to write: .mp4, .m4v, .mov, .mkv or .webm',
  )
  add(
    '--model',
    default=pretrained.DEFAULT,
    help='a shipped or published name or a weights file; %(default)s by '
    'default',
  )
  cli.add_generator_options(parser)
  add('--encoder', help="FFmpeg's name; by default what keeps the picture")
  add(
    '--pixel-format',
    help="FFmpeg's name, as yuv420p for old players; by default the nearest to "
    "the input's that the encoder has",
  )
  crf = cli.number(0, 63)  # AV1's and VP9's; H.264 and H.265 end at 51
  add('--crf', type=crf, help='less is better; 16 by default')
  add('--overwrite', action='store_true', help='also where OUT exists')
  options = parser.parse_args(arguments)
  cli.print_any_name()
  try:
    with cli.sigterm_as_ctrl_c():
      count, notes = _upscale(options)
  except cli.FAULTS as error:
    _say(cli.one_line(error))
    return 1
  except KeyboardInterrupt:
    _say('stopped; nothing is written')
    return cli.STOPPED
  for note in notes:
    _say(note)
  print(cli.visible(f'{options.output} ({count} frames)'))
  return 0


def _upscale(options: argparse.Namespace) -> tuple[int, list[str]]:
  output = options.output
  if output.exists() and not options.overwrite:
    raise ValueError(f'{output} exists: --overwrite replaces it')
  files.require_place(output, options.input, options.model)
  # Not before the arguments are read: help comes without JAX.
  from srgan_jax import runtime, upscaling
  from srgan_jax.convert import published

  upscale_video = _library()
  runtime.enable_compilation_cache()
  published.provide(options.model, _say)
  upscaler = upscaling.load(
    options.model, back_project=options.back_project, strength=options.strength
  )
  return upscale_video(
    options.input,
    output,
    upscaler,
    encoder=options.encoder,
    pixel_format=options.pixel_format,
    crf=options.crf,
  )


def _say(line: str) -> None:
  print(cli.visible(f'video: {line}'), file=sys.stderr)


def _library() -> Callable[..., tuple[int, list[str]]]:
  try:
    from srgan_jax.upscaling.video import upscale_video
  except ImportError as error:
    if error.name != 'av':
      raise
    raise ValueError(f'it takes PyAV: {cli.install("video")}') from None
  return upscale_video


if __name__ == '__main__':
  cli.run(main)
