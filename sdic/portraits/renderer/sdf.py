"""Signed distances of simple solids and the ways to join them, on flat batches of points.

Coordinates and sizes are tensors of one shape (or broadcast to it); a distance is negative inside. The ellipsoids give
bounds rather than exact distances, close enough for tracing with a step factor below 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

Number = Tensor | float


def length2(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean length; the small constant keeps the square root away from exact zero."""
    return torch.sqrt(torch.addcmul(x * x, y, y).add_(1e-8))


def length3(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Euclidean length in three dimensions."""
    return torch.sqrt(torch.addcmul(torch.addcmul(x * x, y, y), z, z).add_(1e-8))


def sphere(x: Tensor, y: Tensor, z: Tensor, radius: Number) -> Tensor:
    return length3(x, y, z) - radius


def round_ellipsoid(x: Tensor, y: Tensor, z: Tensor, rx: Number, ry: Number, rz: Number, smallest: Number) -> Tensor:
    """Cheap bound for radii of similar size; `smallest` is at most the smallest radius."""
    return (length3(x / rx, y / ry, z / rz) - 1) * smallest


def ellipsoid(x: Tensor, y: Tensor, z: Tensor, rx: Number, ry: Number, rz: Number) -> Tensor:
    """First-order distance, good for flat and long ellipsoids too."""
    a, b, c = x / rx, y / ry, z / rz
    scaled = length3(a, b, c)
    return scaled * (scaled - 1) / length3(a / rx, b / ry, c / rz)


def torus_z(x: Tensor, y: Tensor, z: Tensor, radius: Number, thickness: Number) -> Tensor:
    """Ring in the x-y plane."""
    return length2(length2(x, y) - radius, z) - thickness


def join(a: Tensor, b: Tensor, k: float) -> Tensor:
    """Smooth union; surfaces within `k` of each other melt together."""
    h = (k - (a - b).abs()).clamp_(min=0)
    return torch.minimum(a, b).addcmul_(h, h, value=-0.25 / k)


def cut(a: Tensor, b: Tensor, k: float) -> Tensor:
    """Smooth intersection (maximum)."""
    h = (k - (a - b).abs()).clamp_(min=0)
    return torch.maximum(a, b).addcmul_(h, h, value=0.25 / k)


def smoothstep(low: Number, high: Number, x: Tensor) -> Tensor:
    """0 at or beyond `low`, 1 at or beyond `high`, smooth between; `low` may be the larger one."""
    t = ((x - low) / (high - low)).clamp_(0, 1)
    return t * t * (3 - 2 * t)


def ramp(low: Number, high: Number, x: Tensor) -> Tensor:
    """Like :func:`smoothstep` but linear, and cheaper."""
    return ((x - low) / (high - low)).clamp_(0, 1)
