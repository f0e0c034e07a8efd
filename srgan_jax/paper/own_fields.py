"""Fields of a config that a command sets by options of its own."""

from collections.abc import Mapping, Sequence

from srgan_jax.training import config_files


def refuse(overrides: Sequence[str], own: Mapping[str, str]) -> None:
  """Refuses '--config.FIELD=VALUE' of a field that is the command's own.

  Args:
    overrides: what `config_files.override` takes.
    own: by field, what to do instead.

  Raises:
    ValueError: one line with what to do instead, or for another form.
  """
  for text in overrides:
    field, _ = config_files.split_override(text)
    if field in own:
      raise ValueError(f'{text}: {own[field]}')
