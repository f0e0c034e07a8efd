"""recipe.json: how far the variants in a recipe's folder are.

Several commands may train variants of one folder at the same time, each on its
own GPU, so a variant's record is replaced alone. It holds

  seconds, ended                that were spent; whether it has its generator
  steps, validations            once it is planned
  label, best_step, validation  once it has ended: its files' name, the updates
                                and the figures of the generator that is kept
"""

import pathlib
from typing import Any

from srgan_jax import files
from srgan_jax.paper.plan import VARIANTS

NAME = 'recipe.json'

Records = dict[str, dict[str, Any]]  # by variant


def read(folder: pathlib.Path) -> Records:
  """The records of a folder.

  Raises:
    ValueError: one line naming the file, where it holds no records.
    OSError: where it cannot be read.
  """
  path = folder / NAME
  records = files.read_json(path)
  if not isinstance(records, dict):
    raise ValueError(f'{path} is damaged: it has no records of variants')
  for name, record in records.items():
    if name not in VARIANTS or not _is_record(record):
      raise ValueError(f'{path} is damaged: {name!r} is no record of a variant')
  return records


def replace(folder: pathlib.Path, name: str, record: dict[str, Any]) -> Records:
  """Writes a variant's record, the others staying; returns all of them.

  Raises:
    ValueError: as `read`.
  """
  from srgan_jax.training import lock  # takes the extra, unlike --help

  files.make_folder(folder)
  with lock.held(folder):
    records = read(folder) if (folder / NAME).exists() else {}
    records[name] = record
    files.write_json(folder / NAME, records)
  return records


def _is_record(record: Any) -> bool:
  if not isinstance(record, dict) or record.get('ended') not in (True, False):
    return False
  counts = ['steps', 'best_step'] if record['ended'] else []
  counts += [key for key in ('steps', 'validations') if key in record]
  return (
    isinstance(record.get('seconds'), int | float)
    and all(isinstance(record.get(k), int) and record[k] > 0 for k in counts)
    and (not record['ended'] or isinstance(record.get('label'), str))
  )
