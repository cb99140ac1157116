"""Reading the tensors of a `.tflite` file (a flatbuffer) by name; its program of operations is never run.

A flatbuffer is tables that point to each other by offsets. Every offset and length is checked against the file before
it is followed, and the tensors together have no more bytes than the file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sdic.errors import CheckpointError

MARK = b"TFL3"  # at byte 4 of every such file
MOST = 100_000
"""Tensors, or buffers, of a file; those of faces have some hundreds."""
_TYPES = {0: np.float32, 1: np.float16, 2: np.int32}  # numbers of the format's enumeration TensorType
_MODEL_GRAPHS, _MODEL_BUFFERS, _GRAPH_TENSORS, _BUFFER_DATA = 2, 4, 0, 0  # fields of the format's tables
_SHAPE, _TYPE, _BUFFER, _NAME = 0, 1, 2, 3


def is_tflite(head: bytes) -> bool:
    """Whether a file that begins with these bytes (8 or more) is a TensorFlow Lite model."""
    return head[4:8] == MARK


def read_tflite(data: bytes, what: str) -> dict[str, Tensor]:
    """The stored tensors of the first graph of a model, by their names: float32, float16 or int32, as they lie there.

    what: the file, for errors. CheckpointError for every other file, whatever its bytes are.
    """
    try:
        if not is_tflite(data[:8]):
            raise ValueError("it does not begin as a TensorFlow Lite model")
        return _tensors(data)
    except (ValueError, struct.error, OverflowError) as error:
        raise CheckpointError(f"{what}: not a readable .tflite file, or damaged ({error})") from error


def _tensors(data: bytes) -> dict[str, Tensor]:
    model = _Table(data, _number(data, "I", 0))
    buffers = model.tables(_MODEL_BUFFERS)
    graphs = model.tables(_MODEL_GRAPHS)
    if not graphs:
        raise ValueError("it holds no graph")
    found: dict[str, Tensor] = {}
    left = len(data)
    for table in graphs[0].tables(_GRAPH_TENSORS):
        index = table.number(_BUFFER, "I")
        if index >= len(buffers):
            raise ValueError(f"a tensor in buffer {index} of {len(buffers)}")
        content = buffers[index].bytes(_BUFFER_DATA)
        if not content:  # a value that the program computes
            continue
        name = table.bytes(_NAME).decode("utf-8")
        kind = _TYPES.get(table.number(_TYPE, "b"))
        shape = table.integers(_SHAPE)
        if kind is None:
            raise ValueError(f"{name!r} holds numbers of a kind that is not read (float32, float16, int32 are)")
        size = np.dtype(kind).itemsize
        for side in shape:
            size *= side
        if any(side < 1 for side in shape) or size != len(content):
            raise ValueError(f"{name!r} has the shape {shape} and {len(content)} bytes")
        left -= len(content)
        if left < 0 or name in found:
            raise ValueError(f"{name!r} is there twice, or lies in the same bytes as others")
        found[name] = torch.from_numpy(np.frombuffer(content, kind).reshape(shape).copy())
    return found


@dataclass(frozen=True)
class _Table:
    """A table of a flatbuffer at byte `start` of `data`. Fields are known by their places in the format's schema; one
    that is not there has its default, zero or nothing."""

    data: bytes
    start: int

    def _place(self, field: int) -> int:
        """The byte where a field lies, 0 if it is not there."""
        layout = self.start - _number(self.data, "i", self.start)
        if layout < 0:
            raise ValueError("a table without a layout")
        entry = 4 + 2 * field
        if entry + 2 > _number(self.data, "H", layout):
            return 0
        offset = _number(self.data, "H", layout + entry)
        return offset and self.start + offset

    def _vector(self, field: int, item: int) -> tuple[int, int]:
        """(first byte, count) of a vector of items of `item` bytes, which lies within the file."""
        place = self._place(field)
        if not place:
            return 0, 0
        place += _number(self.data, "I", place)
        count = _number(self.data, "I", place)
        if count * item > len(self.data) - place - 4:
            raise ValueError(f"a list of {count} entries goes beyond the end")
        return place + 4, count

    def number(self, field: int, form: str) -> int:
        """A number, by the letter of `struct`."""
        place = self._place(field)
        return _number(self.data, form, place) if place else 0

    def bytes(self, field: int) -> bytes:
        """A text, or a list of bytes."""
        place, count = self._vector(field, 1)
        return self.data[place : place + count]

    def integers(self, field: int) -> list[int]:
        """A list of int32; shapes have few."""
        place, count = self._vector(field, 4)
        if count > 8:
            raise ValueError(f"a shape of {count} sides")
        return list(struct.unpack_from(f"<{count}i", self.data, place))

    def tables(self, field: int) -> list[_Table]:
        """A list of tables."""
        place, count = self._vector(field, 4)
        if count > MOST:
            raise ValueError(f"a list of {count} tables")
        return [_Table(self.data, at + _number(self.data, "I", at)) for at in range(place, place + 4 * count, 4)]


def _number(data: bytes, form: str, place: int) -> int:
    if place < 0:
        raise ValueError("an offset before the beginning")
    return int(struct.unpack_from("<" + form, data, place)[0])
