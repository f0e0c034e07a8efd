"""A page in the browser to try a generator: drop a picture, see it x4.

  pip install 'srgan_jax[demo]'
  python -m srgan_jax.demo
  python -m srgan_jax.demo --model runs/vgg54/generator.safetensors

The page shows the picture enlarged by bicubic interpolation and by the chosen
generator under one slider, and offers the result as a PNG file of full quality.
It is served to this computer alone, loads nothing from elsewhere and reports to
nobody; what was uploaded is deleted when the command ends.
"""

from collections.abc import Sequence
import functools
import os
import pathlib
import tempfile

from srgan_jax import cli


def main(arguments: Sequence[str] | None = None) -> None:
  """The command: serves the page until it is interrupted."""
  parser = cli.parser(__doc__, 'python -m srgan_jax.demo')
  cli.add_information(parser)
  add = parser.add_argument
  add(
    '--model',
    action='append',
    default=[],
    metavar='NAME|FILE',
    help='a published name or a weights file, to choose from with those '
    'shipped; repeat it for more',
  )
  add('--host', default='127.0.0.1', help='0.0.0.0 serves the whole network')
  add('--port', type=int, default=7860, help='0 for any that is free')
  most = cli.number(1e-6, 10**9, float)
  add('--max-megapixels', type=most, default=4.0, help='default: 4')
  options = parser.parse_args(arguments)
  with (
    cli.failing_in_a_line('demo', extra='demo'),
    tempfile.TemporaryDirectory(prefix='srgan_jax_demo_') as folder,
  ):
    # Read when Gradio is imported: no telemetry, and uploads that go with us.
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
    os.environ['HF_HUB_DISABLE_TELEMETRY'] = '1'
    os.environ['GRADIO_TEMP_DIR'] = folder
    # Not before the arguments are read: help comes without JAX.
    from srgan_jax import demo_page, demo_server, runtime

    models = demo_page.find_models(options.model)
    root, kept = pathlib.Path(folder), set[pathlib.Path]()
    room = functools.partial(demo_server.make_room, root, kept)
    blocks = demo_page.page(models, options.max_megapixels, room)
    kept.update(root.rglob('*'))  # the examples
    runtime.enable_compilation_cache()
    demo_server.serve(blocks, root, room, host=options.host, port=options.port)


if __name__ == '__main__':
  cli.run(main)
