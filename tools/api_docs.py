"""Writes the second half of docs/api.md: the public functions' docstrings."""

import importlib
import inspect
import pathlib

from srgan_jax import cli

PAGE = pathlib.Path(__file__).parent.parent / 'docs' / 'api.md'
MARK = '<!-- From the docstrings: python tools/api_docs.py -->\n'
SHOWN = (
  'srgan_jax.load',
  'srgan_jax.upscaling.Upscaler',
  'srgan_jax.upscaling.Upscaler.__call__',
  'srgan_jax.list_models',
  'srgan_jax.pretrained.catalogue.Model',
  'srgan_jax.imresize',
  'srgan_jax.score',
  'srgan_jax.weights.load_generator',
  'srgan_jax.weights.save_generator',
  'srgan_jax.models.generator.Generator',
  'srgan_jax.models.discriminator.Discriminator',
  'srgan_jax.losses.mse_loss',
  'srgan_jax.losses.feature_loss',
  'srgan_jax.losses.adversarial_loss',
  'srgan_jax.losses.discriminator_loss',
  'srgan_jax.data.opening.open_source',
  'srgan_jax.data.draw.draw',
  'srgan_jax.data.loader.host_batch',
  'srgan_jax.data.batch.make_batch',
  'srgan_jax.training.step.Objective',
  'srgan_jax.training.step.create_network',
  'srgan_jax.training.step.pretrain_step',
  'srgan_jax.training.step.gan_step',
)


def page(text: str) -> str:
  """The page with what its docstrings are today."""
  sections = [text.partition(MARK)[0] + MARK]
  for name in SHOWN:
    parts = name.split('.')
    is_method = parts[-2][0].isupper()
    module = importlib.import_module('.'.join(parts[: -2 if is_method else -1]))
    shown = getattr(module, parts[-2]) if is_method else module
    doc = inspect.getdoc(getattr(shown, parts[-1])) or ''
    heading = name.removesuffix('.__call__') + '(image)' * is_method
    sections.append(f'\n### `{heading}`\n\n```text\n{doc}\n```\n')
  return ''.join(sections)


def main() -> None:
  """Writes it."""
  PAGE.write_text(page(PAGE.read_text('utf-8')), 'utf-8')


if __name__ == '__main__':
  cli.run(main)
