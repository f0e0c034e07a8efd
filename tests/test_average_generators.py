"""The mean of several generators' weights, and what it is not made of."""

import average_generators
import jax
import numpy as np
import pytest
import small

from srgan_jax import weights
from srgan_jax.models import architecture
from srgan_jax.models.generator import Generator


def save(path, seed, label='srgan-mse', generator=small.GENERATOR):
  weights.save_generator(
    path,
    small.network_state(generator, seed).variables,
    architecture=architecture.of_generator(generator),
    training={'label': label, 'steps': seed},
  )
  return str(path)


def test_the_mean_of_three_and_where_it_comes_from(tmp_path, capsys):
  files = [save(tmp_path / f'{i}.safetensors', seed=i) for i in range(3)]
  output = tmp_path / 'mean.safetensors'
  average_generators.main([*files, '-o', str(output), '--dtype=float16'])
  assert capsys.readouterr().out == f'wrote {output}: the mean of 3\n'
  parts = [weights.load_generator(file)[1] for file in files]
  _, mean, metadata = weights.load_generator(output)
  jax.tree.map(
    lambda ours, *theirs: np.testing.assert_allclose(
      ours, np.mean(theirs, axis=0), rtol=1e-3, atol=1e-6
    ),
    mean,
    *parts,
  )
  assert metadata['dtype'] == 'float16'
  assert metadata['training'] == {
    'label': 'srgan-mse',
    'mean_of': [{'label': 'srgan-mse', 'steps': i} for i in range(3)],
  }


@pytest.mark.parametrize(
  ('other', 'message'),
  [
    ({'label': 'srresnet-mse'}, 'has the label srresnet-mse, but'),
    ({'generator': Generator(2, 4)}, "has the architecture {'blocks': 2"),
    (None, 'takes two generators or more'),
  ],
)
def test_what_has_no_mean_is_refused(tmp_path, other, message):
  files = [save(tmp_path / 'a.safetensors', seed=0)]
  if other is not None:
    files.append(save(tmp_path / 'b.safetensors', seed=1, **other))
  output = tmp_path / 'mean.safetensors'
  with pytest.raises(SystemExit, match=message):
    average_generators.main([*files, '-o', str(output)])
  assert not output.exists()
