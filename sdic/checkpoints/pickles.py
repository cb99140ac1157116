"""A reader of pickles that executes nothing: it builds plain data, and hands names to a closed table.

Python's own unpickler imports whatever a file names and calls it. This one knows the operations that make numbers,
texts, lists, dicts and sets; a name becomes a `Name`, and calling one looks it up in a table of ours. Nothing is
imported, no attribute is set on anything but records of ours, and lengths are checked before anything is allocated.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sdic.errors import SdicError

OPERATIONS = 2_000_000
"""More than a file of three networks takes, by a factor of twenty: a file of nothing but empty lists stays small."""
LONGEST_INTEGER = 16  # bytes


class DamagedError(SdicError):
    """The bytes are no pickle, or one that ends in the middle."""


class ForeignCallError(SdicError):
    """The file calls something that is not in the table."""

    def __init__(self, name: str):
        super().__init__(f"it calls {name}")
        self.name = name


@dataclass(frozen=True)
class Name:
    """What a file calls `module.name`; only ever looked up, never imported."""

    name: str


@dataclass
class Record:
    """An object of another program, inert: the name of its class and its state."""

    kind: str
    state: Any = None


Call = Callable[[tuple[Any, ...]], Any]
"""What stands for a name: the arguments of the call -> a value."""
Build = Callable[[Any, Any], Any]
"""(a value, the state that the file gives it) -> the value with its state."""

_ALIASES = {"__builtin__": "builtins", "numpy._core": "numpy.core", "copy_reg": "copyreg"}
# Operations (the letters are those of `pickletools`) by what follows: a number of a fixed format; a number and as many
# bytes as it says (bytes, texts and long integers); nothing.
_FIXED = {
    **dict.fromkeys((b"K", b"\x80", b"h", b"q"), "<B"),
    **dict.fromkeys((b"j", b"r"), "<I"),
    b"M": "<H",
    b"J": "<i",
    b"\x95": "<Q",
    b"G": ">d",
}
_COUNTED = {
    **dict.fromkeys((b"C", b"\x8c", b"U", b"\x8a"), "<B"),
    **dict.fromkeys((b"B", b"X", b"T", b"\x8b"), "<I"),
    **dict.fromkeys((b"\x8e", b"\x96", b"\x8d"), "<Q"),
}
_PLAIN: dict[bytes, Callable[[], Any]] = {
    b"N": lambda: None,
    b"\x88": lambda: True,
    b"\x89": lambda: False,
    b"]": list,
    b"}": dict,
    b")": tuple,
    b"\x8f": set,
}
_KEYS = (str, int, float, bool, bytes, type(None))
_MARK = object()
_OF_DAMAGE = (
    *(IndexError, KeyError, AttributeError, TypeError, ValueError, OverflowError, MemoryError, RuntimeError),
    *(struct.error, BufferError),
)
"""What operations and calls raise that are given values of another kind than they are for."""


@dataclass
class Unpickler:
    """Reads one pickle from `data` at `position`, which is afterwards where it ended.

    calls: name -> what stands for calling it. build: gives a record its state. persistent: what stands for a reference
    to something outside the pickle, such as a storage.
    """

    data: memoryview
    calls: Mapping[str, Call]
    build: Build
    persistent: Call | None = None
    position: int = 0
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def load(self) -> Any:
        """The value. DamagedError or ForeignCallError otherwise."""
        for _ in range(OPERATIONS):
            code = bytes(self._take(1))
            if code == b".":
                return self._pop()
            try:
                self._step(code)
            except _OF_DAMAGE as error:
                raise DamagedError(f"the pickle is damaged ({type(error).__name__})") from error
        raise DamagedError(f"the pickle has more than {OPERATIONS} operations")

    def _step(self, code: bytes) -> None:
        """One operation; the letters are those of `pickletools`."""
        stack, push = self.stack, self.stack.append
        number = self._number(_FIXED[code]) if code in _FIXED else 0
        content = self._take(self._number(_COUNTED[code])) if code in _COUNTED else memoryview(b"")
        match code:
            case _ if code in _PLAIN:
                push(_PLAIN[code]())
            case b"K" | b"M" | b"J" | b"G":
                push(number)
            case b"C" | b"B" | b"\x8e" | b"\x96":
                push(content)  # weights: not copied
            case b"\x8c" | b"X" | b"\x8d":
                push(str(content, "utf-8"))
            case b"U" | b"T":
                push(str(content, "latin-1"))  # Python 2 wrote bytes
            case b"\x8a" | b"\x8b":
                if len(content) > LONGEST_INTEGER:
                    raise DamagedError(f"an integer of {len(content)} bytes")
                push(int.from_bytes(content, "little", signed=True))
            case b"h" | b"j":
                push(self.memo[number])
            case b"q" | b"r":
                self.memo[number] = stack[-1]
            case b"\x94":
                self.memo[len(self.memo)] = stack[-1]
            case b"(":
                push(_MARK)
            case b"0":
                stack.pop()
            case b"2":
                push(stack[-1])
            case b"\x85" | b"\x86" | b"\x87":
                push(tuple(self._popped(code[0] - 0x84)))
            case b"t":
                push(tuple(self._above_mark()))
            case b"l":
                push(self._above_mark())
            case b"d":
                push(_pairs(self._above_mark()))
            case b"\x91":
                push(as_set(self._above_mark()))
            case b"a" | b"e":
                values = self._popped(1) if code == b"a" else self._above_mark()
                self._top(list).extend(values)
            case b"s" | b"u":
                values = self._popped(2) if code == b"s" else self._above_mark()
                self._top(dict).update(_pairs(values))
            case b"\x90":
                values = self._above_mark()
                self._top(set).update(as_set(values))
            case b"c":
                push(_name(self._line(), self._line()))
            case b"\x93":
                push(_name(*self._popped(2)))
            case b"Q":
                if self.persistent is None:
                    raise DamagedError("the pickle refers to something outside itself")
                push(self.persistent(self._pop()))
            case b"b":
                push(self.build(*self._popped(2)))
            case b"R" | b"\x81":
                push(self._called(*self._popped(2)))
            case b"\x80":
                if number > 5:
                    raise DamagedError(f"a pickle of protocol {number}; known are those up to 5")
            case b"\x95":
                pass  # the length of a frame
            case _:
                raise DamagedError(f"the pickle holds the operation {code!r}, which no weight file has")

    def _take(self, size: int) -> memoryview:
        if size > len(self.data) - self.position:
            raise DamagedError("the pickle ends in the middle")
        self.position += size
        return self.data[self.position - size : self.position]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _pop(self) -> Any:
        value = self.stack.pop() if self.stack else _MARK
        if value is _MARK:
            raise DamagedError("the pickle takes a value where there is none")
        return value

    def _above_mark(self) -> list[Any]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        raise DamagedError("the pickle gathers values that were never begun")

    def _popped(self, count: int) -> list[Any]:
        return [self._pop() for _ in range(count)][::-1]

    def _top(self, kind: type) -> Any:
        """What is to be filled."""
        if not isinstance(self.stack[-1], kind):
            raise DamagedError(f"the pickle fills a {type(self.stack[-1]).__name__} as if it were something else")
        return self.stack[-1]

    def _called(self, called: Any, arguments: Any) -> Any:
        if not isinstance(called, Name) or not isinstance(arguments, tuple):
            raise DamagedError("the pickle calls something that is no name")
        if called.name not in self.calls:
            raise ForeignCallError(called.name)
        return self.calls[called.name](arguments)

    def _line(self) -> str:
        start = self.position
        while bytes(self._take(1)) != b"\n":
            if self.position - start > 300:
                raise DamagedError("a name of more than 300 letters")
        return str(self.data[start : self.position - 1], "utf-8")


def _name(module: Any, name: Any) -> Name:
    if not isinstance(module, str) or not isinstance(name, str):
        raise DamagedError("a name that is no text")
    for old, new in _ALIASES.items():
        if module == old or module.startswith(old + "."):
            module = new + module[len(old) :]
    return Name(f"{module}.{name}")


def _key(value: Any) -> Any:
    if not isinstance(value, _KEYS) and not (isinstance(value, tuple) and all(isinstance(v, _KEYS) for v in value)):
        raise DamagedError(f"a {type(value).__name__} as a key")
    return value


def _pairs(values: list[Any]) -> dict[Any, Any]:
    return {_key(key): value for key, value in zip(values[::2], values[1::2], strict=True)}


def as_set(values: Any) -> set[Any]:
    """A set of plain values; DamagedError for others."""
    return {_key(value) for value in values}
