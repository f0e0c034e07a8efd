"""A pickle machine that builds plain values and calls what it is given.

`pickle.load` runs whatever a file tells it to, and small pickles can make it
hash or copy for ever: a few hundred bytes describe a tuple of 2^60 elements.
Here the standard library only takes the bytes apart (`pickletools.genops`); a
stack of plain lists, tuples, dicts and values is built from them. A name that a
file asks for must be among `calls`, keys are strings or integers, so that
nothing nested is ever hashed, and each step costs a bounded amount.
"""

from collections.abc import Callable, Mapping
import dataclasses
import io
import itertools
import pickletools
from typing import Any

# The largest checkpoints have 100,000 steps; so many take half a second. What
# a function is given counts by its length.
_MAX_STEPS = 2**18
_MARK = object()


@dataclasses.dataclass(frozen=True)
class Name:
  """A name of a module that a pickle refers to. Nothing is imported."""

  module: str
  name: str

  def __str__(self) -> str:
    return f'{self.module}.{self.name}'


class Built:
  """What a call may return to be given a state later."""

  def set_state(self, state: Any) -> None:
    """Takes what follows the call; ValueError where it does not fit."""
    raise NotImplementedError


# By module and name; None for what is mentioned and never called.
Calls = Mapping[tuple[str, str], Callable[..., Any] | None]


class Refused(ValueError):
  """A pickle that asks for a name that is not admitted."""

  def __init__(self, name: Name):
    super().__init__(f'it asks for {name}, and nothing of it was run')
    self.name = name


def load(
  data: bytes | io.BytesIO,
  calls: Calls,
  resolve: Callable[[Any], Any] | None = None,
) -> Any:
  """The content of a pickle: plain values and what `calls` return.

  Args:
    data: a pickle, or a stream that is left behind it.
    calls: what each admitted name stands for.
    resolve: from a persistent id to what it refers to; None: there are none.

  Raises:
    Refused: where it asks for another name.
    ValueError: one line, where it is damaged, or holds more than plain values.
  """
  stream = io.BytesIO(data) if isinstance(data, bytes) else data
  machine = _Machine(calls, resolve)
  try:
    for opcode, argument, _ in pickletools.genops(stream):
      machine.step(opcode.name, argument)
    return machine.pop()
  except Refused:
    raise
  except Exception as error:  # any: damaged bytes fail in any way
    detail = (str(error).splitlines() or [type(error).__name__])[0][:200]
    raise ValueError(f'it is cut off or damaged ({detail})') from error


class _Machine:
  """The stack and the memo of one pickle."""

  def __init__(self, calls: Calls, resolve: Callable[[Any], Any] | None):
    self._calls = calls
    self._resolve = resolve
    self._stack: list[Any] = []
    self._memo: dict[int, Any] = {}
    self._left = _MAX_STEPS

  def step(self, name: str, argument: Any) -> None:
    """Does what one opcode says."""
    self._charge(1)
    if name in _CONSTANTS:
      self._stack.append(_CONSTANTS[name]())
    elif name in _LITERALS:
      self._stack.append(argument)
    elif name in _PUTS:
      self._memo[len(self._memo) if argument is None else argument] = (
        self._stack[-1]
      )
    elif name in _GETS:
      self._stack.append(self._memo[argument])
    elif name in _TUPLES:
      items = [self.pop() for _ in range(_TUPLES[name])]
      self._stack.append(tuple(reversed(items)))
    elif name not in ('PROTO', 'FRAME', 'STOP'):
      action = getattr(self, f'_{name.lower()}', None)
      if action is None:
        raise ValueError(f'the opcode {name}')
      action(argument)

  def _charge(self, steps: int) -> None:
    self._left -= steps
    if self._left < 0:
      raise ValueError(f'it is a pickle of more than {_MAX_STEPS} steps')

  def _charge_for(self, value: Any) -> None:
    """Counts what a function goes through that is given a value."""
    if isinstance(value, list | tuple):
      self._charge(len(value))
      nested = (x for x in value if isinstance(x, list | tuple | dict))
      self._charge(sum(map(len, nested)))

  def pop(self) -> Any:
    """The value on top."""
    value = self._stack.pop()
    if value is _MARK:
      raise ValueError('a mark where a value should be')
    return value

  def _marked(self) -> list[Any]:
    """What lies above the last mark."""
    items = list(
      itertools.takewhile(lambda x: x is not _MARK, reversed(self._stack))
    )
    if len(items) == len(self._stack):
      raise ValueError('no mark')
    del self._stack[-len(items) - 1 :]
    return items[::-1]

  def _mark(self, _: Any) -> None:
    self._stack.append(_MARK)

  def _tuple(self, _: Any) -> None:
    self._stack.append(tuple(self._marked()))

  def _append(self, _: Any) -> None:
    self._extend([self.pop()])

  def _appends(self, _: Any) -> None:
    self._extend(self._marked())

  def _extend(self, items: list[Any]) -> None:
    if type(self._stack[-1]) is not list:
      raise ValueError('it appends to what is no list')
    self._stack[-1].extend(items)

  def _setitem(self, _: Any) -> None:
    value, key = self.pop(), self.pop()
    self._set([key, value])

  def _setitems(self, _: Any) -> None:
    self._set(self._marked())

  def _set(self, pairs: list[Any]) -> None:
    target = self._stack[-1]
    if type(target) is not dict:
      raise ValueError('it sets an item of what is no dict')
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
      if type(key) not in (str, int):
        raise ValueError(f'it has a key that is a {type(key).__name__}')
      target[key] = value

  def _global(self, argument: str) -> None:
    module, _, name = argument.partition(' ')
    self._admit(Name(module, name))

  def _stack_global(self, _: Any) -> None:
    name, module = self.pop(), self.pop()
    if type(name) is not str or type(module) is not str:
      raise ValueError('a name that is no text')
    self._admit(Name(module, name))

  def _admit(self, name: Name) -> None:
    if (name.module, name.name) not in self._calls:
      raise Refused(name)
    self._stack.append(name)

  def _reduce(self, _: Any) -> None:
    arguments, name = self.pop(), self.pop()
    if type(name) is not Name or type(arguments) is not tuple:
      raise ValueError('it calls what is no name')
    call = self._calls[name.module, name.name]
    if call is None:
      raise Refused(name)
    self._charge_for(arguments)
    self._stack.append(call(*arguments))

  def _newobj(self, _: Any) -> None:
    self._reduce(None)

  def _build(self, _: Any) -> None:
    state, target = self.pop(), self._stack[-1]
    if isinstance(target, Built):
      self._charge_for(state)
      target.set_state(state)
    # A state dict carries its modules' versions along.
    elif type(target) is not dict:
      raise ValueError(f'it gives a state to a {type(target).__name__}')

  def _binpersid(self, _: Any) -> None:
    if self._resolve is None:
      raise ValueError('it refers to another file')
    reference = self.pop()
    self._charge_for(reference)
    self._stack.append(self._resolve(reference))


_CONSTANTS: dict[str, Callable[[], Any]] = {
  'NONE': lambda: None,
  'NEWTRUE': lambda: True,
  'NEWFALSE': lambda: False,
  'EMPTY_DICT': dict,
  'EMPTY_LIST': list,
  'EMPTY_TUPLE': tuple,
}
_LITERALS = {
  *('BININT', 'BININT1', 'BININT2', 'LONG1', 'BINFLOAT'),
  *('BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8'),
  *('BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'SHORT_BINSTRING'),
}
_PUTS = {'BINPUT', 'LONG_BINPUT', 'MEMOIZE'}
_GETS = {'BINGET', 'LONG_BINGET'}
_TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}
