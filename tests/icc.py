"""Colour profiles made on the spot, and what they mean in numpy, independently of the imaging library.

Shapes: N colours. RGB values are in [0, 1] unless they are said to be levels.
"""

from __future__ import annotations

import struct

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
SPACES = {  # primaries, white, gamma (0: the curve of sRGB)
    "srgb": (((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), (0.3127, 0.3290), 0.0),
    "p3": (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), (0.3127, 0.3290), 0.0),
    "adobe": (((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), (0.3127, 0.3290), 563 / 256),
    "prophoto": (((0.734699, 0.265301), (0.159597, 0.840403), (0.036598, 0.000105)), (0.345704, 0.358540), 1.8),
}
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def to_d50(space: str) -> np.ndarray:
    """[3, 3]: linear RGB of a space -> XYZ under D50."""
    primaries, white, _ = SPACES[space]
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    x, y = white
    target = np.array([x / y, 1, (1 - x - y) / y])
    matrix = columns * np.linalg.solve(columns, target)
    scale = (BRADFORD @ np.array(D50)) / (BRADFORD @ target)
    return np.linalg.inv(BRADFORD) @ (scale[:, None] * BRADFORD) @ matrix


def decode(values: np.ndarray, gamma: float) -> np.ndarray:
    """Stored values -> linear light."""
    if gamma:
        return values**gamma
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb_levels(xyz: np.ndarray) -> np.ndarray:
    """XYZ under D50 [N, 3] -> levels of sRGB in [0, 255], not rounded."""
    linear = (xyz @ np.linalg.inv(to_d50("srgb")).T).clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def meant(levels: np.ndarray, space: str) -> np.ndarray:
    """Levels [N, 3] stored in a space -> the same colours as levels of sRGB."""
    return srgb_levels(decode(levels / 255, SPACES[space][2]) @ to_d50(space).T)


def matrix_profile(space: str) -> bytes:
    """An ICC profile (version 2) of an RGB space."""
    gamma = SPACES[space][2]
    matrix = to_d50(space)
    tags = {name: _xyz(matrix[:, index]) for index, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    curve = _curve(decode(np.linspace(0, 1, 1024), gamma)) if not gamma else _gamma(gamma)
    tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve, b"wtpt": _xyz(D50)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    """An ICC profile of greys with a plain power."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _gamma(gamma), b"wtpt": _xyz(D50)})


INKS = np.array([(55, -36, -50), (48, 75, -4), (90, -6, 95)], dtype=float)
"""Lab of full cyan, magenta and yellow of a press of ours."""


def ink_lab(inks: np.ndarray) -> np.ndarray:
    """Inks [N, 4], each 0 or 1 -> Lab [N, 3]: paper is white, inks are mixed, and black covers all of them."""
    lab = np.tile([100.0, 0.0, 0.0], (len(inks), 1))
    for index, ink in enumerate(INKS):
        mixed = np.stack([lab[:, 0] * ink[0] / 100, (lab[:, 1] + ink[1]) / 2, (lab[:, 2] + ink[2]) / 2], 1)
        lab = np.where(inks[:, index : index + 1] > 0, mixed, lab)
    return np.where(inks[:, 3:] > 0, 0.0, lab)


def cmyk_profile() -> bytes:
    """An ICC profile of that press: a table of its sixteen corners."""
    corners = np.stack(np.meshgrid(*[[0.0, 1.0]] * 4, indexing="ij"), -1).reshape(16, 4)
    lab = ink_lab(corners)
    table = np.stack([lab[:, 0] * 652.80, (lab[:, 1] + 128) * 256, (lab[:, 2] + 128) * 256], 1)
    content = b"mft2" + bytes(4) + bytes([4, 3, 2, 0])
    content += b"".join(_s15(value) for value in np.eye(3).flatten())
    content += struct.pack(">HH", 2, 2) + struct.pack(">2H", 0, 65535) * 4
    content += table.round().clip(0, 65535).astype(">u2").tobytes() + struct.pack(">2H", 0, 65535) * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": content, b"wtpt": _xyz(D50)})


def lab_to_xyz(lab: np.ndarray) -> np.ndarray:
    """Lab [N, 3] -> XYZ under D50."""
    y = (lab[:, 0] + 16) / 116
    f = np.stack([y + lab[:, 1] / 500, y, y - lab[:, 2] / 200], 1)
    return np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50


def _s15(value: float) -> bytes:
    return struct.pack(">i", round(float(value) * 65536))


def _xyz(values: object) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(_s15(value) for value in values)  # type: ignore[attr-defined]


def _gamma(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def _curve(values: np.ndarray) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">I", len(values)) + (values * 65535).round().astype(">u2").tobytes()


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78), **tags}
    tags[b"cprt"] = b"text" + bytes(4) + b"none\0"
    table, content = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(content), len(value))
        content += value + bytes(-len(value) % 4)
    size = start + len(content)
    head = struct.pack(">I", size) + b"test" + bytes.fromhex("02400000") + kind + space + connection
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + b"".join(_s15(value) for value in D50)
    return head.ljust(128, b"\0") + table + content
