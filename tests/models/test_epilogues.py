"""Normalisation, bias and activation against what JAX differentiates itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from srgan_jax.models import epilogues
from tests.support import plain

SLOPES = [1.0, 0.2, np.float32([0.3, -0.5, 2.0, 0.0])]


@pytest.fixture(params=['apart', 'together'])
def sums(request, monkeypatch):
  """Both ways to add up: a CPU's, and a GPU's, which a CPU can take too."""
  if request.param == 'together':
    plain.add_as_gpus(monkeypatch)


def inputs():
  rng = np.random.default_rng(0)
  x = rng.normal(0.4, 2, (3, 5, 8, 4))
  vectors = rng.normal(0, 1, (4, 4)) + [[0], [0], [0.5], [0]]
  vectors[1] = np.exp(vectors[1])  # a variance
  dy = rng.normal(size=x.shape)
  return jax.tree.map(jnp.float32, (x, *vectors, dy))


def assert_gradients_equal(function, arguments, slope, dy):
  """Of a module's function, ours and plain; by a learned slope as well."""
  fixed = () if isinstance(slope, np.ndarray) else (slope,)
  if not fixed:
    arguments = (*arguments, jnp.array(slope))
  (y, *gradients), (expected, *expected_gradients) = (
    plain.with_gradients(
      lambda *args, m=module: function(m, *args, *fixed), arguments, dy
    )
    for module in (epilogues, plain)
  )
  np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
  for a, b in zip(gradients, expected_gradients, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


by_slope = pytest.mark.parametrize(
  'slope', SLOPES, ids=['none', 'leaky', 'learned']
)


@pytest.mark.usefixtures('sums')
@by_slope
@pytest.mark.parametrize('groups', [1, 3])
def test_each_group_is_normalised_by_itself(groups, slope):
  x, scale, _, bias, _, dy = inputs()
  x, dy = (jnp.concatenate([x, 2 * x + 1]), jnp.concatenate([dy, 1 - dy]))
  normalize = lambda module, *args: module.normalize_batch(*args, groups=groups)
  assert_gradients_equal(
    lambda *args: normalize(*args)[0], (x, scale, bias), slope, dy
  )
  for ours, theirs in zip(
    normalize(epilogues, x, scale, bias)[1:],
    normalize(plain, x, scale, bias)[1:],
    strict=True,
  ):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures('sums')
@by_slope
def test_normalising_by_given_statistics_has_the_plain_gradients(slope):
  x, mean, variance, scale, bias, dy = inputs()
  normalize = lambda module, x, *args: module.normalize(
    x, mean, variance, *args
  )
  assert_gradients_equal(normalize, (x, scale, bias), slope, dy)


@pytest.mark.usefixtures('sums')
@by_slope
def test_adding_a_bias_has_the_plain_gradients(slope):
  x, bias, *_, dy = inputs()
  add = lambda module, *args: module.add_bias(*args)
  assert_gradients_equal(add, (x, bias), slope, dy)


def test_the_statistics_are_the_batchs_and_pass_no_gradient_on():
  x, scale, _, bias, *_ = inputs()
  _, mean, variance = epilogues.normalize_batch(x, scale, bias)
  np.testing.assert_allclose(mean, [x.mean((0, 1, 2))], rtol=1e-5)
  np.testing.assert_allclose(variance, [x.var((0, 1, 2))], rtol=1e-5)
  total = lambda x: sum(
    part.sum() for part in epilogues.normalize_batch(x, scale, bias)[1:]
  )
  assert not np.any(jax.grad(total)(x))


@pytest.mark.parametrize(
  'shape',
  # Loops over 24, 31, 1 (a prime) and 24 and 24 rows.
  [(2, 24, 24, 3), (1, 31, 1, 2), (2, 37, 1, 2), (4, 48, 48, 2), (3, 1, 1, 5)],
)
def test_sums_in_loops_are_sums(shape):
  rng = np.random.default_rng(0)
  terms = [jnp.float32(rng.normal(1, 1, shape)) for _ in range(3)]
  for add in (epilogues._sums_by_loops, epilogues._sums_of_tiles):
    for ours, term in zip(add(*terms), terms, strict=True):
      np.testing.assert_allclose(ours, term.sum((0, 1, 2)), rtol=1e-5)


def test_a_gpus_program_adds_all_terms_in_two_passes():
  x = jnp.zeros((16, 24, 24, 64))
  lowered = (
    jax.jit(lambda x: epilogues.sums(x, x * x, x + 1))
    .trace(x)
    .lower(lowering_platforms=('cuda',))
    .as_text()
  )
  assert lowered.count('stablehlo.reduce(') == 2
