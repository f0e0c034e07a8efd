"""What can be asked of upscaling: known without JAX, for the commands' help."""

from typing import Literal

Precision = Literal['float32', 'bfloat16']

MAX_MEGAPIXELS = 1000  # of a result: 3 GB of 8-bit RGB
MAX_SCALE = 64  # three times x4

# The suffix of each format that can be asked for.
FORMATS = {
  'jpg': '.jpg',
  'jpeg': '.jpg',
  'png': '.png',
  'webp': '.webp',
  'tif': '.tif',
  'tiff': '.tif',
  'bmp': '.bmp',
  'avif': '.avif',
}
