"""Reads a compiled GPU program: which kernels a step launches.

XLA's text of an optimised program names each kernel and the shapes and types
that it reads and writes.
"""

from collections.abc import Iterator
import dataclasses
import math
import re

_BYTES = {'pred': 1, 's8': 1, 'u8': 1, 's16': 2, 'u16': 2, 'f16': 2, 'bf16': 2}
_BYTES |= {'s32': 4, 'u32': 4, 'f32': 4, 's64': 8, 'u64': 8, 'f64': 8}

_CONVOLUTION = '__cudnn$conv'  # what the names of cuDNN's begin with

# Instructions that launch nothing.
_FREE = {
  'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'iota',
  'after-all', 'opt-barrier', 'copy-done', 'all-reduce-done', 'async-done',
  'partition-id', 'replica-id', 'while', 'conditional', 'call',
  'fusion-done',
}  # fmt: skip
_READS_A_PART = {'slice', 'dynamic-slice', 'gather'}

_INSTRUCTION = re.compile(
  r'^\s*(?:ROOT )?%?(?P<name>[\w.\-]+) = '
  r'(?P<type>\((?:[^()]|\([^()]*\))*\)|\S+) (?P<opcode>[\w\-]+)\((?P<rest>.*)$'
)
_COMPUTATION = re.compile(r'^(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) \(.*\{$')
_ARRAY = re.compile(r'\b([a-z]+\d*)\[([\d,]*)\]')
# A line of XLA's text of the launches, and what launches nothing itself.
_LAUNCH = re.compile(r'^(?P<indent> *)\d+: (?P<kind>k\w+)')
_NO_LAUNCHES = {
  'kCommandBuffer', 'kWhile', 'kConditional', 'kSequential', 'kAsyncStart',
  'kAsyncDone', 'kDynamicSliceFusion',
}  # fmt: skip
Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Instruction:
  """A line of the program."""

  name: str
  type: str
  opcode: str
  operands: tuple[str, ...]
  attributes: str

  def attribute(self, name: str) -> str:
    """An attribute's value, or ''."""
    found = re.search(rf'\b{name}="?([^\s,"}}]+)', self.attributes)
    return found[1].removeprefix('%') if found else ''


Computation = dict[str, Instruction]


@dataclasses.dataclass(frozen=True)
class Kernel:
  """What one launch does.

  Attributes:
    count: launches a step.
    bytes: read and written by a launch.
    flops: multiplications and additions of a launch's matrix products.
    is_convolution: whether it is one of cuDNN's convolutions.
  """

  count: float
  bytes: int
  flops: int
  is_convolution: bool


def parse(text: str) -> tuple[dict[str, Computation], str]:
  """The computations of a program by name, and the name of its entry."""
  computations: dict[str, Computation] = {}
  entry, current = '', None
  for line in text.splitlines():
    if (head := _COMPUTATION.match(line)) and ' = ' not in line.split('(')[0]:
      current = computations.setdefault(head['name'], {})
      entry = head['name'] if head['entry'] else entry
    elif current is not None and (found := _INSTRUCTION.match(line)):
      inside, _, attributes = found['rest'].partition(')')
      current[found['name']] = Instruction(
        name=found['name'],
        type=found['type'],
        opcode=found['opcode'],
        operands=tuple(re.findall(r'%([\w.\-]+)', inside)),
        attributes=attributes,
      )
  return computations, entry


def kernels(text: str, steps: int = 1) -> list[Kernel]:
  """The kernels that a program launches, loops' as often as they run.

  Args:
    text: of the optimised program.
    steps: training steps in a call of it; `count` is by step.
  """
  computations, entry = parse(text)
  return list(_walk(computations, entry, 1 / steps))


def in_graphs(text: str, steps: int = 1) -> tuple[float, float]:
  """How many launches a step lie in CUDA graphs, and in how many graphs.

  Args:
    text: XLA's text of a program's launches.
    steps: of the program's only loop; 1: it has none.
  """
  launches = graphs = 0.0
  opened: list[tuple[int, str]] = []  # around a line, the innermost last
  for line in text.splitlines():
    if not (found := _LAUNCH.match(line)):
      continue
    indent = len(found['indent'])
    opened = [outer for outer in opened if outer[0] < indent]
    kinds = [kind for _, kind in opened]
    opened.append((indent, found['kind']))
    count = 1 if 'kWhile' in kinds else 1 / steps
    if found['kind'] == 'kCommandBuffer':
      graphs += count
    elif 'kCommandBuffer' in kinds and found['kind'] not in _NO_LAUNCHES:
      launches += count
  return launches, graphs


def shapes(type_text: str) -> list[tuple[str, Shape]]:
  """The element types and shapes in a type, of a tuple's each."""
  return [
    (kind, tuple(int(n) for n in size.split(',') if n))
    for kind, size in _ARRAY.findall(type_text)
    if kind in _BYTES
  ]


def size_of(type_text: str) -> int:
  """The bytes of a type."""
  return sum(
    _BYTES[kind] * math.prod(shape) for kind, shape in shapes(type_text)
  )


def _walk(
  computations: dict[str, Computation], name: str, count: float
) -> Iterator[Kernel]:
  computation = computations[name]
  for line in computation.values():
    if line.opcode == 'while':
      trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', line.attributes)
      times = int(trips[1]) if trips else 1
      yield from _walk(computations, line.attribute('body'), count * times)
    elif line.opcode == 'call':
      yield from _walk(computations, line.attribute('to_apply'), count)
    elif line.opcode == 'conditional':
      for branch in re.findall(r'%([\w.\-]+)', line.attributes):
        yield from _walk(computations, branch, count)
    elif line.opcode not in _FREE:
      yield _kernel(computations, computation, line, count)


def _kernel(
  computations: dict[str, Computation],
  computation: Computation,
  line: Instruction,
  count: float,
) -> Kernel:
  inner = list(computations.get(line.attribute('calls'), {}).values())
  target = line.attribute('custom_call_target')
  operands = tuple(
    computation[operand].type
    for operand in line.operands
    if operand in computation
  )
  return Kernel(
    count=count,
    bytes=_bytes(line, inner, operands),
    flops=_flops(line, target, operands),
    is_convolution=target.startswith(_CONVOLUTION),
  )


def _bytes(
  line: Instruction, inner: list[Instruction], operands: tuple[str, ...]
) -> int:
  """Of a launch; where only a part of an operand is read, that part's."""
  updates = [i for i in inner if i.opcode == 'dynamic-update-slice']
  total = sum(map(size_of, operands))
  for parameter in inner:
    users = [i for i in inner if parameter.name in i.operands]
    if parameter.opcode != 'parameter' or not users:
      continue
    if all(user.opcode in _READS_A_PART for user in users):
      read = sum(size_of(user.type) for user in users)
      total -= max(size_of(parameter.type) - read, 0)
    elif all(u in updates and u.operands[0] == parameter.name for u in users):
      total -= size_of(parameter.type)
  if updates:  # in place
    by_name = {i.name: i for i in inner}
    return total + sum(size_of(by_name[i.operands[1]].type) for i in updates)
  return total + size_of(line.type)


def _flops(line: Instruction, target: str, operands: tuple[str, ...]) -> int:
  """Of cuDNN's convolutions and cuBLAS's products; the rest counts as none."""
  arrays = [shapes(operand)[0][1] for operand in operands if shapes(operand)]
  result = next((shape for _, shape in shapes(line.type)), ())
  if target.startswith('__cublas'):
    product = math.prod(result) * math.prod(arrays[0]) * math.prod(arrays[1])
    return 2 * math.isqrt(product)
  if not target.startswith(_CONVOLUTION):
    return 0
  # Each output meets a kernel's taps and inputs once, in every direction.
  if 'BackwardFilter' in target:
    outputs, kernel = arrays[1], result
  elif 'BackwardInput' in target:
    outputs, kernel = arrays[0], arrays[1]
  else:
    outputs, kernel = result, arrays[1]
  labels = line.attribute('dim_labels')
  features = re.split('[_>-]+', labels)[1].index('o')
  return 2 * math.prod(outputs) * math.prod(kernel) // kernel[features]
