"""Pictures of a TensorFlow Datasets set that is prepared as ArrayRecord."""

import functools
import hashlib
import io
import os
import re
from typing import Any, BinaryIO

from srgan_jax import cli
from srgan_jax.data import image_files
from srgan_jax.data.source import Entry


def find(spec: str) -> list[Entry]:
  """Every record of NAME[:SPLIT], by its number.

  Raises:
    ValueError: one line: a set that is missing or has no random access.
    ImportError: without TensorFlow Datasets.
  """
  # NAME may end in a version, which has a colon of its own.
  match = re.fullmatch(r'([^:]+(?::[\d*]+\.[\d*]+\.[\d*]+)?)(?::(.*))?', spec)
  assert match is not None
  name, split = match[1], match[2] or 'train'
  builder = _prepared(name)
  key, records = _records(builder, split)
  stamp = _stamp(builder)

  def open_record(index: int) -> BinaryIO:
    with image_files.naming(f'record {index}'):
      return io.BytesIO(records[index][key])

  return [
    Entry(
      f'{name}:{split}#{index}',
      functools.partial(open_record, index),
      stamp,
    )
    for index in range(len(records))
  ]


def _stamp(builder: Any) -> str:
  """What changes when the set is prepared anew, which its path does not."""
  digest = hashlib.sha256()
  for path in sorted(builder.data_path.iterdir()):
    if image_files.is_url(os.fspath(path)):  # TFDS reaches it without fsspec
      status = path.stat()
      stamp = f'{path} {status.length} {status.mtime}'
    else:
      stamp = image_files.stamp(os.fspath(path))
    digest.update(f'{stamp}\n'.encode())
  return digest.hexdigest()


def _prepared(name: str) -> Any:
  """The builder of a set that is on disk with random access."""
  try:
    import tensorflow_datasets as tfds
  except ImportError as error:
    raise ImportError(
      f'a TFDS set takes TensorFlow Datasets: {cli.install("train")}'
    ) from error
  prepare = (
    'python -c "import tensorflow_datasets as tfds;'
    f" tfds.builder('{name}', file_format='array_record')"
    '.download_and_prepare()"'
  )
  try:
    builder = tfds.builder(name)
  except tfds.core.DatasetNotFoundError as error:
    raise ValueError(
      f'TFDS knows no data set {name!r}, and'
      f' {tfds.core.constants.DATA_DIR} (TFDS_DATA_DIR) holds none'
    ) from error
  except Exception as error:  # AssertionError for an unknown version, …
    why = cli.one_line(error)
    raise ValueError(f'TFDS cannot open {name!r}: {why}') from error
  if not builder.is_prepared():
    raise ValueError(f'the set is not prepared; prepare it by: {prepare}')
  formats = {format.value for format in builder.info.available_file_formats()}
  if 'array_record' not in formats:
    raise ValueError(
      f'the set is prepared as {", ".join(sorted(formats))}, without random'
      f' access; delete {builder.data_path} and prepare it as ArrayRecord by:'
      f' {prepare}'
    )
  return builder


def _records(builder: Any, split: str) -> tuple[str, Any]:
  """The image feature's name, and the records with its files undecoded."""
  import tensorflow_datasets as tfds

  features = builder.info.features or {}
  images = {
    key: tfds.decode.SkipDecoding()
    for key, feature in features.items()
    if isinstance(feature, tfds.features.Image)
  }
  key = next((key for key in ('hr', 'image') if key in images), None)
  if key is None:
    raise ValueError(
      "the set has no image feature 'hr' or 'image', only"
      f' {", ".join(sorted(features))}'
    )
  try:
    return key, builder.as_data_source(
      split, decoders=images, file_format='array_record'
    )
  except Exception as error:  # no such split, an empty one, …
    why = cli.one_line(error)
    raise ValueError(f'TFDS cannot open {split!r}: {why}') from error
