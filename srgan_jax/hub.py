"""Puts a generator on the Hugging Face Hub, with a model card.

  pip install 'srgan_jax[hub]' && hf auth login
  python -m srgan_jax.hub generator.safetensors USER/REPO [--space] [-o DIR]

The card says what the file says of its licence, figures and training. --space
makes the Space USER/REPO too, where the page of `srgan_jax.demo` runs with this
generator. With -o the files are written to DIR/model and DIR/space and nothing
is uploaded. The commands then take --model hf:USER/REPO, and Python
srgan_jax.load('hf:USER/REPO').
"""

from collections.abc import Mapping, Sequence
import json
import pathlib
import re
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

What its file says of its training:

```json
{training}
```
"""

_APP = """\
from srgan_jax import demo_page, files

models = demo_page.find_models(['{model}'])
page = demo_page.page(models, max_megapixels=1)
page.launch(max_file_size='64mb', allowed_paths=[str(files.PHOTOS)])
"""


def write(
  model: files.Path, repository: str, folder: pathlib.Path
) -> list[pathlib.Path]:
  """Writes the files of a repository and of its Space: FOLDER/model and /space.

  Args:
    model: as for `srgan_jax.load`.
    repository: 'USER/REPO'.
    folder: is made where it is not there.

  Returns:
    What was written.

  Raises:
    ValueError: one line, where the file is not a generator of this project, for
      what is no repository's name, or where one of the files is there already.
  """
  from huggingface_hub import SpaceCardData
  from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

  from srgan_jax import weights

  validate_repo_id(repository)
  if '/' not in repository:
    raise ValueError(f'the repository must be USER/REPO, not {repository!r}')
  source = pretrained.find(model)
  training = weights.load_generator(source)[2]['training']
  name, place = repository.rpartition('/')[2], pretrained.HUB + repository
  space = SpaceCardData(sdk='gradio', app_file='app.py', models=[repository])
  facts = json.dumps(training, indent=2)
  texts = {
    'model/README.md': _CARD.format(
      data=_card_data(training, name), name=name, model=place, training=facts
    ),
    'space/README.md': f'---\n{space}\n---\n',
    'space/app.py': _APP.format(model=place),
    'space/requirements.txt': 'srgan_jax[demo,hub]\n',
  }
  paths = [folder / file for file in texts]
  weights_file = folder / 'model' / pretrained.HUB_FILE
  for path in (weights_file, *paths):
    if path.exists():
      raise ValueError(f'{path} is there already: give another folder')
  for path in (weights_file, *paths):
    files.make_folder(path.parent)
  with files.replacing(weights_file) as beside:
    shutil.copyfile(source, beside)
  for path, text in zip(paths, texts.values(), strict=True):
    files.write_text(path, text)
  return [weights_file, *paths]


def _card_data(training: Mapping[str, Any], name: str) -> Any:
  """The head of the card of a generator of that name."""
  from huggingface_hub import ModelCardData

  stated = str(training.get('licence') or '').partition(':')[0]
  licence = re.sub('[^a-z0-9.]+', '-', stated.lower())
  is_other = bool(licence) and licence not in _LICENCES
  results = _results(training.get('figures'))
  return ModelCardData(
    model_name=name if results else None,
    library_name='srgan_jax',
    pipeline_tag='image-to-image',
    tags=['super-resolution', 'srgan', 'jax'],
    license='other' if is_other else licence or None,
    license_name=licence if is_other else None,
    eval_results=results or None,
  )


def _results(figures: Any) -> list[Any]:
  """A card's, of figures by data set and metric.

  A run's own generator has figures of its validation images, which are no data
  set: they stand in the card's text alone.
  """
  from huggingface_hub import EvalResult

  return [
    EvalResult(
      'image-to-image', images, images, key.split('_')[0], v, metric_name=key
    )
    for images, scores in (figures if isinstance(figures, dict) else {}).items()
    for key, v in (scores if isinstance(scores, dict) else {}).items()
    if v is not None  # what was not finite
  ]


def push(
  model: files.Path, repository: str, *, space: bool = False
) -> list[str]:
  """Uploads a generator to the account that is logged in; the addresses.

  Args:
    model: as for `srgan_jax.load`.
    repository: 'USER/REPO', made where it is not there.
    space: whether its Space is made as well.

  Raises:
    ValueError: as `write`.
    OSError: the Hub refuses it or cannot be reached.
  """
  import huggingface_hub

  hub, addresses = huggingface_hub.HfApi(library_name='srgan_jax'), []
  with tempfile.TemporaryDirectory() as folder:
    write(model, repository, pathlib.Path(folder))
    for kind, sdk in (('model', None), ('space', 'gradio'))[: 1 + space]:
      place = hub.create_repo(
        repository, repo_type=kind, space_sdk=sdk, exist_ok=True
      )
      hub.upload_folder(
        repo_id=repository, repo_type=kind, folder_path=f'{folder}/{kind}'
      )
      addresses.append(str(place))
  return addresses


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
    made: Sequence[object]
    if options.output:
      made = write(options.model, options.repository, options.output)
    else:
      made = push(options.model, options.repository, space=options.space)
    print(*made, sep='\n')
  except ImportError as error:
    if error.name != 'huggingface_hub':
      raise
    print(f'hub: takes one more package: {cli.install("hub")}', file=sys.stderr)
    return 1
  except (ValueError, OSError) as error:
    print(f'hub: {cli.one_line(error)}', file=sys.stderr)
    return 1
  return 0


if __name__ == '__main__':
  cli.run(main)
