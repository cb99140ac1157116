"""Just enough of PNG to store pictures without an imaging library, with the same bytes for the same pixels."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from torch import Tensor

_MAGIC = b"\x89PNG\r\n\x1a\n"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode_png(picture: Tensor) -> bytes:
    """The file of one RGB picture, [3, H, W] in [-1, 1], rounded to 8 bits."""
    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    height, width, _ = pixels.shape
    # Filter 1: each pixel is stored as its difference from the one on the left, which smooth pictures like.
    left = np.zeros_like(pixels)
    left[:, 1:] = pixels[:, :-1]
    rows = np.empty((height, 1 + 3 * width), np.uint8)
    rows[:, 0] = 1
    rows[:, 1:] = (pixels - left).reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(rows.tobytes(), 6)
    return _MAGIC + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
