"""Reads a compiled GPU program: which kernels a step launches, and for what.

XLA's text of an optimised program names each kernel, the shapes, types and
layouts that it reads and writes, and the operation of ours that it came from.
"""

import collections
from collections.abc import Callable, Hashable, Iterable, Iterator
import dataclasses
import math
import re
from typing import TypeVar

_BYTES = {'pred': 1, 's8': 1, 'u8': 1, 's16': 2, 'u16': 2, 'f16': 2, 'bf16': 2}
_BYTES |= {'s32': 4, 'u32': 4, 'f32': 4, 's64': 8, 'u64': 8, 'f64': 8}

# Instructions that launch nothing.
_FREE = {
  'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'iota',
  'after-all', 'opt-barrier', 'copy-done', 'all-reduce-done', 'async-done',
  'partition-id', 'replica-id', 'fusion-done',
}  # fmt: skip
_READS_A_PART = {'slice', 'dynamic-slice', 'gather'}
# Of each element another one: in a kernel, of those alone that are read.
_ONE_TO_ONE = {'bitcast', 'convert', 'copy', 'negate', 'reshape', 'transpose'}

_INSTRUCTION = re.compile(
  r'^\s*(?P<root>ROOT )?%?(?P<name>[\w.\-]+) = '
  r'(?P<type>\((?:[^()]|\([^()]*\))*\)|\S+) (?P<opcode>[\w\-]+)\((?P<rest>.*)$'
)
_COMPUTATION = re.compile(r'^(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) \(.*\{$')
_ARRAY = re.compile(r'\b([a-z]+\d*)\[([\d,]*)\](\{[^}]*\})?')
_OP_NAME = re.compile(r'op_name="((?:[^"\\]|\\.)*)"')
# A line of XLA's text of the launches, and what launches nothing itself.
_LAUNCH = re.compile(r'^(?P<indent> *)\d+: (?P<kind>k\w+)')
_NO_LAUNCHES = {
  'kCommandBuffer', 'kWhile', 'kConditional', 'kSequential', 'kAsyncStart',
  'kAsyncDone', 'kDynamicSliceFusion',
}  # fmt: skip
# In a path, what JAX puts around the layers.
_FRAMES = re.compile(
  r'jit\(\w*\)|\b(while|body|closed_call|shard_map|eval_jaxpr)\b'
  r'|\bcond/branch_\d+_fun\b'
)

Shape = tuple[int, ...]
Key = TypeVar('Key', bound=Hashable)


@dataclasses.dataclass(frozen=True)
class Instruction:
  """A line of the program."""

  name: str
  type: str
  opcode: str
  operands: tuple[str, ...]
  attributes: str
  is_root: bool

  @property
  def op_name(self) -> str:
    """The path of the operation that it came from, or ''."""
    found = _OP_NAME.search(self.attributes)
    return found[1] if found else ''

  def attribute(self, name: str) -> str:
    """An attribute's value, or ''."""
    found = re.search(rf'\b{name}="?([^\s,"}}]+)', self.attributes)
    return found[1].removeprefix('%') if found else ''


Computation = dict[str, Instruction]


@dataclasses.dataclass(frozen=True)
class Kernel:
  """What one launch does.

  Attributes:
    kind: 'convolution', 'matmul', 'reduction', 'transpose', 'copy',
      'elementwise', or XLA's name of another operation.
    layer: the layer and direction that it belongs to (`layer_of`).
    count: launches a step.
    bytes: read and written by a launch.
    flops: multiplications and additions of a launch's matrix products.
    result: the types, shapes and layouts written.
    operands: those read.
    target: cuDNN's or cuBLAS's function, or ''.
  """

  kind: str
  layer: str
  count: float
  bytes: int
  flops: int
  result: str
  operands: tuple[str, ...]
  target: str


def parse(text: str) -> tuple[dict[str, Computation], str]:
  """The computations of a program by name, and the name of its entry.

  Raises:
    ValueError: where the text has no entry.
  """
  computations: dict[str, Computation] = {}
  entry, current = '', None
  for line in text.splitlines():
    if head := _COMPUTATION.match(line):
      current = computations.setdefault(head['name'], {})
      entry = head['name'] if head['entry'] else entry
    elif current is not None and (found := _INSTRUCTION.match(line)):
      inside, attributes = _split_call(found['rest'])
      current[found['name']] = Instruction(
        name=found['name'],
        type=found['type'],
        opcode=found['opcode'],
        operands=tuple(re.findall(r'%([\w.\-]+)', inside)),
        attributes=attributes,
        is_root=bool(found['root']),
      )
  if not entry:
    raise ValueError('this is no program that XLA compiled: it has no entry')
  return computations, entry


def kernels(text: str, steps: int = 1) -> list[Kernel]:
  """The kernels that a program launches, loops' as often as they run.

  Args:
    text: of the optimised program.
    steps: training steps in a call of it; `count` is by step.
  """
  computations, entry = parse(text)
  return list(_walk(computations, entry, 1 / steps))


def conditionals(text: str) -> int:
  """How many choices between branches are left for the device."""
  return text.count(' conditional(')


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


def layer_of(op_name: str) -> str:
  """The layer and direction in an operation's path.

  'jit(update)/while/body/transpose(jvp(Generator))/block_1/norm_0/reduce_sum'
  is 'Generator block/norm_0 backward'.
  """
  path = _FRAMES.sub('', op_name)
  direction = ''
  if 'transpose(jvp(' in path:
    direction = ' backward'
  elif 'jvp(' in path:
    direction = ' forward'
  parts = re.sub(r'transpose\(|jvp\(|vmap\(|\)', '', path).split('/')[:-1]
  names = [re.sub(r'_\d+$', '', p) if 'block' in p else p for p in parts if p]
  return ('/'.join(names) or 'program') + direction


def shapes(type_text: str) -> list[tuple[str, Shape]]:
  """The element types and shapes in a type, of a tuple's each."""
  return [
    (kind, tuple(int(n) for n in size.split(',') if n))
    for kind, size, _ in _ARRAY.findall(type_text)
    if kind in _BYTES
  ]


def size_of(type_text: str) -> int:
  """The bytes of a type."""
  return sum(
    _BYTES[kind] * math.prod(shape) for kind, shape in shapes(type_text)
  )


def _split_call(rest: str) -> tuple[str, str]:
  """What is inside an operation's parentheses, and what follows them."""
  depth = 1
  for i, letter in enumerate(rest):
    depth += (letter == '(') - (letter == ')')
    if depth == 0:
      return rest[:i], rest[i + 1 :]
  return rest, ''


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
    kind=_kind(line, inner, target),
    layer=layer_of(_origin(line, inner, computation)),
    count=count,
    bytes=_bytes(line, inner, operands),
    flops=_flops(line, target, operands),
    result=line.type,
    operands=operands,
    target=target,
  )


def _kind(line: Instruction, inner: list[Instruction], target: str) -> str:
  opcodes = {line.opcode, *(i.opcode for i in inner)}
  if target.startswith('__cudnn$conv'):
    return 'convolution'
  if line.opcode in ('copy', 'copy-start', 'fusion-start'):
    return 'copy'
  if target.startswith('__cublas') or 'dot' in opcodes:
    return 'matmul'
  if line.opcode == 'custom-call':
    return target
  if any(code.startswith(('reduce-window', 'select-and')) for code in opcodes):
    return 'window'
  if 'reduce' in opcodes:
    return 'reduction'
  if any(_turns(i) for i in [line, *inner]):
    return 'transpose'
  if any(i.is_root and i.opcode == 'copy' for i in inner):
    return 'copy'
  for code in ('scatter', 'sort', 'gather'):
    if code in opcodes:
      return code
  return 'elementwise' if line.opcode == 'fusion' else line.opcode


def _turns(line: Instruction) -> bool:
  """Whether an instruction changes the order of the axes in memory."""
  found = re.search(r'dimensions=\{([\d,]+)\}', line.attributes)
  sizes = shapes(line.type)
  if line.opcode != 'transpose' or not found or not sizes:
    return False
  axes = zip(found[1].split(','), sizes[0][1], strict=True)
  kept = [int(axis) for axis, size in axes if size > 1]
  return kept != sorted(kept)


def _origin(
  line: Instruction, inner: list[Instruction], computation: Computation
) -> str:
  """The path of what a kernel computes; of a copy, of what it copies."""
  copied = [computation[name] for name in line.operands if name in computation]
  candidates = [line, *reversed(inner), *copied]
  return next((i.op_name for i in candidates if i.op_name), '')


def _bytes(
  line: Instruction, inner: list[Instruction], operands: tuple[str, ...]
) -> int:
  """Of a launch; where only a part of an operand is read, that part's."""
  updates = [i for i in inner if i.opcode == 'dynamic-update-slice']
  total = sum(map(size_of, operands))
  for parameter in inner:
    users = _users(parameter, inner)
    if parameter.opcode != 'parameter' or not users:
      continue
    if all(u in updates and u.operands[0] == parameter.name for u in users):
      total -= size_of(parameter.type)
    elif every := _elements(parameter.type):
      unread = 1 - _elements_read(parameter, inner) / every
      total -= round(unread * size_of(parameter.type))
  if updates:  # in place
    by_name = {i.name: i for i in inner}
    return total + sum(size_of(by_name[i.operands[1]].type) for i in updates)
  return total + size_of(line.type)


def _users(line: Instruction, inner: list[Instruction]) -> list[Instruction]:
  return [i for i in inner if line.name in i.operands]


def _elements_read(line: Instruction, inner: list[Instruction]) -> int:
  """How many elements of an array a kernel has a use for."""
  every, read = _elements(line.type), 0
  if line.is_root:
    return every
  for user in _users(line, inner):
    if user.opcode in _READS_A_PART:
      read += _elements(user.type)
    elif user.opcode in _ONE_TO_ONE:
      read += _elements_read(user, inner)
    else:
      return every
  return min(read, every)


def _elements(type_text: str) -> int:
  return sum(math.prod(shape) for _, shape in shapes(type_text))


def _flops(line: Instruction, target: str, operands: tuple[str, ...]) -> int:
  """Of cuDNN's convolutions and cuBLAS's products; the rest counts as none."""
  arrays = [shapes(operand)[0][1] for operand in operands if shapes(operand)]
  result = next((shape for _, shape in shapes(line.type)), ())
  if target.startswith('__cublas'):
    product = math.prod(result) * math.prod(arrays[0]) * math.prod(arrays[1])
    return 2 * math.isqrt(product)
  if not target.startswith('__cudnn$conv'):
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


def tally(
  items: Iterable[Kernel], key: Callable[[Kernel], Key]
) -> dict[Key, float]:
  """Launches a step of the kernels with one key, the most first."""
  counts: dict[Key, float] = collections.defaultdict(float)
  for kernel in items:
    counts[key(kernel)] += kernel.count
  return dict(sorted(counts.items(), key=lambda item: -item[1]))
