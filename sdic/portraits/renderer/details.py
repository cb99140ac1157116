"""Paint of the details outside the generator's domain: patterns, words, moles and scars."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from ..params import TEXTS
from .face import Paint
from .sdf import ramp

# Five columns by seven rows a glyph; each number is a row, its highest of five bits the left column.
_FONT: dict[str, tuple[int, ...]] = {
    "0": (14, 17, 19, 21, 25, 17, 14),
    "2": (14, 17, 1, 6, 8, 16, 31),
    "6": (14, 16, 16, 30, 17, 17, 14),
    "A": (14, 17, 17, 31, 17, 17, 17),
    "C": (15, 16, 16, 16, 16, 16, 15),
    "E": (31, 16, 16, 30, 16, 16, 31),
    "H": (17, 17, 17, 31, 17, 17, 17),
    "I": (14, 4, 4, 4, 4, 4, 14),
    "L": (16, 16, 16, 16, 16, 16, 31),
    "M": (17, 27, 21, 21, 17, 17, 17),
    "N": (17, 25, 21, 19, 17, 17, 17),
    "O": (14, 17, 17, 17, 17, 17, 14),
    "P": (30, 17, 17, 30, 16, 16, 16),
    "R": (30, 17, 17, 30, 20, 18, 17),
    "S": (15, 16, 16, 14, 1, 1, 30),
    "T": (31, 4, 4, 4, 4, 4, 4),
    "U": (17, 17, 17, 17, 17, 17, 14),
    "V": (17, 17, 17, 17, 17, 10, 4),
}
_CELL_W, _CELL_H, _ZOOM = 32, 9, 4  # a word's cell in font dots, and texture pixels a dot


@functools.lru_cache(maxsize=8)
def _words(device: torch.device) -> Tensor:
    """All the words above each other, [1, 1, len(TEXTS) * cell height, cell width]; the cell of "none" is empty."""
    dots = torch.zeros(len(TEXTS), _CELL_H, _CELL_W)
    for cell, word in zip(dots[1:], TEXTS[1:], strict=True):
        left = (_CELL_W - 6 * len(word) + 1) // 2
        for i, letter in enumerate(word):
            rows = torch.tensor([[row >> (4 - column) & 1 for column in range(5)] for row in _FONT[letter]])
            cell[1:8, left + 6 * i : left + 6 * i + 5] = rows.float()
    zoomed = dots.repeat_interleave(_ZOOM, 1).repeat_interleave(_ZOOM, 2)
    return zoomed.reshape(1, 1, -1, _CELL_W * _ZOOM).to(device)


def word_cover(which: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Ink 0..1 of word number `which` [M] at `u` (right) and `v` (down), 0..1 over its cell; none outside; [M]."""
    inside = (u > 0) & (u < 1) & (v > 0) & (v < 1)
    row = (which + v.clamp(0.02, 0.98)) / len(TEXTS)
    place = torch.stack([2 * u - 1, 2 * row - 1], -1).view(1, 1, -1, 2)
    return grid_sample(_words(u.device), place, align_corners=False).view(-1) * inside


def shirt_word(which: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Ink of a word across the chest, in world coordinates, low enough to clear a collar and inside the crop."""
    return word_cover(which, x / 1.02 + 0.5, (-0.985 - y) / 0.265)


def wall_words(which: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Ink of a word repeated over the background, every other row shifted."""
    v = (y + 2.0) / 0.36
    row = v.floor()
    u = x / 1.15 + 0.5 * torch.remainder(row, 2)
    return word_cover(which, u - u.floor(), 1 - (v - row))


def pattern_cover(kind: Tensor, x: Tensor, y: Tensor, period: float, px: float) -> Tensor:
    """Cover 0..1 of a pattern (index into PATTERNS, float [M]) with soft edges of about a pixel."""
    u, v = torch.remainder(x / period, 1), torch.remainder(y / period, 1)
    soft = min(0.6 * px / period, 0.2)
    row = (y / period).floor()
    stripes = ramp(0.25 + soft, 0.25 - soft, (torch.remainder(v + 0.35 * x / period, 1) - 0.5).abs())
    shifted = torch.remainder(u + 0.5 * torch.remainder(row, 2), 1)
    dots = ramp(0.28 + soft, 0.28 - soft, torch.sqrt((shifted - 0.5).square() + (v - 0.5).square() + 1e-9))
    wave_u, wave_v = (u - 0.5).abs() - 0.25, (v - 0.5).abs() - 0.25
    checks = 0.5 - 0.5 * (wave_u / soft).clamp(-1, 1) * (wave_v / soft).clamp(-1, 1)
    return stripes * (kind == 1) + dots * (kind == 2) + checks * (kind == 3)


def face_place(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Face coordinates -1..1 of a mole or scar to head space."""
    return 0.38 * x, 0.42 * y - 0.12


def paint_marks(paint: Paint, marks: Tensor, skin: Tensor, x: Tensor, y: Tensor, z: Tensor, px: float) -> None:
    """Moles and a scar; `marks` [11, M] holds moles, mole_places (6), scar, scar_place (3) a point."""
    front = ramp(0.0, 0.2, z)
    for number in range(3):
        mx, my = face_place(marks[1 + 2 * number], marks[2 + 2 * number])
        r = torch.sqrt((x - mx).square() + (y - my).square() + 1e-9)
        radius = 0.026 - 0.004 * number
        shown = (marks[0] > number) * front
        paint.mix(skin * 0.10, 0.92 * shown * ramp(radius + 0.5 * px, radius - 0.5 * px, r))
    sx, sy = face_place(marks[8], marks[9])
    angle = torch.pi * marks[10]
    along = (x - sx) * angle.cos() + (y - sy) * angle.sin()
    across = (y - sy) * angle.cos() - (x - sx) * angle.sin()
    inside = ramp(0.15, 0.13, along.abs()) * (marks[7] > 0) * front
    cut = ramp(0.018 + 0.5 * px, 0.018 - 0.5 * px, across.abs())
    stitch = torch.remainder(along + 0.025, 0.05) - 0.025
    stitches = ramp(0.008 + 0.4 * px, 0.008 - 0.4 * px, stitch.abs()) * ramp(0.05, 0.04, across.abs()) * (marks[7] == 2)
    raw = torch.lerp(skin, torch.tensor([0.42, 0.07, 0.07], device=x.device).view(3, 1), 0.6)
    paint.mix(raw, 0.9 * cut * inside)
    paint.mix(skin * 0.25, 0.8 * stitches * inside)
