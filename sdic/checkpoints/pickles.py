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
        if code in _PLAIN:
            self.stack.append(_PLAIN[code]())
        elif code in _FIXED:
            self._fixed(code, self._number(_FIXED[code]))
        elif code in _COUNTED:
            self._counted(code, self._take(self._number(_COUNTED[code])))
        elif code in b"(02\x94":
            self._moves(code)
        elif code in b"\x85\x86\x87tld\x91":
            self._gathers(code)
        elif code in b"aesu\x90":
            self._fills(code)
        elif code in b"c\x93R\x81bQ":
            self._names(code)
        else:
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

    def _fixed(self, code: bytes, value: Any) -> None:
        if code in b"hj":
            self.stack.append(self.memo[value])
        elif code in b"qr":
            self.memo[value] = self.stack[-1]
        elif code in b"KMJG":
            self.stack.append(value)
        elif code == b"\x80" and value > 5:
            raise DamagedError(f"a pickle of protocol {value}; known are those up to 5")

    def _counted(self, code: bytes, content: memoryview) -> None:
        if code in b"CB\x8e\x96":
            self.stack.append(content)  # weights: not copied
        elif code in b"\x8c\x58\x8d":
            self.stack.append(str(content, "utf-8"))
        elif code in b"UT":
            self.stack.append(str(content, "latin-1"))  # Python 2 wrote bytes
        elif len(content) > LONGEST_INTEGER:
            raise DamagedError(f"an integer of {len(content)} bytes")
        else:
            self.stack.append(int.from_bytes(content, "little", signed=True))

    def _moves(self, code: bytes) -> None:
        if code == b"(":
            self.stack.append(_MARK)
        elif code == b"0":
            self.stack.pop()
        elif code == b"2":
            self.stack.append(self.stack[-1])
        else:
            self.memo[len(self.memo)] = self.stack[-1]

    def _gathers(self, code: bytes) -> None:
        if code in b"\x85\x86\x87":
            values = [self._pop() for _ in range(code[0] - 0x84)][::-1]
            self.stack.append(tuple(values))
            return
        values = self._above_mark()
        if code == b"d":
            self.stack.append(_pairs(values))
        else:
            self.stack.append(tuple(values) if code == b"t" else values if code == b"l" else as_set(values))

    def _fills(self, code: bytes) -> None:
        values = [self._pop() for _ in range(2 if code == b"s" else 1)][::-1] if code in b"as" else self._above_mark()
        target = self.stack[-1]
        if code in b"ae" and isinstance(target, list):
            target += values
        elif code in b"su" and isinstance(target, dict):
            target.update(_pairs(values))
        elif code == b"\x90" and isinstance(target, set):
            target |= as_set(values)
        else:
            raise DamagedError(f"the pickle fills a {type(target).__name__} as if it were something else")

    def _names(self, code: bytes) -> None:
        if code == b"c":
            self.stack.append(_name(self._line(), self._line()))
        elif code == b"\x93":
            name, module = self._pop(), self._pop()
            self.stack.append(_name(module, name))
        elif code == b"Q":
            if self.persistent is None:
                raise DamagedError("the pickle refers to something outside itself")
            self.stack.append(self.persistent(self._pop()))
        elif code == b"b":
            state = self._pop()
            self.stack.append(self.build(self._pop(), state))
        else:
            arguments, called = self._pop(), self._pop()
            if not isinstance(called, Name) or not isinstance(arguments, tuple):
                raise DamagedError("the pickle calls something that is no name")
            if called.name not in self.calls:
                raise ForeignCallError(called.name)
            self.stack.append(self.calls[called.name](arguments))

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
