"""Stand-in weights of MediaPipe's networks under the names of their `.tflite` files, and a picture to look at."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from tests.golden_weights import key_shapes

FILES = {"blazeface": "face_detection_back", "facemesh": "face_landmark", "iris": "iris_landmark"}
"""network -> the stem of its file."""
SIDES = {"blazeface": 256, "facemesh": 192, "iris": 64}


def stand_in(network: str) -> dict[str, Tensor]:
    """Every stored tensor of a network's file, drawn from its name; BlazeFace's are float16, as in its file."""
    shapes = key_shapes(f"mediapipe_{FILES[network]}")
    return {key: drawn(key, shape, network == "blazeface") for key, shape in shapes.items()}


def drawn(key: str, shape: tuple[int, ...], half: bool = False) -> Tensor:
    """One tensor; scales keep activations finite."""
    random = np.random.RandomState(zlib.crc32(key.encode()))
    if "Paddings" in key:
        return torch.zeros(shape, dtype=torch.int32)
    values = random.standard_normal(shape)
    if "Kernel" in key:
        values *= np.sqrt(1 / np.prod(shape[1:3] if shape[0] == 1 else shape[1:]))
    else:
        values *= 0.2
    return torch.from_numpy(values.astype(np.float16 if half else np.float32))


def waves(network: str) -> Tensor:
    """[1, 3, n, n]: a smooth picture of a network's size and range."""
    side, low = SIDES[network], -1 if network == "blazeface" else 0
    y, x = np.mgrid[:side, :side] / side
    planes = [np.sin(2 * np.pi * ((c + 1) * x + (3 - c) * y + 0.1 * c) + 3 * np.sin(5 * x * y + c)) for c in range(3)]
    picture = (0.5 + 0.5 * np.stack(planes)) * (1 - low) + low
    return torch.from_numpy(picture.astype(np.float32))[None]


def tflite_file(tensors: Mapping[str, Tensor], shared: bool = False) -> bytes:
    """A flatbuffer that holds named tensors as TensorFlow Lite files do: one graph, a buffer for each tensor.

    shared: only the first has a buffer, in which all lie."""
    kinds = {torch.float32: 0, torch.float16: 1, torch.int32: 2}
    file = _Flatbuffer()
    buffers, entries = [file.table()], []
    for index, (name, tensor) in enumerate(tensors.items()):
        raw, label = tensor.numpy().tobytes(), name.encode()
        buffers.append(file.table() if shared and index else file.table(file.vector(raw, len(raw))))
        shape = file.vector(struct.pack(f"<{tensor.ndim}i", *tensor.shape), tensor.ndim)
        entries.append(
            file.table(shape, kinds[tensor.dtype], 1 if shared else index + 1, file.vector(label, len(label)))
        )
    graph = file.table(file.tables(entries))
    model = file.table(3, file.tables([]), file.tables([graph]), file.vector(b"", 0), file.tables(buffers))
    file.place(b"TFL3")
    file.place(struct.pack("<I", len(file.data) + 4 - model))
    return bytes(file.data)


class _Place(int):
    """Where a field points to, counted in bytes from the end of the file; a plain number is the field itself."""


class _Flatbuffer:
    """Written from its end, as every builder does: offsets point forward."""

    def __init__(self) -> None:
        self.data = bytearray()

    def place(self, content: bytes) -> _Place:
        content += bytes(-len(content) % 4)
        self.data[:0] = content
        return _Place(len(self.data))

    def vector(self, content: bytes, count: int) -> _Place:
        return self.place(struct.pack("<I", count) + content)

    def tables(self, starts: list[_Place]) -> _Place:
        first = len(self.data) + 4 * len(starts)
        return self.vector(
            struct.pack(f"<{len(starts)}I", *(first - 4 * k - s for k, s in enumerate(starts))), len(starts)
        )

    def table(self, *fields: int) -> _Place:
        """Fields of four bytes in the schema's order, and their layout before them."""
        count, end = len(fields), len(self.data)
        layout = struct.pack(f"<{2 + count}H", 4 + 2 * count, 4 + 4 * count, *range(4, 4 + 4 * count, 4))
        layout += bytes(-len(layout) % 4)
        values = [
            value if not isinstance(value, _Place) else end + 4 * (count - k) - value for k, value in enumerate(fields)
        ]
        start = self.place(struct.pack(f"<i{count}i", len(layout), *values))
        self.place(layout)
        return start
