"""Puts a generator on the Hugging Face Hub, with a model card.

  pip install 'srgan_jax[hub]' && hf auth login
  python -m srgan_jax.hub generator.safetensors USER/REPO [--space] [-o DIR]

The card says what the file says: label, licence, figures, training. --space
makes the Space USER/REPO too, where the page of `srgan_jax.demo` runs with this
generator. With -o the files are written to DIR/model and DIR/space and nothing
is uploaded. The commands then take --model hf:USER/REPO, and Python
srgan_jax.load('hf:USER/REPO').
"""

from collections.abc import Mapping, Sequence
import os
import pathlib
import shutil
import sys
import tempfile
from typing import Any

from srgan_jax import cli, files, pretrained

# Of the licences that weights have, those that the Hub knows by these names.
_LICENCES = {'apache-2.0', 'mit', 'cc0-1.0', 'cc-by-4.0', 'cc-by-nc-4.0'}

_CARD = """\
---
{data}
---

# {name}

A generator of srgan_jax: pictures 4 times as high and wide.

```sh
pip install 'srgan_jax[hub]'
srgan-upscale photo.jpg --model {model}
```

| | |
|---|---|
{rows}
"""

_APP = """\
from srgan_jax import demo_page

models = demo_page.find_models(['{model}'])
demo_page.page(models, max_megapixels=1).launch(max_file_size='64mb')
"""


def write(
  model: str | os.PathLike[str],
  repository: str,
  folder: pathlib.Path,
  *,
  space: bool = False,
) -> None:
  """Writes what the Hub is to hold: FOLDER/model, and FOLDER/space.

  Args:
    model: as for `srgan_jax.load`.
    repository: 'USER/REPO'.
    folder: is made where it is not there.
    space: whether a Space is written as well.

  Raises:
    ValueError: one line, where the file is not a generator of this project.
  """
  from huggingface_hub import SpaceCardData

  from srgan_jax import weights

  source = pretrained.find(model)
  _, _, metadata = weights.load_generator(source)
  texts = {'model/README.md': _card(repository, metadata['training'])}
  if space:
    data = SpaceCardData(sdk='gradio', app_file='app.py', models=[repository])
    texts['space/README.md'] = f'---\n{data}\n---\n'
    texts['space/app.py'] = _APP.format(model=pretrained.HUB + repository)
    texts['space/requirements.txt'] = 'srgan_jax[demo,hub]\n'
  for name, text in texts.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / name, text)
  with files.replacing(folder / 'model' / pretrained.HUB_FILE) as beside:
    shutil.copyfile(source, beside)


def push(folder: pathlib.Path, repository: str) -> list[str]:
  """Uploads what `write` wrote, to the account that is logged in.

  Returns:
    The addresses of the repository, which is made where it is not there, and
    of the Space.

  Raises:
    ValueError: 'USER/REPO' is no name.
    OSError: the Hub refuses it or cannot be reached.
  """
  import huggingface_hub

  hub = huggingface_hub.HfApi(library_name='srgan_jax')
  addresses = []
  for kind in ('model', 'space'):
    if (folder / kind).is_dir():
      sdk = 'gradio' if kind == 'space' else None
      place = hub.create_repo(
        repository, repo_type=kind, space_sdk=sdk, exist_ok=True
      )
      hub.upload_folder(
        repo_id=repository, repo_type=kind, folder_path=folder / kind
      )
      addresses.append(str(place))
  return addresses


def _card(repository: str, training: Mapping[str, Any]) -> str:
  """The model card: front matter for the Hub, the rest for its readers."""
  from huggingface_hub import EvalResult, ModelCardData

  facts = {
    key: value
    for key, value in sorted(training.items())
    if isinstance(value, str | int | float)
  }
  results, name = [], repository.rpartition('/')[2]
  for images, figures in training.get('figures', {}).items():
    facts[images] = ', '.join(f'{key} {v:g}' for key, v in figures.items())
    results += [
      EvalResult(
        'image-to-image', images, images, key.split('_')[0], v, metric_name=key
      )
      for key, v in figures.items()
    ]
  licence = str(facts.get('licence', 'not stated'))
  known = licence.partition(':')[0].lower().replace(' ', '-')
  data = ModelCardData(
    model_name=name,
    library_name='srgan_jax',
    pipeline_tag='image-to-image',
    tags=['super-resolution', 'srgan', 'jax'],
    license=known if known in _LICENCES else 'other',
    license_name=None if known in _LICENCES else licence,
    eval_results=results,
  )
  rows = [f'| {key} | {value} |' for key, value in facts.items()]
  return _CARD.format(
    data=data,
    name=name,
    model=pretrained.HUB + repository,
    rows='\n'.join(rows),
  )


def main(arguments: Sequence[str] | None = None) -> int:
  """The command; its exit status."""
  parser = cli.parser(__doc__, 'python -m srgan_jax.hub')
  cli.add_information(parser)
  add = parser.add_argument
  add('model', help='a weights file, or a name of --list-models')
  add('repository', metavar='USER/REPO', help='on the Hub')
  add('--space', action='store_true', help='also a page to try it')
  add('-o', '--output', type=pathlib.Path, help='write here, upload nothing')
  options = parser.parse_args(arguments)
  try:
    with tempfile.TemporaryDirectory() as temporary:
      folder = options.output or pathlib.Path(temporary)
      write(options.model, options.repository, folder, space=options.space)
      made = [folder] if options.output else push(folder, options.repository)
  except ImportError as error:
    if error.name != 'huggingface_hub':
      raise
    print(f'hub: takes one more package: {cli.install("hub")}', file=sys.stderr)
    return 1
  except (ValueError, OSError) as error:
    print(f'hub: {cli.one_line(error)}', file=sys.stderr)
    return 1
  print(*made, sep='\n')
  return 0


if __name__ == '__main__':
  sys.exit(main())
