"""What is said of a program compiled for a GPU, and that none is needed."""

import importlib.util
import json
import pathlib
import types

import pytest

from srgan_jax.speed import ahead, gpu, hlo
from tests.support import repository
from tests.support.tools import run_tool

# A loop of three steps (a convolution, a sum over pixels, an addition of a
# picture out of nine) and a transposed result; JAX 0.11.2 for an H100.
LOOP = pathlib.Path(__file__).parent / 'recorded' / 'loop.hlo.txt'
# Another loop's launches, of the same.
LAUNCHES = LOOP.with_name('launches.txt')

needs_plugin = pytest.mark.skipif(
  importlib.util.find_spec('jax_cuda13_plugin') is None,
  reason="JAX's CUDA plugin is not installed (the extra cuda)",
)


def program(text, steps):
  memory = types.SimpleNamespace(
    argument_size_in_bytes=10, temp_size_in_bytes=20
  )
  return ahead.Program(text, LAUNCHES.read_text(), steps, 1.0, memory, {})


def test_kernels_of_a_loop_count_as_often_as_it_runs():
  kernels = hlo.kernels(LOOP.read_text(), steps=3)
  assert hlo.tally(kernels, lambda kernel: kernel.kind) == pytest.approx(
    {
      'elementwise': 2 + 2 / 3,
      'copy': 1 + 2 / 3,
      'convolution': 1,
      'reduction': 1,
      'transpose': 2 / 3,
    }
  )
  assert hlo.conditionals(LOOP.read_text()) == 0


def test_launches_in_graphs_are_counted_by_step():
  # Four in the loop's one graph, three in that before the loop of five steps.
  launches, graphs = hlo.in_graphs(LAUNCHES.read_text(), steps=5)
  assert launches == pytest.approx(4 + 3 / 5)
  assert graphs == pytest.approx(1 + 1 / 5)
  assert hlo.in_graphs('') == (0, 0)


def test_kernels_know_their_layer_shapes_bytes_and_products():
  kernels = hlo.kernels(LOOP.read_text(), steps=3)
  (conv,) = (kernel for kernel in kernels if kernel.kind == 'convolution')
  assert conv.target == '__cudnn$convForward'
  assert conv.operands[1] == 'bf16[64,3,3,64]{3,2,1,0}'
  assert conv.flops == 2 * (2 * 8 * 8 * 64) * (3 * 3 * 64)
  assert conv.bytes == 2 * (2 * 8192 + 9 * 64 * 64)
  (reduction,) = (kernel for kernel in kernels if kernel.kind == 'reduction')
  assert reduction.layer == 'G/norm_0 forward'
  # Of nine pictures it reads one, 8,192 bytes; it reads and writes the image.
  add = max(kernels, key=lambda kernel: len(kernel.operands))
  assert add.bytes == 2 * 2 * 8192 + 8192 + 2 * 4 * 64 + 4 + 4


CUT = """
%fused (p.0: f32[1000], p.1: f32[1000]) -> bf16[10] {{
  %p.0 = f32[1000]{{0}} parameter(0)
  %c.0 = bf16[1000]{{0}} convert(%p.0)
  %s.0 = bf16[10]{{0}} slice(%c.0), slice={{[0:10]}}
  %s.1 = bf16[10]{{0}} slice(%c.0), slice={{[500:510]}}
  %p.1 = f32[1000]{{0}} parameter(1)
  %s.2 = f32[10]{{0}} slice(%p.1), slice={{[0:10]}}
  %c.1 = bf16[10]{{0}} convert(%s.2)
  {also}
  %a.0 = bf16[10]{{0}} add(%s.0, %s.1)
  ROOT %a.1 = bf16[10]{{0}} add(%a.0, %c.1)
}}

ENTRY %main (x: f32[1000], y: f32[1000]) -> bf16[10] {{
  %x = f32[1000]{{0}} parameter(0)
  %y = f32[1000]{{0}} parameter(1)
  ROOT %f = bf16[10]{{0}} fusion(%x, %y), kind=kLoop, calls=%fused
}}
"""


@pytest.mark.parametrize(
  ('also', 'read'),
  [
    ('', 4 * 20),
    # A sum reads all of what was cast, whatever else does.
    ('%r.0 = bf16[] reduce(%c.0), dimensions={0}', 4 * 1000),
  ],
)
def test_of_an_array_that_is_cast_and_cut_a_part_is_read(also, read):
  (kernel,) = hlo.kernels(CUT.format(also=also))
  assert kernel.bytes == read + 4 * 10 + 2 * 10


@pytest.mark.parametrize(
  ('path', 'layer'),
  [
    ('jit(update)/while/body/closed_call/add', 'program'),
    (
      'jit(update)/jvp(Generator)/block_11/conv_0/x',
      'Generator/block/conv_0 forward',
    ),
    (
      'jit(update)/while/body/transpose(jvp(Generator))/block_3/norm_0/'
      'cond/branch_0_fun/reduce',
      'Generator/block/norm_0 backward',
    ),
  ],
)
def test_a_layer_is_read_from_its_path(path, layer):
  assert hlo.layer_of(path) == layer


def test_the_roofline_counts_launches_and_the_longer_of_the_rest():
  text = LOOP.read_text()
  figures = gpu.figures_of(program(text, 3), 'h100', 'default')
  assert figures['kernels'] == pytest.approx(7)
  assert figures['launch_ms'] == pytest.approx(7 * 2e-3)
  busy = 1e-3 * (figures['roofline_ms'] - figures['launch_ms'])
  by_memory, by_products = figures['bytes'] / 3.35e12, figures['flops'] / 989e12
  assert max(by_memory, by_products) <= busy <= by_memory + by_products
  # H200 has the same arithmetic and more bandwidth.
  faster = gpu.figures_of(program(text, 3), 'h200', 'default')
  assert figures['launch_ms'] < faster['roofline_ms'] < figures['roofline_ms']
  assert figures['temporary_bytes'] == 20


def test_what_is_no_program_is_said():
  with pytest.raises(ValueError, match='no entry'):
    hlo.kernels('HloModule x\n')


def test_a_documents_row_is_replaced_and_the_rest_kept():
  text = (repository.ROOT / 'docs' / 'performance.md').read_text()
  figures = gpu.figures_of(program(LOOP.read_text(), 3), 'h100', 'default') | {
    'target': 'h100',
    'label': 'srresnet-x',
    'batch_size': 3,
    'loader': 'resident',
    'steps_per_call': 3,
  }
  once = gpu.with_row(text, figures)
  (row,) = set(once.splitlines()) - set(text.splitlines())
  assert row.startswith(
    '| h100 | srresnet-x | 3 | resident, 3 steps | 7 | 1 | 5 |'
  )
  twice = gpu.with_row(once, figures | {'kernels': 8})
  assert len(twice.splitlines()) == len(once.splitlines())
  assert once.replace(row + '\n', '') == text
  with pytest.raises(ValueError, match='no table between'):
    gpu.with_row('no table', figures)


def compile_tiny(output, *arguments):
  # The suite's own flags are a CPU's.
  environment = repository.environment()
  environment.pop('XLA_FLAGS', None)
  return run_tool(
    'compile_gpu',
    *('--target=h100', f'--json={output}'),
    *arguments,
    environment=environment,
  )


def test_figures_and_table_are_two_files(tmp_path):
  path = str(tmp_path / 'a')
  with pytest.raises(ValueError, match='another output already'):
    gpu.report(None, 'h100', json_file=path, table_file=path)


@needs_plugin
def test_the_training_program_compiles_without_a_gpu(tmp_path):
  """Recorded with JAX 0.11.2: 74 kernels, 20 of them convolutions."""
  output = tmp_path / 'out.json'
  result = compile_tiny(
    output, '--stage=pretrain', '--batch_per_device=4', '--loader=resident'
  )
  assert result.returncode == 0, result.stderr
  figures = json.loads(output.read_text())
  assert figures['by_kind']['convolution'] == 20
  assert figures['kernels'] < 85
  assert figures['conditionals'] == 0
  assert figures['steps_per_call'] == 20
  assert 0 < figures['in_graphs'] < figures['kernels']


@pytest.mark.skipif(
  importlib.util.find_spec('jax_cuda13_plugin') is not None,
  reason="JAX's CUDA plugin is installed",
)
def test_without_the_plugin_the_extra_is_named(tmp_path):
  result = compile_tiny(tmp_path / 'out.json')
  assert result.returncode == 1
  assert 'compile_gpu: h100: ' in result.stderr
  assert "pip install 'srgan_jax[cuda]'" in result.stderr
  assert 'Traceback' not in result.stderr
